# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done with kept snapshots: restored, fetched, mounted, pruned; on every ground and backend."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _core.errors import DsgError
from _core.posix import mounted
from _core.sync import fetch as fetching
from _core.sync.fetch import FetchRequest, fetch
from _core.upkeep import mounting
from _core.upkeep.prune import prune
from _core.upkeep.restore import RestoreRequest, RestoreResult, restore
from _core.upkeep.retention import Keep

from tests.contract.driver import publish, sound
from tests.contract.trees import ONE, TWO, remake
from tests.integration.children import Killed, in_child
from tests.integration.support import EMPTY, AnySite, Link, Script, Tree, make, picture, put, read

THREE: Tree = {"f": "three", "d/g": "1", "d/h": "h", "l": Link("f"), "new/n": "n", "new/m": "m"}

TWO_SHORT: Tree = {"f": "two", "d/g": "1", "l": Link("d"), "x": Script("x")}


@pytest.fixture
def old(local_site: AnySite) -> AnySite:
    """A repository at s3: ONE, TWO and THREE."""
    source = local_site.copy("source")
    for number, tree in enumerate((ONE, TWO, THREE), 1):
        publish(local_site.repository, remake(source, tree), number)
    return local_site


def restored(site: AnySite, snapshot: int, *paths: str, **options: Any) -> RestoreResult:
    """Check mode, then the restoring, which has to do what was announced."""
    request = RestoreRequest(snapshot, paths, lock_timeout=0, **options)
    before = site.held()
    announced = restore(site.repository, request._replace(check=True))
    assert site.held() == before
    assert (announced.txn_id, announced.snapshot) == ("", announced.base)
    done = restore(site.repository, request)
    assert done.changes == announced.changes
    assert done.snapshot == announced.base + bool(announced.changes)
    if not announced.changes:
        assert site.held() == before
    assert done.pending_cleanup == []
    sound(site)
    return done


def refused(code: str, *words: str, site: AnySite, work: Callable[[], object]) -> DsgError:
    """Do what has to be refused with that code, in those words; nothing may change."""
    before = site.held()
    with pytest.raises(DsgError) as caught:
        work()
    error = caught.value
    assert error.code == code, error
    assert all(word in str(error) for word in words), error
    assert error.unchanged
    assert error.unchanged != DsgError.unchanged, "it speaks of what is not concerned"
    assert site.held() == before
    return error


def refused_restore(site: AnySite, code: str, snapshot: int, *paths: str) -> DsgError:
    request = RestoreRequest(snapshot, paths, lock_timeout=0)
    dry = refused(
        code, site=site, work=lambda: restore(site.repository, request._replace(check=True))
    )
    error = refused(code, site=site, work=lambda: restore(site.repository, request))
    assert (dry.message, dry.details) == (error.message, error.details)
    return error


# --- restoring ---


def test_a_whole_snapshot_comes_back_as_a_new_one(old: AnySite) -> None:
    wanted = old.repository.snapshot_manifest(1)
    result = restored(old, 1, user="zoe")
    assert read(old.live) == ONE
    assert (result.base, result.snapshot) == (3, 4)
    manifest = old.repository.manifest()
    assert manifest.header.digest == wanted.header.digest == result.manifest_digest
    assert manifest.header.message == "restore of s1"
    assert manifest.header.created_by.startswith("zoe@")
    assert {entry.user for entry in manifest.entries} == {"ann"}, "who changed it stays recorded"
    assert old.repository.snapshots() == [1, 2, 3, 4]
    assert [old.snapshot(number) for number in (1, 2, 3)] == [ONE, TWO, THREE]
    assert old.staged() == []
    again = restored(old, 1)
    assert (again.changes, again.snapshot) == ([], 4)
    restored(old, 3, message="there again")
    assert read(old.live) == THREE
    assert old.repository.manifest().header.message == "there again"
    publish(old.repository, remake(old.copy("source"), TWO), 9)
    assert read(old.live) == TWO
    sound(old)


def test_times_and_modes_come_back(old: AnySite) -> None:
    restored(old, 2, "x")
    entry = next(e for e in old.repository.manifest().entries if e.path == "x")
    seen = os.lstat(os.path.join(old.live, "x"))
    assert seen.st_mtime_ns == entry.mtime_ns
    assert seen.st_mode & 0o777 == entry.mode == 0o755


@pytest.mark.parametrize(
    ("snapshot", "paths", "tree"),
    [
        (1, ["f"], {**THREE, "f": "one"}),
        (1, ["e", "gone"], {**THREE, "e": EMPTY, "gone": "g"}),
        (1, ["d"], {"f": "three", "d/g": "1", "l": Link("f"), "new/n": "n", "new/m": "m"}),
        (2, ["new/"], {k: v for k, v in THREE.items() if k != "new/m"}),
        (2, ["new/n"], THREE),
        (2, ["l", "?"], {**TWO_SHORT, "new/n": "n", "new/m": "m"}),
        (2, ["**"], TWO),
        (1, ["s*", "f"], {**THREE, "f": "one", "same": "s"}),
    ],
)
def test_only_some_paths_are_put_back(
    old: AnySite, snapshot: int, paths: list[str], tree: Tree
) -> None:
    restored(old, snapshot, *paths)
    assert read(old.live) == tree
    assert read(old.repository.snapshot_tree(3)) == THREE


def test_a_directory_that_is_empty_makes_room(local_site: AnySite) -> None:
    source = local_site.copy("source")
    publish(local_site.repository, remake(source, {"a/b": "1", "z": "z"}), 1)
    publish(local_site.repository, remake(source, {"a": EMPTY, "z": "z"}), 2)
    restored(local_site, 1, "a/b")
    assert read(local_site.live) == {"a/b": "1", "z": "z"}
    restored(local_site, 2, "a")
    assert read(local_site.live) == {"a": EMPTY, "z": "z"}


def test_what_cannot_be_in_one_tree_is_refused(local_site: AnySite) -> None:
    source = local_site.copy("source")
    publish(local_site.repository, remake(source, {"a/b": "1", "Big": "x"}), 1)
    publish(local_site.repository, remake(source, {"a": "file", "big": "y"}), 2)
    error = refused_restore(local_site, "DSG-ARGUMENT", 1, "a/b")
    assert error.details == ["a and a/b", "a/b and a"]
    refused_restore(local_site, "DSG-ARGUMENT", 1, "Big")
    restored(local_site, 1, "a")
    assert read(local_site.live) == {"a/b": "1", "big": "y"}
    restored(local_site, 2, "a")
    assert read(local_site.live) == {"a": "file", "big": "y"}


def test_what_means_nothing_is_refused(old: AnySite) -> None:
    refused_restore(old, "DSG-REPOSITORY", 7)
    refused_restore(old, "DSG-REPOSITORY", 0)
    for paths in (["nothing"], ["f", "no*"], ["new/n"], ["../f"], ["/f"], [""], ["a//b"], ["["]):
        refused_restore(old, "DSG-ARGUMENT", 1, *paths)
    beside = old.beside("absent")
    refused_restore(beside, "DSG-REPOSITORY", 1)


def test_a_write_behind_our_back_stops_it(old: AnySite) -> None:
    with old.opened() as live:
        put(live, "f", "other")
    refused_restore(old, "DSG-DRIFT", 1)
    # Of the newest snapshot nothing has to be published, but what is there is not that one.
    refused_restore(old, "DSG-DRIFT", 3)
    refused_restore(old, "DSG-DRIFT", 3, "f")
    assert old.staged() == []


def test_a_held_transaction_stops_it(old: AnySite) -> None:
    def prepare() -> None:
        with old.repository.lock(0):
            source = remake(old.copy("source"), TWO)
            publish(old.repository, source, 4, until="prepare").transaction.hold("fleet 7")

    in_child(prepare)
    refused_restore(old, "DSG-HELD", 1)
    fates = prune(old.repository, Keep(messages=["nobody"])).fates
    assert [(f.name, f.action) for f in fates] == [
        ("s1", "removed"),
        ("s2", "removed"),
        ("s3", "kept"),
    ]
    assert fates[2].reasons[0] == "newest"
    assert "held" in fates[2].reasons[1]


def test_what_a_crash_left_is_put_right_first(old: AnySite) -> None:
    def die() -> None:
        publish(old.repository, remake(old.copy("source"), TWO), 4, until="commit")

    in_child(die)
    result = restore(old.repository, RestoreRequest(1))
    assert result.recovered
    assert (result.base, result.snapshot) == (4, 5)
    assert read(old.live) == ONE
    assert old.repository.snapshots() == [1, 2, 3, 4, 5]
    sound(old)


# --- pruning ---


def actions(site: AnySite, **rules: Any) -> list[tuple[str, str]]:
    """Dry run, then the pruning, which has to do what was announced."""
    before = site.held()
    announced = prune(site.repository, Keep(**rules), check=True)
    assert site.held() == before
    done = prune(site.repository, Keep(**rules), lock_timeout=0)
    assert done.fates == announced.fates
    assert (done.removed, done.changed) == (announced.removed, announced.changed)
    assert site.repository.unfinished() == []
    sound(site)
    again = prune(site.repository, Keep(**rules))
    assert not again.changed
    return [(fate.name, fate.action) for fate in done.fates]


def test_snapshots_that_no_rule_keeps_go(old: AnySite) -> None:
    assert actions(old, messages=["number 2"]) == [
        ("s1", "removed"),
        ("s2", "kept"),
        ("s3", "kept"),
    ]
    assert old.repository.snapshots() == [2, 3]
    assert old.snapshot(2) == TWO
    assert read(old.live) == THREE
    refused_restore(old, "DSG-REPOSITORY", 1)
    restored(old, 2)
    assert actions(old, last=1) == [("s2", "removed"), ("s3", "removed"), ("s4", "kept")]
    publish(old.repository, remake(old.copy("source"), ONE), 9)
    assert old.repository.snapshots() == [4, 5]
    assert old.repository.chain_problems() == []
    sound(old)


def test_without_a_rule_nothing_goes(old: AnySite) -> None:
    for keep in (Keep(), Keep(last=-2), Keep(within="soon"), Keep(messages=["re:("])):
        refused("DSG-ARGUMENT", site=old, work=lambda keep=keep: prune(old.repository, keep))
    beside = old.beside("absent")
    refused("DSG-REPOSITORY", site=beside, work=lambda: prune(beside.repository, Keep(last=1)))


def test_nothing_goes_where_the_history_cannot_be_read(old: AnySite) -> None:
    keep = Keep(last=1)
    with old.opened() as live:
        path = os.path.join(live, ".dsg", "history", "s2.jsonl")
        with open(path, "rb") as stream:
            content = stream.read()
        with open(os.path.join(live, ".dsg", "manifest.jsonl"), "rb") as stream:
            last = stream.read()[-10:-9]
        for damaged in (b"", content[:40], content.replace(b"ann", b"bob")):
            os.unlink(path)
            put(live, ".dsg/history/s2.jsonl", damaged.decode())
            refused("DSG-MANIFEST", site=old, work=lambda: prune(old.repository, keep))
        os.unlink(path)
        refused("DSG-MANIFEST", site=old, work=lambda: prune(old.repository, keep))
        put(live, ".dsg/history/s2.jsonl", content.decode())
        path = os.path.join(live, ".dsg", "manifest.jsonl")
        with open(path, "r+b") as stream:
            stream.seek(-10, os.SEEK_END)
            stream.write(b"X")
        refused("DSG-MANIFEST", site=old, work=lambda: prune(old.repository, keep))
        with open(path, "r+b") as stream:
            stream.seek(-10, os.SEEK_END)
            stream.write(last)
    assert prune(old.repository, keep).removed == ["s1", "s2"]


@pytest.mark.root
def test_a_snapshot_that_is_looked_at_waits(old: AnySite) -> None:
    place = os.path.join(old.root, "look")
    mounting.mount(old.repository, 1, place)
    try:
        assert actions(old, last=1) == [("s1", "waits"), ("s2", "removed"), ("s3", "kept")]
        waiting = prune(old.repository, Keep(last=1)).pending_cleanup
        assert len(waiting) == 1
        assert place in waiting[0]
        assert read(place) == ONE
    finally:
        mounting.unmount(old.repository, place)
    assert actions(old, last=1) == [("s1", "removed"), ("s3", "kept")]


# --- mounting ---


@pytest.fixture
def place(old: AnySite) -> Iterator[str]:
    """A path to mount at, which is free again afterwards."""
    path = os.path.join(old.root, "seen")
    yield path
    if mounted.is_mountpoint(path):
        mounting.unmount(old.repository, path)


@pytest.mark.root
def test_a_snapshot_is_mounted_and_unmounted(old: AnySite, place: str) -> None:
    for number, tree in ((1, ONE), (3, THREE)):
        assert mounting.mount(old.repository, number, place, check=True).changed
        assert not mounted.is_mountpoint(place)
        assert mounting.mount(old.repository, number, place).changed
        assert read(place) == tree
        flags = os.statvfs(place).f_flag
        assert flags & os.ST_RDONLY
        assert flags & os.ST_NOSUID
        with pytest.raises(OSError, match="Read-only"):
            put(place, "f", "no")
        assert not mounting.mount(old.repository, number, place).changed
        other = 4 - number
        refused(
            "DSG-REPOSITORY",
            f"s{number}",
            site=old,
            work=lambda other=other: mounting.mount(old.repository, other, place),
        )
        refused(
            "DSG-REPOSITORY",
            site=old,
            work=lambda other=other: mounting.unmount(old.repository, place, number=other),
        )
        assert mounting.unmount(old.repository, place, check=True).changed
        assert mounting.unmount(old.repository, place, number=number).snapshot == number
        assert not mounting.unmount(old.repository, place).changed
        assert os.listdir(place) == []


@pytest.mark.root
def test_what_is_mounted_stays_the_same_through_publications(old: AnySite, place: str) -> None:
    mounting.mount(old.repository, 3, place)
    source = old.copy("source")
    publish(old.repository, remake(source, ONE), 4, until="commit").transaction.finish()
    assert read(place) == THREE
    assert read(old.live) == ONE
    assert mounting.mount(old.repository, 3, place).changed is False
    assert mounting.unmount(old.repository, place).snapshot == 3
    with old.repository.lock(0):
        old.repository.recover()  # OpenZFS puts off some of the tidying while it is mounted
        assert old.repository.recover() == []
    assert old.repository.snapshots() == [1, 2, 3, 4]
    sound(old)


@pytest.mark.root
def test_somebody_in_it_keeps_it_mounted(old: AnySite, place: str) -> None:
    mounting.mount(old.repository, 1, place)
    with open(os.path.join(place, "f"), encoding="ascii"):
        refused("DSG-SYSTEM", site=old, work=lambda: mounting.unmount(old.repository, place))
    mounting.unmount(old.repository, place)


@pytest.mark.root
def test_places_that_are_no_good_are_refused(old: AnySite) -> None:
    root = old.root
    make(os.path.join(root, "full"), {"x": "x"})
    put(root, "file", "x")
    os.mkdir(os.path.join(root, "real"))
    os.symlink("real", os.path.join(root, "link"))
    os.lchown(os.path.join(root, "link"), 65534, 65534)
    held = os.path.dirname(old.live)
    for path in (
        *(
            "relative",
            f"{root}/../x",
            f"{root}//x",
            f"{root}/full",
            f"{root}/file",
            f"{root}/link/x",
        ),
        *(held, f"{held}/.dsg/x", f"{old.live}/d"),
    ):
        before = picture(os.path.join(root, "full"))
        for check in (True, False):
            refused(
                "DSG-ARGUMENT",
                site=old,
                work=lambda path=path, check=check: mounting.mount(
                    old.repository, 1, path, check=check
                ),
            )
        assert picture(os.path.join(root, "full")) == before
    os.lchown(os.path.join(root, "link"), 0, 0)
    place = f"{root}/link/deep/er"
    assert mounting.mount(old.repository, 1, place).path == f"{root}/real/deep/er"
    assert mounting.unmount(old.repository, place).changed


# --- fetching ---


def fetched(site: AnySite, dest: str, **options: Any) -> Any:
    request = FetchRequest(site.name, site.backend, dest, **options)
    before, there = site.held(), os.path.exists(dest)
    announced = fetch(request._replace(check=True))
    assert os.path.exists(dest) == there
    done = fetch(request)
    assert (done.changed, done.entries) == (announced.changed, announced.entries)
    assert site.held() == before
    return done


def test_paths_of_any_snapshot_are_fetched(old: AnySite) -> None:
    dest = os.path.join(old.root, "out")
    assert fetched(old, dest, snapshot=1).changed
    assert read(dest) == ONE
    assert not fetched(old, dest, snapshot=1).changed
    some = os.path.join(old.root, "some")
    os.mkdir(some, 0o750)
    fetched(old, some, snapshot=2, paths=["new", "x"])
    assert read(some) == {"new/n": "n", "x": Script("x")}
    assert os.stat(some).st_mode & 0o777 == 0o750
    newest = os.path.join(old.root, "newest")
    assert fetched(old, newest).snapshot == 3
    assert read(newest) == THREE
    entry = next(e for e in old.repository.manifest().entries if e.path == "f")
    assert os.stat(os.path.join(newest, "f")).st_mtime_ns == entry.mtime_ns
    assert [name for name in os.listdir(old.root) if "dsg-fetch" in name] == []


def test_a_directory_that_holds_something_is_left_or_moved_aside(old: AnySite) -> None:
    dest = make(os.path.join(old.root, "out"), {"mine": "m"})
    request = FetchRequest(old.name, old.backend, dest, snapshot=1)
    for check in (True, False):
        refused(
            "DSG-ARGUMENT",
            site=old,
            work=lambda check=check: fetch(request._replace(check=check)),
        )
    assert read(dest) == {"mine": "m"}
    result = fetched(old, dest, snapshot=1, force=True)
    assert read(dest) == ONE
    assert read(result.backup) == {"mine": "m"}
    put(dest, "f", "edited")
    refused("DSG-ARGUMENT", site=old, work=lambda: fetch(request))


def beside(dest: str) -> list[str]:
    """Return what is beside the destination because of it, but for itself."""
    parent, name = os.path.split(dest)
    return sorted(one for one in os.listdir(parent) if name in one and one != name)


@pytest.mark.parametrize("length", [217, 219, 225, 244])
def test_a_name_that_cannot_be_added_to_is_refused_before_anything_moves(
    old: AnySite, length: int
) -> None:
    dest = make(os.path.join(old.root, "d" * length), {"mine": "m"})
    request = FetchRequest(old.name, old.backend, dest, snapshot=1, force=True)
    limit = os.pathconf(old.root, "PC_NAME_MAX")
    if length + len(".before-20260101T000000Z-000000000000") <= limit:
        assert read(fetched(old, dest, snapshot=1, force=True).backup) == {"mine": "m"}
        return
    for check in (True, False):
        asked = request._replace(check=check)
        refused("DSG-ARGUMENT", "too long", site=old, work=lambda asked=asked: fetch(asked))
        assert read(dest) == {"mine": "m"}
        assert beside(dest) == []
    os.rename(dest, os.path.join(old.root, "away"))
    assert fetch(request).changed


@pytest.mark.parametrize("step", ["rename_noreplace", "rename_exchange", "sync_directory"])
def test_a_step_that_fails_loses_nothing(
    old: AnySite, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever else is renamed or made durable: an error tells where the user's files are."""
    dest = make(os.path.join(old.root, "out"), {"mine": "m"})
    request = FetchRequest(old.name, old.backend, dest, snapshot=1, force=True)
    original = getattr(fetching, step)

    def failing(*arguments: Any) -> None:
        if step != "sync_directory" or read(dest) != {"mine": "m"}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, step, failing)
        error = refused("DSG-SYSTEM", site=old, work=lambda: fetch(request))
    if step == "sync_directory":
        (backup,) = beside(dest)
        assert (read(dest), read(f"{old.root}/{backup}")) == (ONE, {"mine": "m"})
        assert error.changed
        assert f"{old.root}/{backup}" in error.unchanged
        assert not fetch(request).changed
        return
    assert (read(dest), beside(dest)) == ({"mine": "m"}, [])
    assert not error.changed
    assert error.unchanged == "The repository and the destination are unchanged."
    assert read(fetched(old, dest, snapshot=1, force=True).backup) == {"mine": "m"}


def killed_at_exchange(request: FetchRequest, *, behind: bool) -> str:
    """Let a fetch die before or behind the exchange; return what has the backup's name."""

    def die() -> None:
        exchange = fetching.rename_exchange

        def deadly(*names: Any) -> None:
            if behind:
                exchange(*names)
            os.kill(os.getpid(), signal.SIGKILL)

        fetching.rename_exchange = deadly
        fetch(request)

    with pytest.raises(Killed):
        in_child(die)
    aside = [name for name in beside(request.dest) if ".before-" in name]
    return os.path.join(os.path.dirname(request.dest), *aside)


def test_what_a_killed_fetch_moved_aside_stays(old: AnySite) -> None:
    dest = make(os.path.join(old.root, "out"), {"mine": "m"})
    request = FetchRequest(old.name, old.backend, dest, snapshot=1, force=True)
    backup = killed_at_exchange(request, behind=True)
    assert (read(dest), read(backup)) == (ONE, {"mine": "m"})
    put(dest, "f", "edited")
    second = fetched(old, dest, snapshot=1, force=True).backup
    assert read(second)["f"] == "edited"
    assert read(backup) == {"mine": "m"}
    assert beside(dest) == sorted(os.path.basename(path) for path in (backup, second))


def test_only_the_tree_that_was_never_exchanged_is_taken_back(old: AnySite) -> None:
    dest = make(os.path.join(old.root, "out"), {"mine": "m"})
    request = FetchRequest(old.name, old.backend, dest, snapshot=1, force=True)
    staged = killed_at_exchange(request, behind=False)
    assert (read(dest), read(staged)) == ({"mine": "m"}, ONE)
    assert len(beside(dest)) == 2
    done = fetched(old, dest, snapshot=1, force=True)
    assert read(done.backup) == {"mine": "m"}
    assert beside(dest) == [os.path.basename(done.backup)]
    # The same, but then the user puts something of his own there.
    dest = make(os.path.join(old.root, "other"), {"mine": "m"})
    staged = killed_at_exchange(request._replace(dest=dest), behind=False)
    os.rename(staged, os.path.join(old.root, "kept"))
    make(staged, {"his": "h"})
    done = fetched(old, dest, snapshot=1, force=True)
    assert read(staged) == {"his": "h"}
    assert beside(dest) == sorted(os.path.basename(path) for path in (staged, done.backup))


@pytest.mark.parametrize("kind", ["theirs", "link", "file", "fifo"])
@pytest.mark.root
def test_what_others_put_where_a_fetch_is_staged_is_neither_used_nor_removed(
    old: AnySite, kind: str
) -> None:
    """In a directory such as /tmp anybody can take the name first."""
    shared = os.path.join(old.root, "shared")
    os.mkdir(shared)
    os.chmod(shared, 0o1777)
    elsewhere = make(os.path.join(old.root, "elsewhere"), {"tree/kept": "k"})
    dest, staged = os.path.join(shared, "out"), os.path.join(shared, ".out.dsg-fetch")
    if kind == "theirs":
        make(staged, {"tree/kept": "k", "files/0": "0"})
        os.chmod(staged, 0o777)
        os.chown(staged, 65534, 65534)
    elif kind == "link":
        os.symlink(elsewhere, staged)
    elif kind == "file":
        put(shared, ".out.dsg-fetch", "x")
    else:
        os.mkfifo(staged)
    before = picture(shared)
    request = FetchRequest(old.name, old.backend, dest, snapshot=1)
    for check in (True, False):
        asked = request._replace(check=check)
        error = refused("DSG-ARGUMENT", site=old, work=lambda asked=asked: fetch(asked))
        assert error.object == staged
    assert picture(shared) == before
    assert read(elsewhere) == {"tree/kept": "k"}
    request = request._replace(dest=os.path.join(old.root, "out"))
    fetch(request)
    os.rename(staged, os.path.join(old.root, ".out.dsg-fetch"))
    assert not fetch(request).changed, "what is not ours is in nobody's way who has nothing to do"
    assert os.path.lexists(os.path.join(old.root, ".out.dsg-fetch"))


@pytest.mark.root
def test_who_takes_the_name_at_the_last_moment_gets_nothing(
    old: AnySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = os.path.join(old.root, "out")
    staged = os.path.join(old.root, ".out.dsg-fetch")
    mkdir = os.mkdir

    def late(path: str, *arguments: Any, **options: Any) -> None:
        if path == staged and not os.path.lexists(path):
            mkdir(path, 0o777)
            os.chown(path, 65534, 65534)
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", late)
    request = FetchRequest(old.name, old.backend, dest, snapshot=1)
    assert refused("DSG-ARGUMENT", site=old, work=lambda: fetch(request)).object == staged
    assert (os.listdir(staged), os.path.exists(dest)) == ([], False)


@pytest.mark.root
def test_a_file_system_that_gives_all_to_one_user_can_be_fetched_to(
    old: AnySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems do: what this process has just made is its own, whatever it looks like."""
    staged = os.path.join(old.root, ".out.dsg-fetch")
    mkdir = os.mkdir

    def squashing(path: str, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        if path == staged:
            os.chown(path, 65534, 65534)

    monkeypatch.setattr(os, "mkdir", squashing)
    assert fetched(old, os.path.join(old.root, "out"), snapshot=1).changed


def test_destinations_that_are_no_good_are_refused(old: AnySite) -> None:
    put(old.root, "file", "x")
    held = os.path.dirname(old.live)
    for dest in (
        *(
            "relative",
            "/",
            f"{old.root}/file",
            f"{old.root}/no/where",
            f"{held}/x",
            f"{old.live}/d",
        ),
        f"{old.root}/../x",
    ):
        request = FetchRequest(old.name, old.backend, dest, snapshot=1)
        refused("DSG-ARGUMENT", site=old, work=lambda request=request: fetch(request))
    for options in ({"snapshot": 9}, {"paths": ["nothing"]}):
        request = FetchRequest(old.name, old.backend, f"{old.root}/out", **options)
        with pytest.raises(DsgError):
            fetch(request)
        assert not os.path.exists(f"{old.root}/out")
