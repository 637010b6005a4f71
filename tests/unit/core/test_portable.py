# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names become portable in one step, each its own, and portable ones stay as they are."""

from __future__ import annotations

import os
import posixpath
import unicodedata

import pytest
from _core.manifest.paths import RESERVED, check_links, check_paths, fold
from _core.manifest.portable import new_names, normalise, portable_name, unchanged
from hypothesis import given
from hypothesis import strategies as st

TABLE = [
    ("plain.txt", "plain.txt"),
    ("über", "über"),
    ("u\u0308ber", "über"),
    ("a:b", "a_b"),
    ('<>:"|?*\\', "________"),
    ("tab\there", "tab_here"),
    ("evil\u202egpj.exe", "evil_gpj.exe"),
    ("dot.", "dot"),
    ("blank ", "blank"),
    ("both. . ", "both"),
    (" leading", " leading"),
    ("...", "_"),
    (" ", "_"),
    ("aux", "aux_"),
    ("AUX.c", "AUX_.c"),
    ("con .tar.gz", "con_.tar.gz"),
    ("com1", "com1_"),
    ("LPT².log", "LPT²_.log"),
    ("com10", "com10"),
    ("auxiliary", "auxiliary"),
    ("nul:", "nul_"),
    (".dsg.", ".dsg_"),
    ("latin\udce9.txt", "latin_.txt"),
    ("\u0958" * 84 + ".html", "\u0915\u093c" * 41 + "\u0915" + ".html"),
    ("x" * 255, "x" * 255),
    ("aux." + "y" * 251, "aux_." + "y" * 250),
]


@pytest.mark.parametrize(("name", "wanted"), TABLE)
def test_names(name: str, wanted: str) -> None:
    assert portable_name(name) == wanted


WEIRD = st.one_of(
    st.text("aA:.-2 ", min_size=1, max_size=4),
    st.text("uUüÜ\u0308ßsS", min_size=1, max_size=3),
    st.sampled_from(
        ["con", "CON", "con.", "con_", "con-2", ".dsg ", "\udcff", "\udcfe", "a\u200f"]
    ),
    st.text(min_size=1, max_size=3).filter(lambda text: "/" not in text and "\0" not in text),
    st.text(min_size=80, max_size=255).filter(lambda text: "/" not in text and "\0" not in text),
).filter(lambda name: name not in (".", "..") and fold(name) not in RESERVED)


@given(WEIRD)
def test_a_portable_name_stays_and_keeps_every_rule(name: str) -> None:
    new = portable_name(name)
    assert portable_name(new) == new
    check_paths([new])
    assert unicodedata.is_normalized("NFC", new)
    assert not new.endswith((".", " "))
    assert not set(new) & set('<>:"|?*\\')


@given(st.sets(WEIRD, max_size=8), st.sets(WEIRD, max_size=3))
def test_names_of_a_directory(names: set[str], taken: set[str]) -> None:
    """Each has a name of its own afterwards, and nothing is left to do."""
    others = taken - names
    found = new_names(names, refused=lambda _name, new: new in others)
    after = [found.get(name, name) for name in names]
    assert len({fold(name) for name in after}) == len(names)
    assert all(portable_name(name) == name for name in after)
    assert not set(found.values()) & others
    assert not new_names(after, refused=lambda _name, new: new in others)
    # So that they can be renamed one after the other.
    assert not set(found.values()) & names


TREES = st.sets(st.lists(WEIRD, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8)


def entries_of(tree: set[tuple[str, ...]]) -> list[str]:
    """Return the paths that are no directories of others."""
    return sorted(
        "/".join(path)
        for path in tree
        if not any(other[: len(path)] == path and other != path for other in tree)
    )


@given(TREES)
def test_trees(tree: set[tuple[str, ...]]) -> None:
    paths = entries_of(tree)
    names = normalise(paths, {})
    after = [names.moved.get(path, path) for path in paths]
    check_paths(after)
    assert len(set(after)) == len(paths)
    assert normalise(after, {}) == unchanged()
    assert names.sources() == {new: old for old, new in names.moved.items()}


@given(TREES)
def test_renaming_step_by_step_leads_there(tree: set[tuple[str, ...]]) -> None:
    """Each rename works on the tree as those before it left it, and never meets another name."""
    paths = entries_of(tree)
    names = normalise(paths, {})
    now = {path: path for path in paths}
    for old, new in names.renames:
        parent, _unused, name = old.rpartition("/")
        before = posixpath.join(posixpath.dirname(new), name) if parent else name
        assert not any(f"{path}/".startswith(f"{new}/") for path in now.values())
        for path, place in now.items():
            if f"{place}/".startswith(f"{before}/"):
                now[path] = new + place[len(before) :]
    assert now == {path: names.moved.get(path, path) for path in paths}


def test_who_stays_among_those_that_exclude_one_another() -> None:
    assert new_names(["readme", "README", "Readme"]) == {"Readme": "Readme-2", "readme": "readme-3"}
    assert new_names(["readme", "README"], established={"readme"}) == {"README": "README-2"}
    assert new_names(["a_b.txt", "a:b.txt", "a?b.txt"]) == {
        "a:b.txt": "a_b-2.txt",
        "a?b.txt": "a_b-3.txt",
    }
    assert new_names(["A", "a", "a-2"]) == {"a": "a-3"}
    assert new_names(["x" * 251 + ".txt", "X" * 251 + ".txt"]) == {
        "x" * 251 + ".txt": "x" * 249 + "-2.txt"
    }


def test_a_directory_is_renamed_once_and_takes_along_what_it_holds() -> None:
    names = normalise(["a:/b", "a:/c?", "d"], {})
    assert names.renames == [("a:", "a_"), ("a:/c?", "a_/c_")]
    assert names.moved == {"a:": "a_", "a:/b": "a_/b", "a:/c?": "a_/c_"}


def test_what_is_reserved_for_us_is_not_renamed() -> None:
    """A nested ``.dsg`` is somebody's working copy: it is refused, as ever."""
    assert normalise(["sub/.dsg", "x:"], {}).renames == [("x:", "x_")]


LINKS = [
    ("l", "a:", "a_"),
    ("l", "./a://", "./a_//"),
    ("l", "a:/b", "a_/b"),
    ("l", "a:/c?", "a_/c_"),
    ("e/l", "../a:/c?", "../a_/c_"),
    ("a:/l", "c?", "c_"),
    ("a:/l", "../a:/c?", "../a_/c_"),
    ("l", "via/c?", "via/c_"),
    ("l", "a:/gone?", "a_/gone?"),
    ("l", "d", "d"),
    ("l", "/a:", "/a:"),
    ("l", "../a:", "../a:"),
]


@pytest.mark.parametrize(("path", "target", "wanted"), LINKS)
def test_links_follow(path: str, target: str, wanted: str) -> None:
    links = {path: target, "via": "a:"}
    names = normalise(["a:/b", "a:/c?", "d", "e/f", "via", path], links)
    new = {one.path: one.new for one in names.retargets}
    assert new.pop("via") == "a_"
    assert new == ({names.moved.get(path, path): wanted} if wanted != target else {})


def test_links_in_a_circle() -> None:
    links = {"x:": "y", "y": "x:", "z": "y/a:"}
    names = normalise(["x:", "y", "z", "a:"], links)
    assert [(one.path, one.new) for one in names.retargets] == [("y", "x_")]


@given(TREES, st.data())
def test_a_link_leads_where_it_led(tree: set[tuple[str, ...]], data: st.DataObject) -> None:
    paths = entries_of(tree)
    goal = data.draw(st.sampled_from(paths))
    place = data.draw(st.sampled_from(paths)).split("/")[:-1]
    link = "/".join([*place, "~link"])
    target = os.path.relpath(goal, "/".join(place) or ".")
    names = normalise([*paths, link], {link: target})
    new_link = names.moved.get(link, link)
    new_target = next((one.new for one in names.retargets), target)
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(new_link), new_target))
    assert reached == names.moved.get(goal, goal)
    check_links([(new_link, new_target)])
