# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ignore patterns: what the scanner asks, and how the ignore file is read.

That the patterns mean what they mean to git is proven in tests/integration/test_ignore_git.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _core.errors import ArgumentError, DsgError, TreeError
from _core.manifest.ignore import SIZE_LIMIT, Ignore, load


@pytest.mark.parametrize("patterns", [[], [""], ["# note", " ", "/"], ["!kept"], ["[open"]])
def test_patterns_that_exclude_nothing_are_false(patterns: list[str]) -> None:
    ignore = Ignore(patterns)
    assert not ignore
    assert not ignore.covers("kept/x", False)


def test_match_looks_at_the_path_alone_and_covers_at_its_parents_too() -> None:
    ignore = Ignore(["build/", "!build/keep"])
    assert ignore
    assert ignore.match("src/build", True)
    assert not ignore.match("src/build", False)
    assert not ignore.match("build/keep", False)
    assert ignore.covers("build/keep", False)
    assert ignore.covers("src/build/deep/down/file", False)
    assert not ignore.covers("src/builds/file", False)


def test_the_last_pattern_that_matches_decides() -> None:
    ignore = Ignore(["*.log", "!important.log", "/old/*.log"])
    assert ignore.match("a.log", False)
    assert not ignore.match("x/important.log", False)
    assert ignore.match("old/important.log", False)


def test_the_pattern_that_decides_is_told() -> None:
    ignore = Ignore(["*.log", "build/", "!important.log", "/old"])
    assert ignore.reason("a.log", False) == "*.log"
    assert ignore.reason("x/build", True) == "build/"
    assert ignore.reason("x/build", False) == ""
    assert ignore.reason("old/build/important.log", False) == "/old"
    assert ignore.reason("x/important.log", False) == ""


def test_one_element_may_hold_several_lines() -> None:
    ignore = Ignore(["*.o\n# note\n*.tmp\n"])
    assert ignore.match("a.o", False)
    assert ignore.match("a.tmp", False)
    assert not ignore.match("# note", False)


def test_names_that_are_not_utf8_can_be_ignored() -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    assert Ignore(["caf?.txt"]).match(name, False)
    assert Ignore(["*.txt"]).match(name, False)
    assert not Ignore(["café.txt"]).match(name, False)


def test_malformed_patterns_are_named() -> None:
    assert Ignore(["a", "[open", "!end\\", "[[:nope:]]"]).invalid == (
        "[open",
        "!end\\",
        "[[:nope:]]",
    )


def test_a_nul_is_refused() -> None:
    with pytest.raises(ArgumentError):
        Ignore(["a\0b"])


def test_patterns_full_of_stars_end_in_time() -> None:
    # With plain backtracking each of these would run longer than anybody waits.
    stars = Ignore(["*a" * 30 + "b", "/" + "*a" * 30 + "b/c", "/" + "**/a/" * 30 + "b"])
    assert not stars.match("a" * 255, False)
    assert not stars.match("a" * 255 + "/c", False)
    assert not stars.match("a/" * 1000 + "a", False)
    assert stars.match("a" * 200 + "b", False)
    assert stars.match("x/a/" * 200 + "b", False)


def test_a_tree_without_an_ignore_file_ignores_what_the_options_say(tmp_path: Path) -> None:
    assert not load(str(tmp_path))
    assert load(str(tmp_path), ["*.o"]).match("a.o", False)


def test_options_override_the_file(tmp_path: Path) -> None:
    (tmp_path / ".dsgignore").write_text("*.o\n")
    ignore = load(str(tmp_path), ["!keep.o"])
    assert ignore.match("a.o", False)
    assert not ignore.match("keep.o", False)


def test_the_root_may_be_given_as_a_descriptor(tmp_path: Path) -> None:
    (tmp_path / ".dsgignore").write_text("*.o\n")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert load(fd).match("a.o", False)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\nb\n\xff\n", "not valid UTF-8 in line 3"),
        (b"a\0b", "NUL"),
        (b"#" * (SIZE_LIMIT + 1), "larger than"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / ".dsgignore").write_bytes(data)
    with pytest.raises(TreeError, match=said):
        load(str(tmp_path))


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / ".dsgignore").write_bytes(b"#" * (SIZE_LIMIT - 4) + b"\n*.o")
    assert load(str(tmp_path)).match("a.o", False)


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo"])
def test_what_is_not_a_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".dsgignore"
    (tmp_path / "elsewhere").write_text("*\n")
    if kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "dangling":
        path.symlink_to("missing")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(TreeError, match="not a plain file") as caught:
        load(str(tmp_path))
    assert caught.value.object == ".dsgignore"


def test_a_root_that_is_not_there_is_an_error_not_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(DsgError):
        load(str(tmp_path / "missing"))
