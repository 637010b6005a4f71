# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the fifteen states: every combination of three sides, named and answered."""

from __future__ import annotations

import itertools

import pytest
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.plan import states
from _core.plan.states import STATES, compare, state_of
from hypothesis import given
from hypothesis import strategies as st


def file(content: str, *, mode: int = 0o644, user: str = "ann", mtime_ns: int = 1) -> Entry:
    return Entry("p", FILE, len(content), mtime_ns, mode, content * 64, "", user)


A, B, C = file("a"), file("b"), file("c")

# What the design says, by what L, C and R hold.
DESIGN = [
    ((A, A, A), "111", "nothing"),
    ((A, A, B), "111 only R differs", "download"),
    ((A, B, A), "111 only C differs", "update_cache"),
    ((B, A, A), "111 only L differs", "upload"),
    ((A, B, C), "111 all differ", "conflict"),
    ((None, A, A), "011 C=R", "delete_remote"),
    ((None, A, B), "011 C≠R", "conflict"),
    ((A, None, A), "101 L=R", "update_cache"),
    ((A, None, B), "101 L≠R", "conflict"),
    ((A, A, None), "110 L=C", "delete_local"),
    ((A, B, None), "110 L≠C", "conflict"),
    ((None, None, A), "001", "download"),
    ((None, A, None), "010", "drop_cache"),
    ((A, None, None), "100", "upload"),
    ((None, None, None), "000", "nothing"),
]


@pytest.mark.parametrize(("sides", "state", "action"), DESIGN, ids=[row[1] for row in DESIGN])
def test_the_design_s_table(sides, state, action):
    assert state_of(*sides) == state
    assert STATES[state] == action


def test_there_are_fifteen_states_and_every_combination_has_one():
    assert len(STATES) == 15
    combinations = itertools.product((None, A, B, C), repeat=3)
    assert {state_of(*sides) for sides in combinations} == set(STATES)


KINDS = [
    A,
    file("a", mode=0o755),
    Entry("p", LINK, 0, 0, 0, "", "x", "ann"),
    Entry("p", LINK, 0, 0, 0, "", "y", "ann"),
    Entry("p", DIRECTORY, 0, 0, 0, "", "", "ann"),
]


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(KINDS, 2)))
def test_kind_content_mode_and_target_make_a_difference(one, other):
    assert state_of(one, one, other) == "111 only R differs"
    assert state_of(one, other, other) == "111 only L differs"
    assert state_of(one, None, other) == "101 L≠R"


def test_user_and_time_make_no_difference():
    assert state_of(A, file("a", user="bob"), file("a", mtime_ns=99)) == "111"


def test_a_file_that_is_not_hashed_equals_no_published_one():
    unknown = A._replace(sha256="")
    assert state_of(unknown, A, A) == "111 only L differs"


@st.composite
def trees(draw):
    names = st.sampled_from(["a", "b", "b/c", "d", "é"])
    content = st.sampled_from([A, B, C])
    tree = draw(st.dictionaries(names, content))
    return {path: entry._replace(path=path) for path, entry in tree.items()}


@given(trees(), trees(), trees())
def test_compare_yields_what_state_of_says_sorted_and_without_nothing(local, cache, remote):
    found = list(compare(local, cache, remote))
    expected = []
    for path in sorted({*local, *cache, *remote}):
        state = state_of(local.get(path), cache.get(path), remote.get(path))
        if STATES[state] != states.NOTHING:
            expected.append((path, state, local.get(path), cache.get(path), remote.get(path)))
    assert [tuple(item) for item in found] == expected


@given(trees(), trees(), trees(), st.sampled_from(["a", "b/c", "é"]))
def test_an_ignored_path_asks_for_nothing_whatever_the_sides_hold(local, cache, remote, hidden):
    found = compare(local, cache, remote, lambda entry: entry.path == hidden)
    everything = [state for state in compare(local, cache, remote) if state.path != hidden]
    assert list(found) == everything
