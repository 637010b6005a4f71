# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path rules refuse what would be unsafe or ambiguous somewhere, and nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from _core.errors import DETAILS, PathError
from _core.manifest import paths
from hypothesis import example, given
from hypothesis import strategies as st

GOOD = [
    "a",
    "a/b/c.txt",
    ".hidden",
    "...",
    "..a/b..",
    " leading and trailing ",
    "-dash",
    "back\\slash",
    "quote'\"`$;*?[]{}#%=~",
    "ünï/cödé/文字/🙂👩‍👩‍👧",
    "a.dsg",
    ".dsgignore",
    "zfs",
    "x" * 255,
    "é" * 127,
    "/".join(["y" * 255] * 16),
    "nbsp\u00a0and\u3000wide",
]

BAD_NAMES = [
    ("", "empty"),
    ("/", "absolute"),
    ("/etc/passwd", "absolute"),
    ("a//b", "component is empty"),
    ("a/", "component is empty"),
    (".", "'.' and '..'"),
    ("..", "'.' and '..'"),
    ("a/../b", "'.' and '..'"),
    ("a/.", "'.' and '..'"),
    ("./a", "'.' and '..'"),
    ("nul\0", "U+0000"),
    ("new\nline", "U+000A"),
    ("tab\t", "U+0009"),
    ("del\x7f", "U+007F"),
    ("c1\x85", "U+0085"),
    ("evil\u202egnp.exe", "U+202E"),
    ("\u200e", "U+200E"),
    ("\u200f", "U+200F"),
    ("\u061c", "U+061C"),
    ("\u202a", "U+202A"),
    ("\u2066", "U+2066"),
    ("\u2069", "U+2069"),
    ("\u2028", "U+2028"),
    ("\u2029", "U+2029"),
    ("caf\udce9", "not valid UTF-8"),
    ("cafe\u0301", "NFC"),
    ("\u212b", "NFC"),
    ("x" * 256, "longer"),
    ("d/" + "é" * 128, "longer"),
    ("/".join(["y" * 240] * 18), "longer"),
    (".dsg", "reserved"),
    (".DSG/x", "reserved"),
    ("a/.Zfs", "reserved"),
    ("a/.d\u017fg/b", "reserved"),  # the long s folds to s
]


@pytest.mark.parametrize("path", GOOD)
def test_an_ordinary_path_passes(path: str) -> None:
    paths.check_paths([path])
    paths.check_paths(["plain", path])
    assert paths.problems([path]) == []


def test_all_ordinary_paths_pass_together() -> None:
    paths.check_paths([path for path in GOOD if path != "a"])


def test_an_empty_tree_passes() -> None:
    paths.check_paths([])


@pytest.mark.parametrize(("path", "rule"), BAD_NAMES)
@pytest.mark.parametrize("beside", [[], ["other"], ["other", "ünï"]])
def test_a_bad_path_is_refused_with_its_rule(path: str, rule: str, beside: list[str]) -> None:
    with pytest.raises(PathError) as caught:
        paths.check_paths([*beside, path])
    assert [line for line in caught.value.details if rule in line]
    assert all(line.isprintable() for line in caught.value.details)


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        (["a", "a"], ["'a'", "more than once"]),
        (["a", "a/b"], ["'a'", "'a/b'"]),
        (["a/b/c/d", "a/b"], ["'a/b'", "'a/b/c/d'"]),
        (["README", "readme"], ["'README'", "'readme'"]),
        (["A/x", "a/y"], ["'A'", "'a'", "'A/x'", "'a/y'"]),
        (["A", "a/y"], ["'A'", "'a/y'"]),
        (["d/straße", "d/STRASSE"], ["'d/straße'", "'d/STRASSE'"]),
        (["É/x", "é"], ["'É'", "'é'"]),
        (["\u212a", "k"], ["'k'"]),  # the Kelvin sign
        (["Σ", "ς"], ["'Σ'", "'ς'"]),
        (["b/\u1e9e", "b/SS"], ["'b/SS'"]),
    ],
)
def test_entries_that_get_in_each_others_way_are_refused(tree: list[str], named: list[str]) -> None:
    for order in (tree, tree[::-1]):
        with pytest.raises(PathError) as caught:
            paths.check_paths(order)
        text = "\n".join(caught.value.details)
        assert all(name in text for name in named), text


def test_composed_and_decomposed_twins_are_both_shown_distinguishably() -> None:
    lines = paths.problems(["caf\u00e9", "cafe\u0301"])
    assert any("cafe\\u0301" in line and "café" in line for line in lines)


def test_colliding_directories_are_reported_once_not_for_every_file_in_them() -> None:
    tree = [f"{name}/{number}" for name in ("Data", "data") for number in range(50)]
    assert len(paths.problems(tree)) == 1


def test_names_that_look_alike_but_are_in_different_folders_do_not_collide() -> None:
    paths.check_paths(["a/README", "b/readme", "ab", "a.b", "a-b/README"])


def test_the_error_lists_twenty_and_counts_the_rest_while_problems_lists_all() -> None:
    tree = [f"/{number}" for number in range(100)]
    with pytest.raises(PathError) as caught:
        paths.check_paths(tree)
    assert len(caught.value.details) == DETAILS + 1
    assert caught.value.details[-1] == "... and 80 more"
    assert "100 findings" in caught.value.message
    assert len(paths.problems(tree)) == 100


_pieces = st.sampled_from(
    ["a", "A", "b", ".", "..", "", ".dsg", ".ZFS", "é", "É", "e\u0301", "ß", "SS", "\n", "\u202e"]
    + ["x" * 255, "x" * 256, "é" * 128, "\udce9", "K", "\u212a"]
)
_names = st.lists(_pieces, max_size=4).map("/".join)


@given(st.lists(_names, max_size=6))
@example(["x" * 64 + "é"])
def test_the_quick_check_and_the_thorough_one_agree(tree: list[str]) -> None:
    found = paths.problems(tree)
    if not found:
        paths.check_paths(tree)
        return
    with pytest.raises(PathError):
        paths.check_paths(tree)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_fold_does_not_tell_case_or_normal_form_apart(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert paths.fold(unicodedata.normalize(form, text)) == paths.fold(text)
    assert paths.fold(text.casefold()) == paths.fold(text)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "x"),
        ("l", "missing/deep/file"),
        ("l", "."),
        ("l", "./"),
        ("d/l", ".."),
        ("d/l", "../x"),
        ("d/e/l", "../../x"),
        ("d/e/l", "./.././../x"),
        ("l", "a//b/./c/"),
        ("l", "..."),
        ("l", "..x/y.."),
        ("l", "with space\\and ünï"),
        ("l", "x" * 4095),
    ],
)
def test_a_link_that_stays_inside_passes(path: str, target: str) -> None:
    paths.check_link(path, target)


@pytest.mark.parametrize(
    ("path", "target", "rule"),
    [
        ("l", "", "empty"),
        ("l", "/etc/passwd", "absolute"),
        ("l", "//x", "absolute"),
        ("l", "..", "leaves"),
        ("l", "../x", "leaves"),
        ("l", "./../x", "leaves"),
        ("d/l", "../../x", "leaves"),
        ("d/l", "../../d/x", "leaves"),
        ("d/e/l", "a/../b", "front"),
        ("d/e/l", "../a/..", "front"),
        ("l", "x/..", "front"),
        ("l", "new\nline", "U+000A"),
        ("l", "nul\0", "U+0000"),
        ("l", "\u202e", "U+202E"),
        ("l", "\udce9", "UTF-8"),
        ("l", "x" * 4096, "4095"),
        ("l", "é" * 2048, "4095"),
        ("l", ".dsg/manifest", "reserved"),
        ("d/l", "../.DSG", "reserved"),
        ("l", "a/.zfs/snapshot", "reserved"),
    ],
)
def test_a_link_that_leaves_or_confuses_is_refused(path: str, target: str, rule: str) -> None:
    with pytest.raises(PathError) as caught:
        paths.check_link(path, target)
    (detail,) = [line for line in caught.value.details if rule in line]
    assert detail.startswith(repr(path))


def test_links_are_checked_in_bulk_and_every_bad_one_is_named() -> None:
    with pytest.raises(PathError) as caught:
        paths.check_links([("ok", "x"), ("one", "/x"), ("two", "../x")])
    assert [line.split(" ")[0] for line in caught.value.details] == ["'one'", "'two'"]
