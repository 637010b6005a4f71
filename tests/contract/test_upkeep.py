# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""History and verification by every backend, here and over ssh: what was published is what is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from _core.errors import DsgError
from _core.upkeep import jobs

from tests.contract.driver import publish
from tests.contract.trees import ONE, TWO, remake
from tests.integration.support import EMPTY, AnySite, Link, Script, Tree, put

STEPS: list[Tree] = [
    ONE,
    TWO,
    {"same": "S", "f": "two", "new/n": "nn", 'q"uote\\d': "q", "ü/ñ": "u"},
    {"same": "S", "f": "two", "new/n": "nn", "gone": "back", "ü/ñ": "u"},
]


def told(site: AnySite, job: str, **arguments: Any) -> dict[str, Any]:
    """Have a job done where the repository is."""
    ask = getattr(site.repository, "ask", None)
    found = ask(job, arguments) if ask else jobs.run(site.repository, job, arguments)
    assert isinstance(found, dict)
    return found


def publish_all(site: AnySite, trees: list[Tree]) -> None:
    for number, tree in enumerate(trees, 1):
        publish(site.repository, remake(site.copy("source"), tree), number)


def changes(before: Tree, after: Tree) -> dict[str, str]:
    """Return path → how it changed, as the log has to tell it."""
    found = dict.fromkeys(before.keys() - after.keys(), "deleted")
    found.update(dict.fromkeys(after.keys() - before.keys(), "added"))
    kept = before.keys() & after.keys()
    found.update({path: "changed" for path in kept if before[path] != after[path]})
    return found


# --- history ---


def test_log_blame_and_versions_tell_what_was_published(site):
    publish_all(site, STEPS)
    expected = {
        number: changes(before, after)
        for number, (before, after) in enumerate(zip([{}, *STEPS], STEPS), 1)
    }
    log = told(site, "log", with_paths=True)
    assert (log["snapshot"], log["truncated"]) == (4, False)
    assert [step["snapshot"] for step in log["steps"]] == [4, 3, 2, 1]
    for step in log["steps"]:
        number = step["snapshot"]
        assert {one["path"]: one["change"] for one in step["paths"]} == expected[number]
        assert (step["message"], step["created_by"]) == (f"number {number}", "ann@here")
        assert step["kept"] is True
        for change in ("added", "changed", "deleted"):
            assert step[change] == list(expected[number].values()).count(change)
    assert log["steps"][0]["manifest_digest"] == site.manifest().header.digest
    check_selections(site, expected)
    check_blame(site, expected)
    check_versions(site)


def check_selections(site: AnySite, expected: dict[int, dict[str, str]]) -> None:
    def numbers(**options: Any) -> list[int]:
        return [step["snapshot"] for step in told(site, "log", **options)["steps"]]

    assert (
        numbers(counts=False) == numbers(author="a*") == numbers(author="ann@here") == [4, 3, 2, 1]
    )
    assert numbers(author="bob") == []
    assert numbers(since="2", until="s3") == [3, 2]
    assert numbers(since="2026-01-01", until="2026-01-01") == [4, 3, 2, 1]
    assert numbers(since="2026-01-02") == numbers(until="2025-12-31") == []
    assert numbers(paths=["new/"]) == [3, 2]
    assert numbers(paths=["/gone"]) == [4, 2, 1]
    assert numbers(paths=["q*"]) == [4, 3]
    assert numbers(paths=["ü"]) == [3]
    assert numbers(paths=["nowhere"]) == []
    latest = told(site, "log", limit=1, paths=["/gone"], with_paths=True)
    assert latest["truncated"]
    (step,) = latest["steps"]
    assert [(one["path"], one["change"]) for one in step["paths"]] == [("gone", "added")]
    assert step["changed"] + step["added"] + step["deleted"] == len(expected[4])


def check_blame(site: AnySite, expected: dict[int, dict[str, str]]) -> None:
    last = {}
    for number, changed in expected.items():
        last.update({path: (number, change) for path, change in changed.items()})
    blame = told(site, "blame", deleted=True)
    assert {one["path"]: (one["snapshot"], one["change"]) for one in blame["paths"]} == last
    assert [one["path"] for one in blame["paths"]] == sorted(last)
    present = told(site, "blame")
    assert [one["path"] for one in present["paths"]] == sorted(STEPS[-1])
    assert {one["user"] for one in blame["paths"]} == {"ann"}
    for author in ("ann", "a*", "ann@here", "*@*"):
        assert told(site, "blame", deleted=True, author=author) == blame, author
    assert told(site, "blame", deleted=True, author="ann@elsewhere")["paths"] == []
    some = told(site, "blame", paths=["new/", "/f"], since="3")
    assert [(one["path"], one["snapshot"]) for one in some["paths"]] == [("new/n", 3)]
    assert told(site, "blame", limit=2)["total"] == len(STEPS[-1])
    assert len(told(site, "blame", limit=2)["paths"]) == 2


def check_versions(site: AnySite) -> None:
    found = told(site, "versions", path="gone")["versions"]
    assert [(one["snapshot"], one["until"], one["change"]) for one in found] == [
        (4, 4, "added"),
        (2, 3, "deleted"),
        (1, 1, "added"),
    ]
    assert [one["restorable_from"] for one in found] == [4, 0, 1]
    assert found[0]["sha256"] == site.remote()["gone"].sha256
    assert (found[0]["type"], found[0]["mode"], found[0]["size"]) == ("file", "0644", 4)
    for selected, snapshots in (
        ({"since": "2"}, [4, 2]),
        ({"since": "2", "until": "3"}, [2]),
        ({"until": "2025-12-31"}, []),
        ({"author": "ann@*"}, [4, 2, 1]),
        ({"author": "bob"}, []),
    ):
        some = told(site, "versions", path="gone", **selected)["versions"]
        assert some == [one for one in found if one["snapshot"] in snapshots], selected
    (only,) = told(site, "versions", path='q"uote\\d')["versions"][1:]
    assert (only["snapshot"], only["change"]) == (3, "added")
    with pytest.raises(DsgError, match="never published"):
        told(site, "versions", path="nowhere")


def test_a_pattern_for_directories_goes_by_what_was_deleted(site):
    """A deletion names a path alone; what it was is told by the step that had put it."""
    publish_all(
        site,
        [
            {"gone": EMPTY, "filled": EMPTY, "turned": "a file", "k": "1"},
            {"filled/x": "x", "turned": EMPTY, "k": "1"},
            {"filled/x": "x", "turned": "a file", "k": "2"},
            {"filled/x": "x", "k": "3"},
            {"filled/x": "x", "gone": "a file", "k": "3"},
            {"filled/x": "x", "k": "3"},
        ],
    )

    def blamed(*paths: str, deleted: bool = False) -> list[tuple[str, str, int]]:
        found = told(site, "blame", paths=list(paths), deleted=deleted)["paths"]
        return [(one["path"], one["change"], one["snapshot"]) for one in found]

    def logged(*paths: str, **options: Any) -> list[tuple[int, list[tuple[str, str]]]]:
        steps = told(site, "log", paths=list(paths), with_paths=True, **options)["steps"]
        counted = told(site, "log", paths=list(paths), counts=False, **options)["steps"]
        assert [step["snapshot"] for step in counted] == [step["snapshot"] for step in steps]
        return [
            (step["snapshot"], [(one["path"], one["change"]) for one in step["paths"]])
            for step in steps
        ]

    # No older step gives life to what a newer one deleted, filled or made a file.
    assert blamed("gone/") == blamed("turned/") == blamed("gone/", deleted=True) == []
    assert blamed("turned/", deleted=True) == []
    assert blamed("filled/") == [("filled/x", "added", 2)]
    assert blamed("filled/", deleted=True) == [("filled", "deleted", 2), ("filled/x", "added", 2)]
    assert blamed("/*", "!*/", deleted=True) == [
        ("gone", "deleted", 6),
        ("k", "changed", 4),
        ("turned", "deleted", 4),
    ]
    # A file's deletion is none of a directory, and the other way round.
    assert logged("gone/") == [(2, [("gone", "deleted")]), (1, [("gone", "added")])]
    assert logged("turned/") == [(2, [("turned", "changed")])]
    assert logged("filled/") == [
        (2, [("filled", "deleted"), ("filled/x", "added")]),
        (1, [("filled", "added")]),
    ]
    assert logged("/gone", "!gone/") == [(6, [("gone", "deleted")]), (5, [("gone", "added")])]
    # The limit counts what is left, and tells of nothing that is not there.
    assert logged("gone/", limit=1) == [(2, [("gone", "deleted")])]
    assert logged("gone/", since="2") == [(2, [("gone", "deleted")])]
    assert told(site, "log", paths=["gone/"], limit=1)["truncated"]
    assert not told(site, "log", paths=["gone/"], limit=2)["truncated"]
    assert not told(site, "log", paths=["turned/"], limit=1)["truncated"]


DAMAGE: dict[str, Callable[[str], None]] = {
    "missing": os.unlink,
    "a byte of the header": lambda path: flip(path, 40),
    "a byte of a line": lambda path: flip(path, -150),
    "another step": lambda path: shutil.copy(path.replace("s2.", "s1."), path),
    "cut off": lambda path: os.truncate(path, os.path.getsize(path) - 1),
}


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as stream:
        stream.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes((byte[0] ^ 1,)))


def test_a_damaged_step_is_named_and_never_left_out(site):
    publish_all(site, STEPS)
    for damage, harm in DAMAGE.items():
        with site.opened() as live:
            path = os.path.join(live, ".dsg", "history", "s2.jsonl")
            shutil.copy2(path, site.copy("kept"))
            harm(path)
        for job in ("log", "blame"):
            with pytest.raises(DsgError) as caught:
                told(site, job)
            assert caught.value.code == "DSG-MANIFEST", damage
            assert "s2" in caught.value.message, damage
            assert caught.value.object == path
        # What does not need the step is told all the same.
        newest = told(site, "log", limit=1)
        assert [step["snapshot"] for step in newest["steps"]] == [4]
        assert [step["snapshot"] for step in told(site, "log", since="4")["steps"]] == [4]
        found = told(site, "verify")
        assert (2, "history") in [(one["snapshot"], one["what"]) for one in found["problems"]]
        assert found["trees"][0]["checked"], damage
        with site.opened():
            shutil.copy2(site.copy("kept"), path)
    assert told(site, "verify")["sound"]


# --- verification ---


def problems(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["path"], one["what"]) for one in found["problems"]}


def test_every_difference_of_the_published_tree_is_named(site, source):
    put(source, "quiet", "before")
    put(source, "touched", "t")
    put(source, "kind", "k")
    put(source, "deep/er/file", "x")
    put(source, "turned/into", "x")
    publish(site.repository, source, 1)
    assert told(site, "verify")["sound"]
    with site.opened() as live:
        quiet = os.path.join(live, "quiet")
        times = os.stat(quiet)
        put(live, "quiet", "behind")  # as many bytes
        os.utime(quiet, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.utime(os.path.join(live, "touched"), ns=(0, 12345))
        put(live, "f", "longer than before")
        os.chmod(os.path.join(live, "same"), 0o4755)
        put(live, "d/g", None)
        put(live, "kind", Link("f"))
        put(live, "l", Link("d"))
        put(live, "e", "not a directory")
        put(live, "gone", EMPTY)
        put(live, "turned", "a file")
        shutil.rmtree(os.path.join(live, "deep"))
        put(live, "more/of/it", Script("x"))
        put(live, "more/empty", EMPTY)
        os.mkfifo(os.path.join(live, "pipe"))
        put(live, ".dsg/left", "by somebody")
        put(live, ".dsg/history/s1.jsonl~", "by an editor")
        put(live, ".dsg/history/s2.jsonl", "of the future")
    found = told(site, "verify")
    assert not found["sound"]
    assert problems(found) == {
        ("quiet", "content"),
        ("touched", "time"),
        ("f", "content"),
        ("same", "mode"),
        ("d/g", "missing"),
        ("kind", "type"),
        ("l", "target"),
        ("e", "type"),
        ("gone", "type"),
        ("turned", "type"),
        ("turned/into", "missing"),
        ("deep/er/file", "missing"),
        ("more/of/it", "added"),
        ("more/empty", "added"),
        ("pipe", "added"),
        (".dsg/left", "added"),
        (".dsg/history/s1.jsonl~", "added"),
        (".dsg/history/s2.jsonl", "added"),
    }
    assert {one["snapshot"] for one in found["problems"]} == {1}
    assert all(one["live"] for one in found["problems"])
    assert sum(found["counts"].values()) == 18 == found["trees"][0]["problems"]
    assert len(told(site, "verify", limit=3)["problems"]) == 3
    assert told(site, "verify", limit=3)["counts"] == found["counts"]


def test_chosen_snapshots_are_read_by_their_own_trees(site):
    publish_all(site, STEPS)
    for chosen, numbers in (
        (["newest"], [4]),
        (["2"], [2, 4]),
        (["s1", "newest"], [1, 4]),
        (["all"], [1, 2, 3, 4]),
    ):
        found = told(site, "verify", snapshots=chosen)
        assert found["sound"], found
        trees = found["trees"]
        assert sorted({tree["snapshot"] for tree in trees}) == numbers
        assert [tree["snapshot"] for tree in trees if tree["live"]] == [4]
        assert all(tree["checked"] and not tree["gone"] for tree in trees)
    for wrong, code in (("9", "DSG-REPOSITORY"), ("some", "DSG-ARGUMENT")):
        with pytest.raises(DsgError) as caught:
            told(site, "verify", snapshots=[wrong])
        assert caught.value.code == code


def test_a_damaged_manifest_does_not_keep_the_tree_from_being_checked(site):
    publish_all(site, STEPS[:2])
    with site.opened() as live:
        path = os.path.join(live, ".dsg", "manifest.jsonl")
        flip(path, -20)
        put(live, "f", "TWO")
    found = told(site, "verify")
    assert {(".dsg/manifest.jsonl", "manifest"), ("f", "content")} <= problems(found)
    assert found["trees"][0]["checked"]
    with site.opened() as live:
        shutil.copy(os.path.join(live, ".dsg", "history", "s1.jsonl"), path)
    found = told(site, "verify", snapshots=["all"])
    assert not found["sound"]
    assert (".dsg/manifest.jsonl", "manifest") in problems(found)


def test_what_does_not_exist_cannot_be_verified_or_told_of(site):
    for job in ("verify", "log", "blame"):
        with pytest.raises(DsgError) as caught:
            told(site, job)
        assert caught.value.code == "DSG-REPOSITORY"
