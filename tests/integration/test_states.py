# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All fifteen states through the real engine, in every direction, with every conflict choice.

Two working copies edit one repository: what ``bob`` publishes becomes R, what ``ann`` last synced is
C, and what she has on disk is L. Every sync is announced by check mode first (``Site.sync``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from _core.errors import ConflictError

from tests.integration.support import EMPTY, Link, Node, Script, Site, make, put, read, site

__all__ = ["site"]

# state → what the path is in L, C and R; None is absent.
Sides = tuple[object, object, object]
FILES: dict[str, Sides] = {
    "111": ("c", "c", "c"),
    "111 only R differs": ("c", "c", "r"),
    "111 only C differs": ("l", "c", "l"),
    "111 only L differs": ("l", "c", "c"),
    "111 all differ": ("l", "c", "r"),
    "011 C=R": (None, "c", "c"),
    "011 C≠R": (None, "c", "r"),
    "101 L=R": ("l", None, "l"),
    "101 L≠R": ("l", None, "r"),
    "110 L=C": ("c", "c", None),
    "110 L≠C": ("l", "c", None),
    "001": (None, None, "r"),
    "010": (None, "c", None),
    "100": ("l", None, None),
    "000": (None, None, None),
}

ACTIONS = {
    "111": "nothing",
    "111 only R differs": "download",
    "111 only C differs": "update_cache",
    "111 only L differs": "upload",
    "111 all differ": "conflict",
    "011 C=R": "delete_remote",
    "011 C≠R": "conflict",
    "101 L=R": "update_cache",
    "101 L≠R": "conflict",
    "110 L=C": "delete_local",
    "110 L≠C": "conflict",
    "001": "download",
    "010": "drop_cache",
    "100": "upload",
    "000": "nothing",
}
"""What the design says that each state asks for."""

KINDS = {
    "files": {"l": "local", "c": "before", "r": "remote"},
    "links": {"l": Link("x-local"), "c": Link("x-before"), "r": Link("x-remote")},
    "kinds": {"l": Link("x"), "c": "before", "r": EMPTY},
    "other kinds": {"l": EMPTY, "c": Link("x"), "r": "remote"},
    "modes": {"l": Script("same"), "c": "same", "r": Script("same but newer")},
}


def name_of(state: str) -> str:
    return "p-" + state.replace(" ", "_").replace("≠", "-not-")


def arrange(site: Site, sides: Mapping[str, Sides], nodes: Mapping[str, Node]) -> tuple[str, str]:
    """Bring about that each path is what ``sides`` asks for, seen from ann's working copy."""

    def column(index: int) -> dict[str, Node | None]:
        found = {path: row[index] for path, row in sides.items()}
        return {p: None if side is None else nodes[str(side)] for p, side in found.items()}

    ann, bob = site.copy("ann"), site.copy("bob")
    make(ann, {"stays": "the same everywhere", **column(1)})
    site.sync(ann, message="the common past")
    site.sync(bob, operation="clone")
    make(bob, column(2))
    if column(2) != column(1):
        site.sync(bob, message="what bob made of it")
    make(ann, column(0))
    return ann, bob


def expected_side(rows: Mapping[str, Sides], results: Mapping[str, object], nodes) -> dict:
    return {
        "stays": "the same everywhere",
        **{path: nodes[str(results[path])] for path in rows if results[path] is not None},
    }


def outcome(state: str, sides: Sides, direction: str, choice: str) -> tuple[object, object, object]:
    """Return what L, C and R hold afterwards: worked out from the table of the design."""
    local, cache, remote = sides
    action = ACTIONS[state]
    if action == "conflict":
        if choice == "local":
            action = "delete_remote" if local is None else "upload"
        else:
            action = "delete_local" if remote is None else "download"
    if direction == "push" and action in ("download", "delete_local"):
        return local, cache, remote
    if direction == "pull" and action in ("upload", "delete_remote"):
        return local, cache, remote
    return {
        "nothing": (local, cache, remote),
        "upload": (local, local, local),
        "download": (remote, remote, remote),
        "delete_remote": (None, None, None),
        "delete_local": (None, None, None),
        "update_cache": (local, local, remote),
        "drop_cache": (None, None, None),
    }[action]


def check_sides(site: Site, src: str, rows, expected, nodes) -> None:
    assert read(src) == expected_side(rows, {p: e[0] for p, e in expected.items()}, nodes)
    assert read(site.live) == expected_side(rows, {p: e[2] for p, e in expected.items()}, nodes)
    known = {path: nodes[str(e[1])] for path, e in expected.items() if e[1] is not None}
    assert set(site.cache(src)) == {"stays", *known}
    for path, node in known.items():
        entry = site.cache(src)[path]
        assert describe(entry) == node_as_entry(node)


def describe(entry) -> tuple[object, ...]:
    return (entry.kind, entry.size, entry.mode, entry.target)


def node_as_entry(node: Node) -> tuple[object, ...]:
    if isinstance(node, Link):
        return ("symlink", 0, 0, node.target)
    if node is EMPTY:
        return ("directory", 0, 0, "")
    text = node.text if isinstance(node, Script) else node
    return ("file", len(text), 0o755 if isinstance(node, Script) else 0o644, "")


def is_conflict(state: str) -> bool:
    return ACTIONS[state] == "conflict"


CALM = {name_of(s): sides for s, sides in FILES.items() if not is_conflict(s)}
TORN = {name_of(s): sides for s, sides in FILES.items() if is_conflict(s)}
STATE_OF = {name_of(state): state for state in FILES}


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_states_without_conflict(site, direction, kinds):
    nodes = KINDS[kinds]
    ann, _unused = arrange(site, CALM, nodes)
    before = site.manifest().header
    result = site.sync(ann, direction=direction)
    expected = {path: outcome(STATE_OF[path], sides, direction, "") for path, sides in CALM.items()}
    check_sides(site, ann, CALM, expected, nodes)
    held = {"push": ("download", "delete_local"), "pull": ("upload", "delete_remote")}
    for step in result.plan.steps:
        action = ACTIONS[STATE_OF[step.path]]
        assert step.action == ("held" if action in held.get(direction, ()) else action)
    states = {step.path: step.state for step in result.plan.steps}
    assert states == {path: STATE_OF[path] for path in CALM if ACTIONS[STATE_OF[path]] != "nothing"}
    assert result.snapshot == before.snapshot + (direction != "pull")
    assert site.manifest().header.snapshot == result.snapshot
    assert result.manifest_digest == site.manifest().header.digest
    assert site.backups(ann) == []
    site.check_sound()
    site.check_tidy(ann)
    again = site.sync(ann, direction=direction)
    assert not again.changed
    assert again.snapshot == result.snapshot


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_conflicts_stop_everything_and_are_listed(site, direction, kinds):
    nodes = KINDS[kinds]
    ann, _unused = arrange(site, {**CALM, **TORN}, nodes)
    with pytest.raises(ConflictError) as caught:
        site.sync(ann, direction=direction)  # compares pictures before and after
    told = "\n".join(caught.value.details)
    assert "4 paths" in caught.value.message
    for path in TORN:
        assert f"{path} ({STATE_OF[path]})" in told
    for path in CALM:
        assert f"{path} (" not in told
    site.check_tidy(ann)
    site.check_sound()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
@pytest.mark.parametrize("choice", ["local", "remote"])
def test_a_choice_for_the_run_takes_effect(site, choice, direction, kinds):
    nodes = KINDS[kinds]
    rows = {**CALM, **TORN}
    ann, _unused = arrange(site, rows, nodes)
    head = site.manifest().header
    published = read(site.live)
    result = site.sync(ann, direction=direction, conflict=choice)
    expected = {
        path: outcome(STATE_OF[path], sides, direction, choice) for path, sides in rows.items()
    }
    check_sides(site, ann, rows, expected, nodes)
    check_losers(site, ann, result, choice, direction, nodes)
    if direction != "pull":
        assert site.snapshot(head.snapshot) == published, "what was published stays reachable"
        assert site.manifest().header.parent == head.id
    site.check_sound()
    site.check_tidy(ann)
    again = site.sync(ann, direction=direction, conflict=choice)
    assert not again.changed


def check_losers(site, ann, result, choice, direction, nodes) -> None:
    """Local versions that lost are backed up: files and links, as a directory holds nothing."""
    if choice == "local" or direction == "push":
        assert site.backups(ann) == []
        assert result.backup == ""
        return
    lost = {path: nodes[str(row[0])] for path, row in TORN.items() if row[0] is not None}
    kept = {path: node for path, node in lost.items() if node is not EMPTY}
    assert site.backups(ann) == ([kept] if kept else [])
    assert result.backup == (result.backup and os.path.join(ann, ".dsg/backup", result.txn_id))
    assert bool(result.backup) == bool(kept)


@pytest.mark.parametrize("choice", ["local", "remote"])
def test_a_choice_for_single_paths_and_directories(site, choice):
    other = "remote" if choice == "local" else "local"
    sides = ("l", "c", "r")
    rows = dict.fromkeys(
        ("one", "dir/a", "dir/deep/b", "dir/but/c", "dir2/d", "dir/but/not/e"), sides
    )
    nodes = KINDS["files"]
    ann, _unused = arrange(site, rows, nodes)
    choices = {"dir": choice, "dir/but": other, "dir/but/not/e": choice, "one": other}
    with pytest.raises(ConflictError) as caught:
        site.sync(ann, conflict_paths=choices)
    assert caught.value.message == "1 path is in conflict"
    assert caught.value.details[0].startswith("dir2/d ")
    site.sync(ann, conflict_paths=choices, conflict=other)
    won = {"dir/a": choice, "dir/deep/b": choice, "dir/but/not/e": choice}
    for path in rows:
        side = won.get(path, other)
        assert read(ann)[path] == read(site.live)[path] == side
    assert site.backups(ann) == [{p: "local" for p in rows if won.get(p, other) == "remote"}]
    site.check_sound()


def test_what_a_direction_held_back_is_done_by_a_later_run(site):
    nodes = KINDS["files"]
    ann, _unused = arrange(site, CALM, nodes)
    site.sync(ann, direction="push")
    site.sync(ann, direction="pull")
    expected = {path: outcome(STATE_OF[path], row, "both", "") for path, row in CALM.items()}
    check_sides(site, ann, CALM, expected, nodes)


# --- attribution ---


def test_a_user_is_recorded_with_the_content_they_made(site):
    ann = site.copy("ann", {"f": "1", "mode": "x", "link": Link("f"), "dir": EMPTY, "gone": "g"})
    site.sync(ann)
    bob = site.copy("bob")
    site.sync(bob)
    make(bob, {"f": "2", "mode": Script("x"), "new": "n", "link": Link("mode"), "gone": None})
    os.utime(os.path.join(bob, "f"))
    site.sync(bob)
    users = {path: entry.user for path, entry in site.remote().items()}
    assert users == {"f": "bob", "mode": "ann", "new": "bob", "link": "bob", "dir": "ann"}
    result = site.sync(ann)
    assert {path: entry.user for path, entry in site.cache(ann).items()} == users
    assert result.plan.counts()["upload"] == 0
    put(ann, "f", "3")
    site.sync(ann)
    assert site.remote()["f"].user == "ann"
    assert site.remote()["new"].user == "bob"


def test_equal_content_made_twice_belongs_to_whom_published_it_first(site):
    ann, bob = site.copy("ann", {"f": "1"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "f", "2")
    put(bob, "new", "n")
    site.sync(bob)
    put(ann, "f", "2")
    put(ann, "new", "n")
    site.sync(ann)
    for path in ("f", "new"):
        assert site.remote()[path].user == "bob"
        assert site.cache(ann)[path].user == "bob"


def test_touching_and_rewriting_the_same_bytes_changes_nothing(site):
    ann = site.copy("ann", {"f": "1", "d/g": "2"})
    site.sync(ann)
    put(ann, "f", "1")
    os.utime(os.path.join(ann, "d/g"), (1, 1))
    result = site.sync(ann)
    assert not result.changed
    assert result.snapshot == 1


# --- history ---


def test_every_snapshot_stays_and_its_manifest_points_to_the_one_before(site):
    ann = site.copy("ann", {"f": "1"})
    contents = []
    ids = [""]
    for number in range(1, 6):
        put(ann, "f", f"version {number}")
        put(ann, f"n{number}", str(number))
        result = site.sync(ann, message=f"number {number}")
        assert result.snapshot == number
        header = site.manifest().header
        assert header.parent == ids[-1]
        assert header.message == f"number {number}"
        assert header.txn == result.txn_id
        assert header.created_by.startswith("ann@")
        ids.append(header.id)
        contents.append(read(site.live))
    for number in range(1, 5):
        assert site.snapshot(number) == contents[number - 1]
    assert site.repository.chain_problems() == []
    site.check_sound()


# --- names that exclude each other, from two sides ---

CLASHES: list[tuple[dict[str, Node], dict[str, Node]]] = [
    ({"a": "x"}, {"a/b": "y"}),
    ({"a/b": "x", "a/c": "x"}, {"a": "y"}),
    ({"a/b/c": "x"}, {"a": Link("stays")}),
    ({"README": "x"}, {"readme": "y"}),
    ({"dir/x": "x"}, {"DIR/y": "y"}),
    ({"dir": EMPTY}, {"DIR": EMPTY}),
    ({"a": "x"}, {"A/b": "y", "A/c": "y"}),
    ({"Stra\u00dfe": "x"}, {"STRASSE": "y"}),
]


@pytest.mark.parametrize(("mine", "theirs"), CLASHES)
@pytest.mark.parametrize("choice", ["fail", "local", "remote"])
def test_names_that_cannot_live_in_one_tree(site, mine, theirs, choice):
    ann, bob = site.copy("ann", {"stays": "s"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, theirs)
    site.sync(bob)
    make(ann, mine)
    if choice == "fail":
        with pytest.raises(ConflictError, match="cannot exist beside"):
            site.sync(ann)
        return
    site.sync(ann, conflict=choice)
    won = mine if choice == "local" else theirs
    assert read(ann) == read(site.live) == {"stays": "s", **won}
    lost = {path: node for path, node in mine.items() if node is not EMPTY}
    assert site.backups(ann) == ([lost] if choice == "remote" and lost else [])
    if choice == "local":
        assert site.snapshot(2) == {"stays": "s", **theirs}
    assert not site.sync(ann).changed
    site.check_sound()


# --- one path changes its kind ---

SHAPES: dict[str, dict[str, Node]] = {
    "file": {"p": "text"},
    "link": {"p": Link("stays")},
    "empty": {"p": EMPTY},
    "full": {"p/a": "text", "p/b/c": "more"},
    "other": {"p/a": Link("../stays"), "p/z": EMPTY},
    "none": {},
}


@pytest.mark.parametrize("before", SHAPES)
@pytest.mark.parametrize("after", SHAPES)
def test_kinds_change_on_their_way_to_the_repository_and_from_it(site, before, after):
    ann = site.copy("ann", {"stays": "s", **SHAPES[before]})
    bob = site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(ann, "p", None)
    make(ann, SHAPES[after])
    site.sync(ann)
    site.sync(bob)
    expected = {"stays": "s", **SHAPES[after]}
    assert read(ann) == read(site.live) == read(bob) == expected
    assert site.cache(ann) == site.cache(bob) == site.remote()
    if before != after:
        assert site.snapshot(1) == {"stays": "s", **SHAPES[before]}
    site.check_sound()
    site.check_tidy(bob)


# --- empty directories ---


def test_an_empty_directory_that_the_other_side_filled(site):
    ann, bob = site.copy("ann", {"d": EMPTY, "e": EMPTY}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"d/f": "f"})
    make(ann, {"e/g": "g"})
    site.sync(bob, max_delete=0)
    site.sync(ann, max_delete=0)
    site.sync(bob, max_delete=0)
    assert read(ann) == read(bob) == read(site.live) == {"d/f": "f", "e/g": "g"}
    assert set(site.remote()) == {"d/f", "e/g"}


def test_an_empty_directory_that_both_sides_filled(site):
    ann, bob = site.copy("ann", {"d": EMPTY}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"d/bob": "b"})
    make(ann, {"d/ann": "a"})
    site.sync(bob)
    site.sync(ann)
    site.sync(bob)
    assert read(ann) == read(bob) == read(site.live) == {"d/ann": "a", "d/bob": "b"}
    assert not site.sync(ann).changed


def test_a_directory_that_was_emptied_stays_where_it_was_kept(site):
    ann, bob = site.copy("ann", {"d/f": "f", "e/f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "d/f", None)
    put(bob, "e", None)
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == read(bob) == read(site.live) == {"d": EMPTY}


def test_directories_that_become_empty_by_a_deletion_go_away(site):
    ann, bob = site.copy("ann", {"a/b/c/f": "f", "a/k": "k"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "a/b", None)
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == {"a/k": "k"}


@pytest.mark.parametrize("direction", ["push", "both"])
def test_an_empty_directory_is_not_published_over_one_that_holds_something(site, direction):
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"d/x": "x"})
    site.sync(bob)
    make(ann, {"d": EMPTY})
    result = site.sync(ann, direction=direction)
    assert result.snapshot == 2
    assert not site.sync(ann, direction=direction).changed
    assert site.manifest().header.snapshot == 2


# --- ignored files ---


def test_ignored_files_stay_in_a_directory_that_was_deleted_elsewhere(site):
    tree = {".dsgignore": "*.o\n", "d/f": "f", "d/deep/g": "g", "k": "k"}
    ann, bob = site.copy("ann", tree), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(ann, {"d/mine.o": "object", "d/deep/mine.o": "object"})
    put(bob, "d", None)
    site.sync(bob)
    site.sync(ann)
    kept = {"d/mine.o": "object", "d/deep/mine.o": "object"}
    assert read(ann) == {".dsgignore": "*.o\n", "k": "k", **kept}
    assert read(site.live) == {".dsgignore": "*.o\n", "k": "k"}
    again = site.sync(ann)
    assert not again.changed, "what is left is no new directory to publish"
    assert read(site.live) == {".dsgignore": "*.o\n", "k": "k"}


@pytest.mark.parametrize("where", ["file", "option"])
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_a_pattern_that_is_added_later_is_no_deletion(site, where, direction):
    ann, bob = site.copy("ann", {"a.log": "1", "d/b.log": "2", "f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    options = {"direction": direction}
    extra: dict[str, Node] = {}
    if where == "file":
        extra = {".dsgignore": "*.log\n"}
        make(bob, extra)
        site.sync(bob)
        site.sync(ann)
    else:
        options["ignore"] = ("*.log",)
    snapshot = site.manifest().header.snapshot
    make(ann, {"a.log": "changed here"})
    put(ann, "d/b.log", None)
    result = site.sync(ann, **options)
    assert not result.plan.steps
    assert read(site.live) == {"a.log": "1", "d/b.log": "2", "f": "f", **extra}
    assert site.manifest().header.snapshot == snapshot
    put(ann, "f", "changed")
    if direction != "pull":
        site.sync(ann, **options)
        assert read(site.live) == {"a.log": "1", "d/b.log": "2", "f": "changed", **extra}
    assert {"a.log", "d/b.log"} <= set(site.remote())
    assert {"a.log", "d/b.log"} <= set(site.cache(ann))


def test_a_pattern_that_is_taken_back_shows_what_was_done_meanwhile(site):
    ann = site.copy("ann", {"a.log": "1", "b.log": "1", "f": "f"})
    site.sync(ann)
    put(ann, "a.log", "2")
    put(ann, "b.log", None)
    assert not site.sync(ann, ignore=("*.log",)).changed
    result = site.sync(ann)
    assert {step.path: step.action for step in result.plan.steps} == {
        "a.log": "upload",
        "b.log": "delete_remote",
    }


def test_an_upload_that_collides_with_an_ignored_published_name_is_refused(site):
    """Both in one manifest would leave a repository that nobody can read again."""
    ann, bob = site.copy("ann", {"README": "1", "f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"readme": "2", "README": None})
    with pytest.raises(ConflictError, match="cannot exist beside 'README'"):
        site.sync(bob, ignore=("README",))
    assert set(site.remote()) == {"README", "f"}


@pytest.mark.parametrize("pattern", ["d/", "*.o", "d/x.o"])
def test_ignored_files_in_the_way_of_a_download_are_a_conflict(site, pattern):
    """They are in no manifest, and are never removed: the dry run has to say so."""
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "d", "a file")
    site.sync(bob)
    make(ann, {"d/x.o": "object"})
    with pytest.raises(ConflictError, match="cannot exist beside 'd"):
        site.sync(ann, ignore=(pattern,))
    with pytest.raises(ConflictError):
        site.sync(ann, ignore=(pattern,), conflict="remote")
    result = site.sync(ann, ignore=(pattern,), conflict="local")
    assert {step.path: step.action for step in result.plan.steps} == {"d": "held"}
    assert not result.changed
    assert read(ann) == {"f": "f", "d/x.o": "object"}
    put(ann, "d", None)
    site.sync(ann, ignore=(pattern,))
    assert read(ann) == read(site.live) == {"f": "f", "d": "a file"}


def test_directories_that_hold_ignored_files_only_are_neither_published_nor_deleted(site):
    ann = site.copy("ann", {"f": "f", "cache": EMPTY, "full/x.o": "x", "full/y": "y"})
    site.sync(ann)
    make(ann, {"cache/a.o": "a", "build/b.o": "b", "full/y": None})
    assert set(site.remote()) == {"f", "cache", "full/x.o", "full/y"}
    result = site.sync(ann, ignore=("*.o",))
    assert {step.path: step.action for step in result.plan.steps} == {"full/y": "delete_remote"}
    assert set(site.remote()) == {"f", "cache", "full/x.o"}
    assert not site.sync(ann, ignore=("*.o",)).changed
