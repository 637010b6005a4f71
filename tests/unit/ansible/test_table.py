# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ``dsg.storage.table`` makes lines that a person can read."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.filter.table import FilterModule, table


def test_columns_are_as_wide_as_they_must_be() -> None:
    rows = [{"host": "alice", "n": 1}, {"host": "bob", "n": 200}]
    assert table(rows, {"host": "HOST", "n": "N"}) == [
        "HOST   N",
        "-----  ---",
        "alice  1",
        "bob    200",
    ]


def test_columns_come_in_the_order_asked_for_and_others_are_left_out() -> None:
    assert table([{"a": 1, "b": 2, "c": 3}], {"c": "C", "a": "A"})[-1] == "3  1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ([], "-"),
        ([1, 2], "1, 2"),
        ("two\nlines", "two lines"),
    ],
)
def test_values_are_shown_as_words(value: object, text: str) -> None:
    assert table([{"a": value}], {"a": "A"})[-1] == text
    assert table([{}], {"a": "A"})[-1] == "-"


def test_wide_characters_keep_columns_straight() -> None:
    lines = table([{"a": "文字", "b": "x"}, {"a": "abcd", "b": "y"}], {"a": "A", "b": "B"})
    assert lines[-2:] == ["文字  x", "abcd  y"]


def test_no_rows_is_a_table_without_rows() -> None:
    assert table([], {"a": "A"}) == ["A", "-"]


@pytest.mark.parametrize("rows", ["text", {"a": 1}, ["text"]])
def test_other_input_is_refused(rows: object) -> None:
    with pytest.raises(AnsibleFilterError, match="list of dictionaries"):
        table(rows, {"a": "A"})


@pytest.mark.parametrize("columns", [{}, ["a"], "a"])
def test_other_columns_are_refused(columns: object) -> None:
    with pytest.raises(AnsibleFilterError, match="columns"):
        table([], columns)


def test_the_filter_has_its_documented_name() -> None:
    assert FilterModule().filters() == {"table": table}
