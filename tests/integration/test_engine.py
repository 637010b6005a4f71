# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine from outside: operations, what check mode promises, what a run reports and leaves."""

from __future__ import annotations

import getpass
import os
import shutil
import stat
import tempfile
from collections.abc import Callable

import pytest
from _core.client import apply, transaction
from _core.errors import DsgError
from _core.plan.plan import check_deletions
from _core.plan.structure import collisions
from _core.posix.progress import Meter, Progress
from _core.sync.engine import run
from _core.sync.status import inspect
from _core.sync.verify import verify_repository
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.children import ANY_FLAG, become, in_child, without_renameat2
from tests.integration.support import (
    EMPTY,
    Link,
    Script,
    Site,
    Tree,
    make,
    picture,
    put,
    read,
    refused,
    site,
)

__all__ = ["site"]

TREE: Tree = {"a": "a", "d/b": "bb", "l": Link("a"), "e": EMPTY, "x": Script("x")}


# --- which operation ---

# is there a repository, a working copy (none, empty, full, known) → asked for → what it is, or a code
OPERATIONS = {
    (False, "none"): ("DSG-WORKING-COPY", "DSG-WORKING-COPY", "DSG-REPOSITORY", "DSG-REPOSITORY"),
    (False, "empty"): ("init", "init", "DSG-REPOSITORY", "DSG-REPOSITORY"),
    (False, "full"): ("init", "init", "DSG-REPOSITORY", "DSG-REPOSITORY"),
    (True, "none"): ("clone", "DSG-REPOSITORY", "clone", "DSG-WORKING-COPY"),
    (True, "empty"): ("clone", "DSG-REPOSITORY", "clone", "sync"),
    (True, "full"): ("sync", "DSG-REPOSITORY", "DSG-WORKING-COPY", "sync"),
    (True, "known"): ("sync", "init", "clone", "sync"),
}


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize(("exists", "copy"), OPERATIONS)
def test_which_operation_a_run_is(site, exists, copy, column):
    asked = ("auto", "init", "clone", "sync")[column]
    expected = OPERATIONS[exists, copy][column]
    if exists:
        site.sync(site.copy("first", TREE))
    src = site.copy("src")
    if copy == "empty":
        os.mkdir(src)
    elif copy == "full":
        make(src, {"mine": "m"})
    elif copy == "known":
        site.sync(src)
    if expected.startswith("DSG-"):
        request = site.request(src, operation=asked)
        refused(site, expected, lambda: run(request._replace(check=True)))
        refused(site, expected, lambda: run(request))
        assert os.path.exists(src) == (copy != "none")
        return
    result = site.sync(src, operation=asked)
    assert result.operation == expected
    assert result.changed == (copy != "known")
    assert read(src) == read(site.live)


def test_init_and_clone_are_done_when_they_are_done(site):
    ann = site.copy("ann", TREE)
    site.sync(ann, operation="init")
    put(ann, "a", "changed")
    before = site.picture()
    assert not site.sync(ann, operation="init").changed
    assert site.picture() == before
    bob = site.copy("bob")
    site.sync(bob, operation="clone")
    put(bob, "a", "changed too")
    assert not site.sync(bob, operation="clone").changed


def test_a_clone_never_writes_to_the_repository(site):
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    site.sync(ann)
    refused(
        site, "DSG-ARGUMENT", lambda: run(site.request(bob, direction="push", operation="clone"))
    )
    before = picture(site.base)
    site.sync(bob)
    assert picture(site.base) == before


def test_a_reader_without_rights_in_the_repository_can_clone_and_pull():
    """The container is closed to everybody else; the published tree is what they may read."""
    root = tempfile.mkdtemp(prefix="dsg-test-")
    try:
        os.chmod(root, 0o755)
        site = Site(root)
        ann = site.copy("ann", TREE)
        site.sync(ann)
        os.mkdir(site.copy("theirs"))
        os.chown(site.copy("theirs"), 65534, 65534)
        bob = site.copy("theirs/bob")

        def as_reader(**options) -> int:
            def work() -> int:
                number: int = run(site.request(bob, **options)).snapshot
                return number

            number: int = in_child(work, before=become(65534))
            return number

        assert as_reader() == 1
        put(ann, "a", "second")
        site.sync(ann)
        assert as_reader(direction="pull") == 2
        assert read(bob) == read(site.live)
        put(bob, "a", "mine")
        with pytest.raises(DsgError):
            as_reader()
        assert read(site.live)["a"] == "second"
        site.check_sound()
    finally:
        shutil.rmtree(root)


# --- what a run reports ---


def test_the_report_of_a_run(site):
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    first = site.sync(ann, message="the first", user="Ann Example")
    assert (first.operation, first.changed, first.snapshot) == ("init", True, 1)
    assert first.bytes_uploaded == len("a") + len("bb") + len("x")
    assert first.bytes_downloaded == 0
    assert first.manifest_digest == site.manifest().header.digest
    assert first.txn_id == site.manifest().header.txn
    assert first.plan.counts()["upload"] == 5
    assert {"scan", "plan", "stage", "prepare", "commit", "apply"} <= set(first.seconds)
    assert all(seconds >= 0 for seconds in first.seconds.values())
    header = site.manifest().header
    assert header.message == "the first"
    assert header.created_by.startswith("Ann Example@")
    assert (header.files, header.links, header.directories, header.bytes) == (3, 1, 1, 4)
    assert {entry.user for entry in site.manifest().entries} == {"Ann Example"}
    cloned = site.sync(bob)
    assert cloned.bytes_downloaded == 4
    assert cloned.bytes_uploaded == 0
    assert (cloned.snapshot, cloned.manifest_digest) == (1, first.manifest_digest)
    quiet = site.sync(ann)
    assert (quiet.changed, quiet.txn_id, quiet.snapshot) == (False, "", 1)
    assert not quiet.plan.steps


def test_without_a_name_the_user_is_who_runs_it(site):
    ann = site.copy("ann", {"f": "f"})
    site.sync(ann, user="")
    assert site.remote()["f"].user == getpass.getuser()


def test_nothing_to_do_writes_nothing_but_the_index(site):
    ann = site.copy("ann", TREE)
    site.sync(ann)
    os.utime(os.path.join(ann, "a"), (1, 1))

    def everything() -> dict[str, object]:
        found = site.picture()
        del found["ann"][".dsg/index"]
        return found

    before = everything()
    for options in ({}, {"direction": "push"}, {"direction": "pull"}, {"conflict": "local"}):
        result = site.sync(ann, **options)
        assert not result.changed
    assert everything() == before


def test_status_and_verification_agree_with_what_happened(site):
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    missing = inspect(site.request(ann))
    assert not missing.repository_exists
    assert missing.snapshot is None
    assert not missing.in_sync
    assert missing.plan.counts()["upload"] == 5
    site.sync(ann, message="hello")
    site.sync(bob)
    put(ann, "a", "changed")
    site.sync(ann)
    here, there = inspect(site.request(ann)), inspect(site.request(bob))
    assert (here.in_sync, here.last_sync, here.snapshot) == (True, 2, 2)
    assert (there.in_sync, there.last_sync, there.snapshot) == (False, 1, 2)
    assert {step.path: step.action for step in there.plan.steps} == {"a": "download"}
    assert here.snapshots == [1, 2]
    assert (here.files, here.bytes) == (3, 10)
    assert here.unfinished == there.unfinished == []
    put(bob, "a", "conflicting")
    assert inspect(site.request(bob)).plan.counts()["conflict"] == 1
    checked = verify_repository(site.name, site.backend)
    assert checked.sound
    assert (checked.snapshot, checked.digest, checked.files) == (2, here.digest, 3)
    unknown = inspect(site.request(site.copy("nowhere")))
    assert not unknown.working_copy_exists
    assert unknown.last_sync is None


# --- trees ---


def test_an_empty_tree_is_a_tree(site):
    ann, bob = site.copy("ann", {}), site.copy("bob")
    assert site.sync(ann).snapshot == 1
    assert site.sync(bob).operation == "clone"
    assert read(bob) == {}
    put(ann, "f", "f")
    site.sync(ann)
    site.sync(bob)
    assert read(bob) == {"f": "f"}
    put(bob, "f", None)
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == {}
    site.check_sound()


def test_downloads_have_the_published_mode_and_time(site):
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    os.utime(os.path.join(ann, "d/b"), ns=(0, 1_234_567_890_123_456_789))
    os.chmod(os.path.join(ann, "d/b"), 0o640)
    site.sync(ann)
    site.sync(bob)
    found = os.stat(os.path.join(bob, "d/b"))
    assert found.st_mtime_ns == 1_234_567_890_123_456_789
    assert stat.S_IMODE(found.st_mode) == 0o640
    os.chmod(os.path.join(bob, "d/b"), 0o600)
    result = site.sync(bob)
    assert {step.path: step.action for step in result.plan.steps} == {"d/b": "upload"}
    site.sync(ann)
    assert stat.S_IMODE(os.stat(os.path.join(ann, "d/b")).st_mode) == 0o600


def test_joining_two_trees_that_never_met(site):
    ann, bob = (
        site.copy("ann", {"same": "s", "ann": "a"}),
        site.copy("bob", {"same": "s", "b": "b"}),
    )
    site.sync(ann)
    result = site.sync(bob)
    assert {step.path: step.state for step in result.plan.steps} == {
        "ann": "001",
        "b": "100",
        "same": "101 L=R",
    }
    assert read(bob) == read(site.live) == {"same": "s", "ann": "a", "b": "b"}


def test_one_working_copy_and_two_repositories(site):
    """Each has its own record: what one deletes is no deletion in the other until it is synced."""
    ann = site.copy("ann", {"f": "1", "g": "1"})
    other = Site(site.root, "other")
    site.sync(ann)
    other.sync(ann)
    put(ann, "g", None)
    put(ann, "f", "2")
    site.sync(ann)
    assert read(site.live) == {"f": "2"}
    assert read(other.live) == {"f": "1", "g": "1"}
    result = other.sync(ann)
    assert {step.path: step.action for step in result.plan.steps} == {
        "f": "upload",
        "g": "delete_remote",
    }


def test_places_that_overlap_are_refused(site):
    ann = site.copy("ann", TREE)
    inside = os.path.join(site.base, "wc")
    make(inside, {"f": "f"})
    for src in (inside, site.root, site.base):
        refused(site, "DSG-ARGUMENT", lambda src=src: run(site.request(src)))
    os.symlink(inside, os.path.join(site.root, "by-link"))
    refused(site, "DSG-ARGUMENT", lambda: run(site.request(os.path.join(site.root, "by-link"))))
    site.sync(ann)


def test_hard_links_in_the_working_copy_are_files_of_their_own(site):
    ann, bob = site.copy("ann", {"one": "1"}), site.copy("bob")
    os.link(os.path.join(ann, "one"), os.path.join(ann, "two"))
    site.sync(ann)
    site.sync(bob)
    put(bob, "one", "changed")
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == {"one": "changed", "two": "1"}


# --- the index is only a memory ---


@pytest.mark.parametrize("damage", [b"", b"garbage", None, b"dsg-index 1 le\n" + b"\0" * 64])
def test_an_index_that_is_damaged_costs_time_only(site, damage):
    ann = site.copy("ann", TREE)
    site.sync(ann)
    index = os.path.join(ann, ".dsg", "index")
    os.unlink(index)
    if damage is not None:
        with open(index, "wb") as stream:
            stream.write(damage)
    assert not site.sync(ann).changed
    put(ann, "a", "b")
    assert {s.path for s in site.sync(ann).plan.steps} == {"a"}


def test_changes_that_leave_size_and_time_alone_are_seen(site):
    ann = site.copy("ann", {f"f{n}": "old" for n in range(20)})
    site.sync(ann)
    site.sync(ann)
    for number in range(20):
        path = os.path.join(ann, f"f{number}")
        before = os.stat(path)
        with open(path, "r+") as stream:
            stream.write("new")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    site.sync(ann)
    assert set(read(site.live).values()) == {"new"}


def test_edits_in_the_instant_of_a_sync_are_seen_by_the_next(site):
    """The racy time stamp: same size, within the clock's tick."""
    ann = site.copy("ann", {"f": "000"})
    site.sync(ann)
    for number in range(1, 40):
        put(ann, "f", f"{number:03}")
        site.sync(ann)
        assert read(site.live) == {"f": f"{number:03}"}
    assert site.manifest().header.snapshot == 40


# --- edits while a run is at work ---


def during_apply(patch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Do something when everything is decided, right before the working copy is changed."""
    real = transaction.carry_out
    done = []

    def carry_out(*args):
        if not done:
            done.append(True)
            change()
        return real(*args)

    patch.setattr(transaction, "carry_out", carry_out)


LATE = {
    "a changed": ("a", lambda ann: put(ann, "a", "just saved"), {"a": "just saved"}),
    "a replaced by a link": ("a", lambda ann: put(ann, "a", Link("l")), {"a": Link("l")}),
    "a replaced by a directory": ("a", lambda ann: put(ann, "a", EMPTY), {"a": EMPTY}),
    "a filled directory there": (
        "a",
        lambda ann: make(ann, {"a": None, "a/x": "x"}),
        {"a/x": "x"},
    ),
    "new came into being": ("new", lambda ann: put(ann, "new", "mine"), {"new": "mine"}),
    "what is deleted was saved": ("gone", lambda ann: put(ann, "gone", "s"), {"gone": "s"}),
    "its directory is a link now": (
        "sub/f",
        lambda ann: (os.rename(ann + "/sub", ann + "/was"), os.symlink("was", ann + "/sub")),
        {"sub": Link("was"), "was/f": "f"},
    ),
    "its directory is a file now": (
        "sub/f",
        lambda ann: put(ann, "sub", "file"),
        {"sub": "file"},
    ),
}


@pytest.mark.parametrize("late", LATE)
def test_what_is_saved_while_a_run_applies_is_kept_and_told(site, monkeypatch, late):
    path, change, kept = LATE[late]
    ann, bob = site.copy("ann", {**TREE, "gone": "g", "sub/f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"a": "from bob", "new": "from bob", "gone": None, "sub/f": "from bob", "ok": "k"})
    site.sync(bob)
    with monkeypatch.context() as patch:
        during_apply(patch, lambda: change(ann))
        result = run(site.request(ann))
    assert result.put_off == [path]
    mine = read(ann)
    assert mine["ok"] == "k", "everything else was done"
    for name, node in kept.items():
        assert mine[name] == node
    site.check_tidy(ann)
    site.check_sound()
    again = inspect(site.request(ann))
    assert path in {step.path for step in again.plan.steps}, "the next run sees it again"
    run(site.request(ann, conflict="local"))
    assert read(ann) == read(site.live)


BESIDE = {
    "in another case": ({"README": None, "readme": "x"}, "README", "DSG-PATH"),
    "in a directory of another case": ({"sub": None, "SUB/f": "f"}, "sub/f", "DSG-PATH"),
    "in a directory that is empty now": ({"sub/f": None, "sub": EMPTY}, "sub/f", "DSG-CONFLICT"),
}
"""What the other side did, what is saved here meanwhile, and what the next run says of it."""


@pytest.mark.parametrize("beside", BESIDE)
def test_what_is_saved_beside_what_cannot_be_published_with_it(site, monkeypatch, beside):
    """The record of the last sync holds the old version then, so that the next run goes on from it."""
    change, path, code = BESIDE[beside]
    ann, bob = site.copy("ann", {"README": "x", "sub/f": "f", "z": "z"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {name: None for name, node in change.items() if node is None})
    make(bob, {**{name: node for name, node in change.items() if node is not None}, "z": "new"})
    site.sync(bob)
    with monkeypatch.context() as patch:
        during_apply(patch, lambda: put(ann, path, "just saved"))
        result = run(site.request(ann))
    assert result.put_off == [path]
    mine = read(ann)
    assert (mine[path], mine["z"]) == ("just saved", "new")
    site.check_tidy(ann)
    site.check_sound()
    site.refused(code, ann)
    assert read(ann) == mine
    put(ann, path, None)
    if "/" in path:
        os.rmdir(os.path.join(ann, os.path.dirname(path)))
    site.sync(ann, conflict="remote")
    assert read(ann) == read(site.live)


@pytest.mark.parametrize("in_steps", [False, True])
def test_a_save_in_the_very_moment_of_the_exchange_is_put_back(site, in_steps):
    """Also where names cannot be exchanged, as on network file systems."""
    ann, bob = site.copy("ann", {"a": "a", "b": "b"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"a": "from bob", "b": None})
    site.sync(bob)

    def save_first(call):
        def guarded(source, target, *others, **options):
            for name in {source, target, *others} & unsaved:
                unsaved.remove(name)
                put(ann, name, "saved in between")
            return call(source, target, *others, **options)

        return guarded

    def before():
        if in_steps:
            without_renameat2(ANY_FLAG)()
        apply.rename_exchange = save_first(apply.rename_exchange)
        os.rename = save_first(os.rename)

    unsaved = {"a", "b"}
    result = in_child(lambda: run(site.request(ann)), before=before)
    assert sorted(result.put_off) == ["a", "b"]
    assert read(ann) == {"a": "saved in between", "b": "saved in between"}
    assert site.backups(ann) == []
    site.check_tidy(ann)


def test_a_version_that_lost_is_kept_also_where_its_path_is_taken_again(site, monkeypatch):
    """A file that lost to a directory is gone from its path when somebody saves it there once more."""
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "f", EMPTY)
    site.sync(bob)
    put(ann, "f", "lost")
    make_directory = apply._mkdir

    def save_first(*args):
        put(ann, "f", "saved once more")
        return make_directory(*args)

    with monkeypatch.context() as patch:
        patch.setitem(apply._ACTIONS, "mkdir", save_first)
        result = run(site.request(ann, conflict="remote"))
    assert result.put_off == ["f"]
    assert read(ann) == {"f": "saved once more"}
    assert site.backups(ann) == [{"f": "lost"}]


# --- what could not be tidied up ---


def test_a_cleanup_that_fails_does_not_fail_the_sync_and_is_done_later(site, monkeypatch):
    ann = site.copy("ann", TREE)
    site.sync(ann)
    put(ann, "a", "second")
    in_the_way = site.layout.snapshot(1)
    os.makedirs(in_the_way)
    put(in_the_way, "foreign", "x")
    result = run(site.request(ann))
    assert result.snapshot == 2
    assert len(result.pending_cleanup) == 1
    assert "s1" in result.pending_cleanup[0]
    assert inspect(site.request(ann)).unfinished
    assert not run(site.request(ann)).changed
    put(ann, "a", "third")
    with pytest.raises(
        DsgError
    ) as caught:  # s1 must not be lost: nothing goes on before it is kept
        run(site.request(ann))
    assert caught.value.object == in_the_way
    shutil.rmtree(in_the_way)
    result = run(site.request(ann))
    assert result.snapshot == 3
    assert any("kept s1" in line for line in result.recovered)
    assert site.snapshot(1) == TREE
    site.check_sound()


def test_check_mode_refuses_to_guess_behind_an_unfinished_transaction(site):
    ann, bob = site.copy("ann", TREE), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "a", "from bob")
    site.sync(bob)

    def die() -> None:
        transaction.carry_out = lambda *args: os._exit(9)
        run(site.request(ann))

    with pytest.raises(Exception, match="status"):
        in_child(die)
    refused(site, "DSG-UNFINISHED", lambda: run(site.request(ann, check=True)))
    assert inspect(site.request(ann)).unfinished
    assert len(site.recover(ann)) == 1
    assert site.recover(ann) == []
    assert read(ann) == read(site.live)


def test_a_crash_behind_a_backup_is_no_change_by_the_user(site):
    """The old file went to the backups, a directory has its name: recovery must not take it for new."""
    ann, bob = site.copy("ann", {"a": "a", "b": "b"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(bob, {"a": EMPTY, "b": "from bob"})
    site.sync(bob)
    make(ann, {"a": "lost", "b": "lost too"})

    def die() -> None:
        transaction.ClientTransaction._install_record = lambda *args: os._exit(9)
        run(site.request(ann, conflict="remote"))

    with pytest.raises(Exception, match="status"):
        in_child(die)
    told = site.recover(ann)
    assert not any("put off" in line for line in told)
    assert read(ann) == read(site.live) == {"a": EMPTY, "b": "from bob"}
    assert site.cache(ann) == site.remote()
    assert site.backups(ann) == [{"a": "lost", "b": "lost too"}]
    assert not inspect(site.request(ann)).plan.steps
    site.check_tidy(ann)


# --- check mode says what a run does, for any trees and any policy ---

NAMES = st.sampled_from(["a", "A", "b", "é"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
NODES = st.sampled_from(["1", "22", "333", Script("1"), Link("a"), Link("b"), EMPTY])


def plain(contents: dict[str, object]) -> Tree:
    """Keep what can live in one tree, the first come first."""
    from _core.manifest.entry import FILE, Entry

    kept: Tree = {}
    for path, node in contents.items():
        candidate = {**kept, path: node}
        entries = {p: Entry(p, FILE, 0, 0, 0, "", "", "") for p in candidate}
        if not collisions(entries):
            kept = candidate
    return kept


TREES = st.dictionaries(PATHS, NODES, max_size=5).map(plain)


@settings(max_examples=120, derandomize=True)
@given(
    TREES,
    TREES,
    TREES,
    st.sampled_from(["both", "push", "pull"]),
    st.sampled_from(["fail", "local", "remote"]),
    st.dictionaries(st.sampled_from(["a", "A", "b", "a/b"]), st.sampled_from(["local", "remote"])),
    st.sampled_from(["100%", "50%", 1]),
    st.sampled_from([(), ("b",), ("A", "é/")]),
)
def test_check_mode_announces_exactly_what_the_run_does(
    local, cache, remote, direction, conflict, paths, limit, ignore
):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        site = Site(root)
        ann, bob = site.copy("ann", cache), site.copy("bob")
        site.sync(ann)
        site.sync(bob)
        replace(bob, remote)
        site.sync(bob)
        replace(ann, local)
        options = {
            "direction": direction,
            "conflict": conflict,
            "conflict_paths": paths,
            "max_delete": limit,
            "ignore": ignore,
        }
        try:
            result = site.sync(ann, **options)  # compares check mode, run, and both sides
        except DsgError as exc:
            assert exc.code in ("DSG-CONFLICT", "DSG-MAX-DELETE")
            return
        check_deletions(result.plan, len(local), len(remote), site.request(ann, **options).policy)
        again = site.sync(ann, **options)
        assert not again.changed
        if direction == "both" and not ignore:
            assert read(ann) == read(site.live)
        site.check_sound()
        site.check_tidy(ann)


def replace(root: str, tree: Tree) -> None:
    for name in os.listdir(root):
        if name != ".dsg":
            put(root, name, None)
    make(root, tree)


# --- how far a run is ---


class Phases(Meter):
    """Keeps the last moment of every phase."""

    def __init__(self) -> None:
        self.ended: dict[str, Progress] = {}
        super().__init__()

    def begin(self, phase: str, files: int = 0, size: int = 0) -> None:
        if hasattr(self, "_phase"):
            last = self.moment()
            self.ended[last.phase] = last
        super().begin(phase, files, size)


def test_the_phases_of_a_run_at_hand_are_counted(site):
    src = site.copy("src", TREE)
    with Phases() as meter:
        site.sync(src)
    assert meter.ended["scan"].files == 4
    assert meter.ended["upload"][1:5] == (3, 3, 4, 4)
    put(src, "a", "changed")
    with Phases() as meter:
        run(site.request(src, checksum=True))
    assert meter.ended["hash"][1:5] == (3, 3, 10, 10)
    assert meter.ended["upload"][1:5] == (1, 1, 7, 7)
    with Phases() as meter:
        site.sync(site.copy("other"))
    assert meter.ended["download"][1:5] == (3, 3, 10, 10)
