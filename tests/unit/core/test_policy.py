# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Direction, conflict choices and the limit of deletions."""

from __future__ import annotations

import pytest
from _core.errors import ArgumentError, DeleteLimitError
from _core.plan.policy import DeleteLimit, Policy
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", DeleteLimit(0, False)),
        (25, DeleteLimit(25, False)),
        (" 7 ", DeleteLimit(7, False)),
        ("0%", DeleteLimit(0, True)),
        ("50%", DeleteLimit(50, True)),
        ("100%", DeleteLimit(100, True)),
        ("101", DeleteLimit(101, False)),
    ],
)
def test_a_limit_is_a_number_or_a_percentage(text, limit):
    assert DeleteLimit.parse(text) == limit


@pytest.mark.parametrize(
    "text", ["", "%", "101%", "-1", -1, "1.5", "50 %", "half", "1e3", "٣", "9999999999", True, None]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ArgumentError) as caught:
        Policy(max_delete=text).check()
    assert caught.value.code == "DSG-ARGUMENT"
    assert repr(str(text)) in caught.value.message


@given(st.integers(0, 100), st.integers(0, 10_000), st.data())
def test_a_percentage_allows_that_share_and_no_more(percent, total, data):
    deleted = data.draw(st.integers(0, total))
    limit = DeleteLimit(percent, True)
    if deleted * 100 <= total * percent:
        limit.check("repository", deleted, total)
    else:
        with pytest.raises(DeleteLimitError):
            limit.check("repository", deleted, total)


def test_a_number_is_inclusive():
    DeleteLimit(3, False).check("working copy", 3, 3)
    with pytest.raises(DeleteLimitError) as caught:
        DeleteLimit(3, False).check("working copy", 4, 10)
    assert caught.value.object == "working copy"
    assert "4 of 10" in caught.value.message
    assert "all of them" not in caught.value.message


def test_deleting_everything_asks_whether_the_source_is_empty_by_mistake():
    with pytest.raises(DeleteLimitError, match="all of them: is the other side empty by mistake"):
        DeleteLimit(50, True).check("repository", 10, 10)


def test_no_deletion_is_within_any_limit_also_of_an_empty_side():
    DeleteLimit(0, True).check("repository", 0, 0)
    DeleteLimit(0, False).check("repository", 0, 0)


@pytest.mark.parametrize("direction", ["both", "push", "pull"])
@pytest.mark.parametrize("conflict", ["fail", "local", "remote"])
def test_supported_words(direction, conflict):
    Policy(direction, conflict, {"a/b": conflict}).check()


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (Policy(direction="up"), "direction"),
        (Policy(conflict="newest"), "conflict"),
        (Policy(conflict_paths={"a": "ours"}), "conflict_paths['a']"),
    ],
)
def test_other_words_are_refused_with_the_supported_ones(policy, named):
    with pytest.raises(ArgumentError) as caught:
        policy.check()
    assert caught.value.message.startswith(named)
    assert "supported are" in caught.value.message


@pytest.mark.parametrize("path", ["", "/a", "a//b", "./a", "a/..", "../a", "a/./b", "/"])
def test_a_choice_for_a_path_that_no_tree_can_hold_is_refused(path):
    """It could never take effect, and the user would not learn why."""
    with pytest.raises(ArgumentError) as caught:
        Policy(conflict_paths={path: "local"}).check()
    assert caught.value.object == path


CHOICES = {
    "docs": "local",
    "docs/old": "remote",
    "docs/old/kept.txt": "fail",
    "file": "remote",
    "shelf/": "local",
}


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        ("docs", "local"),
        ("docs/a", "local"),
        ("docs/deep/er/a", "local"),
        ("docs/old", "remote"),
        ("docs/old/x/y", "remote"),
        ("docs/old/kept.txt", "fail"),
        ("docs2", "fail"),
        ("docs2/a", "fail"),
        ("file", "remote"),
        ("file.txt", "fail"),
        ("other/docs/a", "fail"),
        ("shelf", "local"),
        ("shelf/book", "local"),
    ],
)
def test_the_nearest_choice_counts(path, choice):
    policy = Policy(conflict_paths=CHOICES)
    policy.check()
    assert policy.choice(path) == choice


def test_what_no_path_decides_the_run_decides():
    assert Policy(conflict="remote", conflict_paths={"a": "local"}).choice("b") == "remote"
