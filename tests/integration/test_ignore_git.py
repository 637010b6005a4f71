# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What our patterns ignore is what git ignores, asked of the real ``git check-ignore``."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import NamedTuple

import pytest
from _core.manifest.ignore import Ignore, load
from hypothesis import example, given, settings
from hypothesis import strategies as st

NAMES = [
    "a",
    "b",
    "ab",
    "aab",
    "foo",
    "a.o",
    ".o",
    "*",
    "[a]",
    "-",
    "é",
    "a b",
    "a ",
    "#a",
    "!a",
    "A1",
]
NAMES += ["a\\", "]", "^", "x:y"]


class Ground(NamedTuple):
    root: str
    directories: list[str]
    files: list[str]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Make a work tree with every name as a file, and as a directory, at several depths."""
    root = str(tmp_path_factory.mktemp("work"))
    subprocess.run(["git", "init", "-q", root], check=True)
    pairs = itertools.product(["a", "b", "foo", "é", "a.o"], NAMES)
    directories = [f"d/{name}" for name in NAMES] + [f"{one}/{two}" for one, two in pairs]
    directories += ["a/a/a/a", "foo/a/b/foo", "b/foo/a/b/a", "fooa/b", "foo/x/y"]
    for path in directories:
        os.makedirs(os.path.join(root, path))
    known = {path[: -len(tail) or None] for path in directories for tail in _tails(path)}
    # A path that does not exist is for git what a file is: not a directory.
    files = [f"{path}.file" for path in known] + [
        f"{path}/{n}" for path in ("d/a", "x", "a/a/a/a") for n in NAMES
    ]
    return Ground(root, sorted(known), sorted({*files, *NAMES} - known))


def _tails(path: str) -> list[str]:
    parts = path.split("/")
    return [
        "/".join(["", *parts[keep:]]) if keep < len(parts) else ""
        for keep in range(1, len(parts) + 1)
    ]


def git_ignores(ground: Ground, paths: list[str]) -> dict[str, bool]:
    """Ask git about all paths in one call; a negated pattern that decides means: not ignored."""
    done = subprocess.run(
        ["git", "-C", ground.root, "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin"],
        input=b"".join(path.encode() + b"\0" for path in paths),
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode in (0, 1)
    fields = done.stdout.decode().split("\0")[:-1]
    answers = zip(fields[2::4], fields[3::4])
    return {path: bool(pattern) and not pattern.startswith("!") for pattern, path in answers}


def compare(ground: Ground, lines: list[str], end: str = "\n") -> None:
    with open(os.path.join(ground.root, ".gitignore"), "w", encoding="utf-8", newline="") as stream:
        stream.write(end.join(lines))
    ignore = Ignore([line + "\r" if end == "\r\n" else line for line in lines])
    expected = git_ignores(ground, ground.directories + ground.files)
    assert len(expected) == len(ground.directories) + len(ground.files)
    ours = {path: ignore.covers(path, True) for path in ground.directories}
    ours.update({path: ignore.covers(path, False) for path in ground.files})
    wrong = {path: expected[path] for path in expected if ours[path] != expected[path]}
    assert not wrong, f"{lines!r}: git says {wrong}"
    if not ignore:
        assert not any(expected.values())


# Every line of git's manual that gives a rule, and what its matcher does beyond the manual.
TABLE = [
    ["a"], ["/a"], ["a/"], ["/a/"], ["a/b"], ["a/b/"], ["d/a/"], ["*"], ["*/"], ["/*"], ["/*/"], ["**"],
    ["**/"], ["/**"], ["**/a"], ["**/a/b"], ["a/**"], ["a/**/b"], ["a/**/"], ["**/a/**"], ["a**"],
    ["a**/b"], ["foo**/b"], ["/foo**/b"], ["a/a**/a"], ["?**/b"], ["***/b"], ["a/***"], ["**a/b"], ["**foo"],
    ["*.o"], ["*.o", "!a.o"], ["a", "!a"], ["a", "!a/b"], ["a/*", "!a/b"], ["/*", "!/a", "/a/*", "!/a/foo"],
    ["!a"], ["!a", "a"], ["*", "!*/"], ["*", "!*/", "!*.o"], ["#a"], ["\\#a"], ["!!a"], ["\\!a"], ["!\\!a", "*"],
    ["a "], ["a\\ "], ["a\\  "], ["a\\\\ "], ["a   "], ["a b"], [" "], [""], ["/"], ["//"], ["!"], ["!/"],
    ["[a]"], ["[ab]"], ["[!a]"], ["[^a]"], ["[a-b]"], ["[b-a]"], ["[]]"], ["[!]]"], ["[]-a]"], ["[a-]"],
    ["[-a]"], ["[a"], ["["], ["[]"], ["[!"], ["a["], ["[[:alpha:]]"], ["[[:upper:][:digit:]]?"], ["[[:nope:]]"],
    ["[[:alpha:]"], ["[[:]"], ["[[:a]"], ["[[:]]"], ["[a[:digit:]b]"], ["[\\]]"], ["[\\^]"], ["[a\\-b]"],
    ["[\\a-b]"], ["[a-\\b]"], ["[:punct:]"], ["[[:punct:]]"], ["[[:print:]]"], ["[[:graph:]]*"],
    ["*[[:space:]]*"], ["*[[:blank:]]*"], ["[[:xdigit:]]"], ["[[:lower:]]"], ["[[:cntrl:]]"], ["[[:alnum:]]?"],
    ["?"], ["??"], ["?/?"], ["a?b"], ["/?"], ["é"], ["[é]"], ["[é][é]"], ["*é*"], ["a/é"], ["\\é"], ["[!é]"],
    ["\\a"], ["a\\"], ["\\"], ["a\\/b"], ["a\\/"], ["**\\/b"], ["a/**\\/b"], ["\\*"], ["[*]"], ["a\\\\"],
    ["a//b"], ["./a"], ["a/./b"], ["../a"], ["a/../a"], ["*a*a*"], ["*a*b*"], ["a*/b*"], ["*/*/a"], ["**/*/a"],
    ["**/a/**/a"], ["a/**/a/**/a"], ["**/**/a"], ["a/*b"], ["a*b"], ["/a*b"], ["a/[/]b"], ["a[!x]b"], ["a?b/"],
    ["**/[ab]/**/foo"], ["foo/**/b/**/foo"], ["**/*a*/**/b"], ["*/**/a"], ["b/**/*/**/a"], ["x\ty"], ["x:y"],
]  # fmt: skip


@pytest.mark.parametrize("lines", TABLE, ids=repr)
def test_the_rules_of_gits_manual(ground: Ground, lines: list[str]) -> None:
    compare(ground, lines)


def test_windows_line_ends_are_cut(ground: Ground) -> None:
    compare(ground, ["a", "", "!a/b", "# note", "*.o", "foo "], end="\r\n")


_atoms = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "foo",
        ".o",
        "é",
        "*",
        "*",
        "**",
        "**/",
        "/**",
        "/",
        "/",
        "?",
        "[ab]",
        "[!a]",
        "[a-",
        "]",
    ]
    + ["\\", "\\*", "[[:alpha:]]", "[^", "-", " ", "#", "!", ":", "1", "A"]
)
_lines = st.builds(
    lambda sign, atoms, tail: sign + "".join(atoms) + tail,
    st.sampled_from(["", "", "", "!", "/"]),
    st.lists(_atoms, min_size=1, max_size=6),
    st.sampled_from(["", "", "", "/", " ", "\\ "]),
)


@settings(max_examples=300)
@given(st.lists(_lines, min_size=1, max_size=5))
@example(["a/**", "!a/b", "!a/b/", "a/b/foo"])
def test_any_list_of_patterns_ignores_what_git_ignores(ground: Ground, lines: list[str]) -> None:
    compare(ground, lines)


def test_a_file_with_a_byte_order_mark_reads_as_git_reads_it(ground: Ground) -> None:
    data = "\ufeffa\n!a/b\n*.o\r\nfoo/".encode()
    for name in (".gitignore", ".dsgignore"):
        with open(os.path.join(ground.root, name), "wb") as stream:
            stream.write(data)
    ignore = load(ground.root)
    for path, ignored in git_ignores(ground, ground.directories).items():
        assert ignore.covers(path, True) == ignored, path
    os.unlink(os.path.join(ground.root, ".dsgignore"))
