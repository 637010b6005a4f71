# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that exclude each other in one tree, against a simple model and the path rules."""

from __future__ import annotations

import itertools

import pytest
from _core.errors import PathError
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.paths import check_paths, fold
from _core.plan.structure import collisions
from hypothesis import given
from hypothesis import strategies as st


def of(paths) -> dict[str, Entry]:
    return {path: Entry(path, kind, 0, 0, 0, "", "", "") for path, kind in paths}


def files(*paths: str) -> dict[str, Entry]:
    return of([(path, FILE) for path in paths])


@pytest.mark.parametrize(
    ("paths", "clashes"),
    [
        (["a", "b", "c/d"], {}),
        (["a", "a/b"], {"a": "a/b", "a/b": "a"}),
        (["a", "a/b/c"], {"a": "a/b/c", "a/b/c": "a"}),
        (["a", "ab", "a.b", "a-/b"], {}),
        (["Read", "READ"], {"Read": "READ", "READ": "Read"}),
        (["d/x", "D/y"], {"d/x": "D/y", "D/y": "d/x"}),
        (["d/x", "D"], {"d/x": "D", "D": "d/x"}),
        (["é", "É"], {"é": "É", "É": "é"}),
        (["e\u0301", "é"], {"e\u0301": "é", "é": "e\u0301"}),
        (["straße", "STRASSE"], {"straße": "STRASSE", "STRASSE": "straße"}),
        (["d/é", "e/É"], {}),
    ],
)
def test_clashes_name_each_other(paths, clashes):
    assert collisions(files(*paths)) == clashes


def test_every_member_of_a_crowd_is_told():
    found = collisions(files("a", "A", "a/b", "a/c"))
    assert set(found) == {"a", "A", "a/b", "a/c"}


@pytest.mark.parametrize("kind", [FILE, LINK])
def test_nothing_lies_below_a_file_or_link(kind):
    assert collisions(of([("a", kind), ("a/b", FILE)])) == {"a": "a/b", "a/b": "a"}


def test_an_empty_directory_may_be_filled():
    assert collisions(of([("a", DIRECTORY), ("a/b", FILE), ("a/b2/c", LINK)])) == {}


def test_an_empty_directory_collides_by_case_like_anything_else():
    assert collisions(of([("a", DIRECTORY), ("A/b", FILE)])) == {"a": "A/b", "A/b": "a"}


NAMES = ["a", "A", "b", "é", "É", "e\u0301"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@given(st.lists(PATHS, unique=True, max_size=8))
def test_a_tree_has_clashes_exactly_when_the_path_rules_refuse_it(paths):
    normal = [path for path in paths if "e\u0301" not in path]
    try:
        check_paths(normal)
        sound = True
    except PathError:
        sound = False
    assert sound == (not collisions(files(*normal)))


def excludes(one: str, other: str) -> bool:
    """Whether two files' paths cannot live in one tree, worked out pair by pair."""
    for left, right in zip(one.split("/"), other.split("/")):
        if left != right:
            return fold(left) == fold(right)
    return True  # one is the other's directory


@given(st.lists(PATHS, unique=True, max_size=8))
def test_every_clash_is_found_and_none_is_invented(paths):
    expected = set()
    for one, other in itertools.combinations(paths, 2):
        if excludes(one, other):
            expected |= {one, other}
    assert set(collisions(files(*paths))) == expected
