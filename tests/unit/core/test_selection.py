# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which paths a selection means, and what it says to those who write it otherwise."""

from __future__ import annotations

import re

import pytest
from _core.errors import ArgumentError
from _core.upkeep.selection import Selection

HELD = ["a", "chapters/a.md", "chapters/deep/b.md", "!odd", "old[1]", "old1"]


def meant(*paths: str) -> list[str]:
    selection = Selection(paths)
    selection.require_all(HELD, "snapshot s1")
    return [path for path in HELD if selection.covers(path)]


def refused(*paths: str) -> ArgumentError:
    with pytest.raises(ArgumentError) as caught:
        meant(*paths)
    return caught.value


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/a", "a"),
        ("//a", "a"),
        ("./a", "a"),
        ("/chapters/", "chapters"),
        ("chapters//deep", "chapters/deep"),
        ("/chapters/./*.md", "chapters/*.md"),
    ],
)
def test_a_path_that_is_written_otherwise_is_refused_with_the_wanted_form(
    path: str, instead: str
) -> None:
    said = refused(path).next_step
    assert said == f"Write '{instead}' instead."
    assert meant(instead)  # and that is one that is taken


@pytest.mark.parametrize("path", ["", "/", ".", "./"])
def test_the_whole_tree_is_no_path(path: str) -> None:
    assert "no paths at all" in refused(path).next_step
    assert meant() == HELD


@pytest.mark.parametrize("path", ["..", "../a", "chapters/../a", "/../a", "a\0b"])
def test_what_has_no_wanted_form_is_told_what_a_path_is(path: str) -> None:
    assert "from the root of the tree" in refused(path).next_step


@pytest.mark.parametrize("path", ["!a", "!chapters/*.md", "!/a"])
def test_an_exception_is_refused_and_said_to_be_none(path: str) -> None:
    error = refused("chapters", path)
    assert error.object == path
    assert "'!' makes no exception" in error.next_step


def test_a_name_with_such_characters_is_found_by_itself() -> None:
    assert meant("!odd") == ["!odd"]
    assert meant("old[1]") == ["old[1]", "old1"]
    assert meant("old[[]1]") == ["old[1]"]


@pytest.mark.parametrize("pattern", ["[", "old[1", "chapters/*\\"])
def test_a_pattern_without_an_end_is_refused_with_the_wanted_form(pattern: str) -> None:
    said = refused(pattern).next_step
    for example in re.findall(r"'(\S\S+)'", said):
        Selection([example])
    assert "'[[]'" in said


def test_what_is_not_there_is_named() -> None:
    error = refused("nowhere", "a", "!a", "no*")
    assert (error.object, error.details) == ("nowhere", ["!a", "no*"])
    assert "Look at what the snapshot holds" in error.next_step
