# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations that a user asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import Any

from _core.backends import tree
from _core.backends.registry import open_repository
from _core.client.fleet import COMMIT
from _core.errors import DsgError
from _core.sync import phases
from _core.sync.engine import run
from _core.sync.request import PREPARE
from guest.before import Before
from guest.fleet_crash import FLEET
from guest.lab import COUNTS, MOUNTPOINT, PARENT, Lab, listing, sh

_GATHERING = "/sys/module/zfs/parameters/zfs_txg_timeout"
"""For how many seconds OpenZFS gathers writes before it writes them out by itself."""


def init_sync_and_nothing_to_do() -> None:
    """Every kind of change arrives; a second run does nothing."""
    lab = Lab("basic")
    for path in ("same", "edited", "deleted", "renamed", "mode", "d/e/f", "to-dir", "to-link"):
        lab.put(path, path)
    lab.put("to-file/inside", "i")
    os.symlink("same", lab.copy("wc") + "/link")
    os.mkdir(lab.copy("wc") + "/empty")
    first = lab.sync()
    assert (first.operation, first.changed, first.snapshot) == ("init", True, 1)
    assert lab.published() == lab.local()
    again = lab.sync()
    assert (again.changed, again.snapshot) == (False, 1)

    here = lab.copy("wc")
    lab.put("edited", "new content")
    lab.put("deleted", None)
    os.rename(f"{here}/renamed", f"{here}/other-name")
    os.chmod(f"{here}/mode", 0o755)
    os.unlink(f"{here}/link")
    os.symlink("mode", f"{here}/link")
    os.rmdir(f"{here}/empty")
    os.makedirs(f"{here}/empty2/deep")
    for path in ("to-dir", "to-link"):
        os.unlink(f"{here}/{path}")
    lab.put("to-dir/inside", "i")
    os.symlink("nowhere", f"{here}/to-link")
    shutil.rmtree(f"{here}/to-file")
    lab.put("to-file", "f")
    before = lab.local()
    second = lab.sync()
    assert (second.operation, second.snapshot, second.pending_cleanup) == ("sync", 2, [])
    assert lab.published() == lab.local() == before
    assert not lab.sync().changed
    facts = lab.facts()
    assert lab.snapshots() == ["s1", "s2"]
    txns = [facts[f"{lab.live}@s{n}"]["dsg:txn"] for n in (1, 2)]
    assert txns == [(first.txn_id, "local"), (second.txn_id, "local")]
    head = lab.acting(lambda: open_repository(lab.backend, lab.name).manifest()).header
    manifests = [facts[f"{lab.live}@s{n}"]["dsg:manifest"] for n in (1, 2)]
    assert manifests == [(head.parent, "local"), (head.id, "local")]
    # Every generation is there to be read, below the published path.
    assert listing(f"{lab.path}/.zfs/snapshot/s1")["edited"] != before["edited"]
    assert listing(f"{lab.path}/.zfs/snapshot/s2") == before
    lab.put("edited", "third content")  # somebody looks into a snapshot: that blocks nothing
    assert lab.sync().snapshot == 3
    assert listing(f"{lab.path}/.zfs/snapshot/s2") == before
    lab.clean()
    lab.destroy()


def clone_pull_and_conflict() -> None:
    """A second client clones, edits; a conflict changes nothing and names the path."""
    lab = Lab("clients")
    lab.put("a", "1")
    lab.put("d/b", "1")
    lab.sync()
    cloned = lab.sync("other")
    assert (cloned.operation, lab.local("other")) == ("clone", lab.local())
    lab.put("a", "of the other", "other")
    lab.put("d/new", "n", "other")
    lab.sync("other")
    lab.put("a", "of mine, longer")
    before = (lab.published(), lab.local(), lab.facts())
    lab.refused("DSG-CONFLICT", "a")
    assert (lab.published(), lab.local(), lab.facts()) == before
    lab.put("a", "of the other")
    os.utime(lab.copy("wc") + "/a", ns=(0, _mtime(lab.copy("other") + "/a")))
    lab.sync()
    assert lab.local() == lab.local("other") == lab.published()
    lab.clean()
    lab.destroy()


def _mtime(path: str) -> int:
    return os.stat(path).st_mtime_ns


def check_mode_touches_nothing() -> None:
    """A dry run before init and before a sync plans the same as the run, and writes nowhere."""
    lab = Lab("dry")
    lab.put("a", "1")
    # A repository that was destroyed leaves the directory that it was mounted at.
    there = os.path.exists(lab.path)
    assert lab.sync(check=True).plan.counts()["upload"] == 1
    assert os.path.exists(lab.path) == there
    assert lab.facts().keys() == {lab.container}
    lab.sync()
    lab.put("a", "22")
    lab.put("b", "b")
    history = _history(lab)
    before = (lab.facts(), listing(lab.path, records=True), listing(lab.home, records=True))
    planned = lab.sync(check=True)
    after = (lab.facts(), listing(lab.path, records=True), listing(lab.home, records=True))
    assert before == after
    new = [line for line in _history(lab) if line not in history]
    assert new == [], new
    assert planned.plan.counts() == lab.sync().plan.counts()
    lab.clean()
    lab.destroy()


def _history(lab: Lab) -> list[str]:
    """Return what OpenZFS itself has recorded of changes to a repository.

    The record of a command is written by the transaction group after it.
    """
    sh("zpool", "sync", "tank")
    return [line for line in sh("zpool", "history", "-i", "tank").splitlines() if lab.name in line]


def a_failure_rolls_back() -> None:
    """A failure in the middle of staging: old tree, old working copy, nothing left."""
    lab = Lab("fails")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    lab.put("b", "b")
    before = (lab.published(), lab.local(), lab.snapshots())
    upload = tree.upload

    def failing(*arguments: Any) -> Any:
        upload(*arguments)
        raise DsgError("injected", object="x", next_step="none")

    tree.upload = failing
    lab.refused("DSG-INTERNAL", "injected")
    tree.upload = upload
    assert (lab.published(), lab.local(), lab.snapshots()) == before
    lab.clean()
    assert lab.sync().snapshot == 2
    lab.destroy()


def own_properties_are_carried_over() -> None:
    """What was set on the repository's dataset holds for its next generations, too."""
    lab = Lab("props")
    lab.put("a", "1")
    lab.sync()
    wanted = {
        "compression": "gzip-3",
        "quota": "209715200",
        "recordsize": "16384",
        "com.example:owner": "group x = y",
        "-dash:first": "1",
    }
    for key, value in wanted.items():
        sh("zfs", "set", "--", f"{key}={value}", lab.live)
    for number in (2, 3):
        lab.put("a", str(number) * number)
        assert lab.sync().snapshot == number
        told = sh("zfs", "get", "-Hp", "-s", "local", "-o", "property,value", "all", lab.live)
        found = dict(line.split("\t") for line in told.splitlines())
        assert {key: found.get(key) for key in wanted} == wanted, found
        assert set(found) - set(COUNTS) == {*wanted, "dsg:txn"}, found
    lab.clean()
    lab.destroy()


def quotas_of_users_come_with_a_snapshot() -> None:
    """They are content that no difference shows: a tree has what the snapshot before it has."""
    lab = Lab("userquota")
    lab.put("a", "1")
    lab.sync()
    for number, (snapshot, kept) in enumerate((([], 0), (["@quotas"], 10 << 20)), start=2):
        sh("zfs", "set", "userquota@nobody=10M", lab.live)
        for name in snapshot:
            sh("zfs", "snapshot", f"{lab.live}{name}")
        lab.put("a", "x" * number)
        assert lab.sync().snapshot == number
        assert lab.published() == lab.local()
        quota = sh("zfs", "get", "-Hp", "-o", "value", "userquota@nobody", lab.live)
        assert quota == f"{kept}\n"
    lab.clean()
    lab.destroy()


def grants_are_carried_over() -> None:
    """Who was granted something on the repository itself has it on its next generations, too."""
    lab = Lab("granted")
    lab.put("a", "1")
    lab.sync()
    sh("zfs", "allow", "-s", "@keep", "hold,release", lab.live)
    sh("zfs", "allow", "-g", "users", "@keep,send", lab.live)
    sh("zfs", "allow", "-l", "-u", "nobody", "quota", lab.live)
    sh("zfs", "allow", "-d", "-e", "snapshot", lab.live)
    sh("zfs", "allow", "-c", "destroy", lab.live)
    wanted = sh("zfs", "allow", lab.live)
    for number in (2, 3):
        lab.put("a", str(number) * number)
        assert lab.sync().snapshot == number
        assert sh("zfs", "allow", lab.live) == wanted
    lab.clean()
    lab.destroy()


def how_it_is_mounted_is_carried_over() -> None:
    """Its own setuid, devices, exec, atime and readonly hold for later generations, mounted or not."""
    lab = Lab("mounted")
    lab.put("a", "1")
    lab.sync()
    wanted = {"setuid": "on", "devices": "on", "exec": "off", "atime": "on", "readonly": "on"}
    for key, value in wanted.items():
        sh("zfs", "set", f"{key}={value}", lab.live)
    for number in (2, 3):
        lab.put("a", str(number) * number)
        assert lab.sync().snapshot == number
        told = sh(
            "zfs", "get", "-Hp", "-s", "local,temporary", "-o", "property,value", "all", lab.live
        )
        found = dict(line.split("\t") for line in told.splitlines())
        assert {key: found.get(key) for key in wanted if key != "atime"} == {
            key: value for key, value in wanted.items() if key != "atime"
        }
        with open("/proc/self/mountinfo", encoding="utf-8") as stream:
            line = next(line for line in stream if line.split(" ")[4] == lab.path)
        assert set(line.split(" ")[5].split(",")) & {"ro", "nosuid", "nodev", "noexec"} == {
            "ro", "noexec",
        }, line  # fmt: skip
    lab.clean()
    lab.destroy()


def a_clone_and_a_bookmark_of_another() -> None:
    """They come along: both are of the published dataset's snapshot, whichever generation it is."""
    lab = Lab("derived")
    clone = "tank/derived-clone"
    lab.put("a", "1")
    lab.sync()
    guid = sh("zfs", "get", "-Hpo", "value", "guid", f"{lab.live}@s1")
    sh("zfs", "clone", "-o", "canmount=off", f"{lab.live}@s1", clone)
    sh("zfs", "bookmark", f"{lab.live}@s1", f"{lab.live}#b")
    for number in (2, 3):
        lab.put("a", "2" * number)
        done = lab.sync()
        assert (done.snapshot, done.pending_cleanup) == (number, [])
        assert sh("zfs", "get", "-Hpo", "value", "origin", clone) == f"{lab.live}@s1\n"
        assert sh("zfs", "get", "-Hpo", "value", "guid", f"{lab.live}#b") == guid
    assert lab.snapshots() == ["s1", "s2", "s3"]
    lab.clean()
    sh("zfs", "destroy", clone)
    lab.destroy()


def snapshots_of_others() -> None:
    """They survive and block nothing; one that is taken while we prepare stops the commit."""
    lab = Lab("foreign")
    lab.put("a", "1")
    lab.sync()
    sh("zfs", "snapshot", "-o", "other:tool=1", f"{lab.live}@daily-1")
    sh("zfs", "hold", "keep", f"{lab.live}@daily-1")
    lab.put("a", "22")
    assert lab.sync().snapshot == 2
    assert lab.snapshots() == ["s1", "daily-1", "s2"]
    sh("zfs", "release", "keep", f"{lab.live}@daily-1")
    lab.put("a", "333")
    before = lab.published()
    with Before(lambda: sh("zfs", "snapshot", f"{lab.live}@meanwhile")):
        lab.refused("DSG-DRIFT", "snapshot")
    assert lab.published() == before
    lab.clean()
    assert lab.sync().snapshot == 3
    # A tool that takes snapshots of everything below the pool takes one of our work area as well.
    lab.put("a", "4444")
    with Before(lambda: sh("zfs", "snapshot", "-r", f"{lab.parent}@all")):
        lab.refused("DSG-DRIFT", "snapshot")
    stage = [name for name in lab.facts() if name.startswith(f"{lab.container}/")]
    assert any(name.endswith("@all") for name in stage), "the snapshot of another is still there"
    assert lab.sync().snapshot == 4
    sh("zfs", "destroy", "-r", f"{lab.parent}@all")
    assert any("destroyed" in line for line in lab.recover())
    assert lab.snapshots() == ["s1", "daily-1", "s2", "meanwhile", "s3", "s4"]
    lab.clean()
    lab.destroy()


def what_would_stop_the_commit_later_stops_it() -> None:
    """A dataset made below it meanwhile, and limits that only renaming or promoting would meet."""
    lab = Lab("late")
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(6 << 20))
    lab.sync()
    before = lab.published()
    lab.put("a", "1")
    with Before(lambda: sh("zfs", "create", "-u", f"{lab.live}/child")):
        lab.refused("DSG-REPOSITORY", f"{lab.live}/child", "child datasets")
    assert lab.published() == before
    sh("zfs", "destroy", f"{lab.live}/child")
    lab.clean()
    sh("zfs", "set", "quota=10M", lab.live)
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(7 << 20))
    local = lab.local()
    lab.refused("DSG-SYSTEM", "quota of 10485760")
    assert (lab.published(), lab.local(), lab.snapshots()) == (before, local, ["s1"])
    lab.clean()
    sh("zfs", "set", "quota=20M", lab.live)
    done = lab.sync()
    assert (done.snapshot, done.pending_cleanup) == (2, [])
    sh("zfs", "set", "quota=60M", lab.live)
    sh("zfs", "set", "refreservation=25M", lab.live)  # of every generation, and counted once
    lab.put("a", "22")
    done = lab.sync()
    assert (done.snapshot, done.pending_cleanup) == (3, [])
    lab.put("a", "333")
    published, local = lab.published(), lab.local()
    for limit in ("quota=1G", "filesystem_limit=2", "snapshot_limit=2"):
        sh("zfs", "set", limit, lab.container)
        name = limit.partition("=")[0]
        for check in (True, False):
            lab.refused("DSG-REPOSITORY", lab.container, f"zfs set {name}=none", check=check)
        sh("zfs", "set", f"{name}=none", lab.container)
    sh("zfs", "set", "snapshot_limit=3", lab.live)
    if lab.user:  # root may have more, and has had
        for check in (True, False):
            lab.refused("DSG-SYSTEM", "4 snapshots", "snapshot_limit of 3", check=check)
        assert (lab.published(), lab.local()) == (published, local)
        sh("zfs", "set", "snapshot_limit=4", lab.live)
    done = lab.sync()
    assert (done.snapshot, done.pending_cleanup) == (4, [])
    lab.clean()
    sh("zfs", "set", "snapshot_limit=none", lab.live)
    long = f"{lab.live}@{'x' * (254 - len(lab.live))}"
    sh("zfs", "snapshot", long)
    lab.put("a", "55555")
    published, local = lab.published(), lab.local()
    for check in (True, False):
        lab.refused("DSG-REPOSITORY", f"zfs rename {long}", check=check)
    assert (lab.published(), lab.local(), lab.left()) == (published, local, [])
    sh("zfs", "rename", long, f"{lab.live}@{'x' * 150}")
    done = lab.sync()
    assert (done.snapshot, done.pending_cleanup) == (5, [])
    sh("zfs", "destroy", f"{lab.live}@{'x' * 150}")
    lab.clean()
    lab.destroy()


def a_snapshot_directory_that_shows() -> None:
    """With snapdir=visible nothing else is: init, sync, a dry run behind a remount, a pull."""
    sh("zfs", "set", "snapdir=visible", PARENT)
    lab = Lab("visible")
    lab.put("a", "1")
    assert lab.sync().operation == "init"
    assert os.listdir(lab.path).count(".zfs") == 1
    lab.put("a", "22")
    assert lab.sync().snapshot == 2
    _read_with_times(lab)
    lab.put("a", "333")
    assert lab.sync(check=True).plan.counts()["upload"] == 1
    assert lab.sync().snapshot == 3
    assert lab.sync("other").operation == "clone"
    assert lab.local("other") == lab.local()
    lab.clean()
    lab.destroy()
    sh("zfs", "inherit", "snapdir", PARENT)


def _read_with_times(lab: Lab) -> None:
    """Have OpenZFS count bytes as written although no name and no content differs."""
    sh("zfs", "set", "atime=on", lab.live)
    sh("mount", "-o", "remount,rw,strictatime", lab.path)
    with open(f"{lab.path}/a", encoding="utf-8") as stream:
        stream.read()
    sh("mount", "-o", "remount,ro", lab.path)
    sh("zfs", "inherit", "atime", lab.live)
    assert sh("zfs", "get", "-Hpo", "value", "written@s2", lab.live) != "0"


def a_snapshot_of_another_stops_nothing_that_is_held() -> None:
    """Other hosts may have committed: it stays, of the old generation, until its owner destroys it."""
    lab = Lab("heldsnap")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    asked = lab.request()._replace(fleet=FLEET, host="h1", coordinator=os.getpid())
    with Before(lambda: sh("zfs", "snapshot", f"{lab.live}@meanwhile"), "hold"):
        txn_id = lab.acting(lambda: phases.run(asked._replace(phase=PREPARE)).txn_id)
    done = lab.acting(lambda: phases.run(asked._replace(phase=COMMIT, txn_id=txn_id)))
    assert (done.snapshot, lab.published()) == (2, lab.local())
    (old,) = [name for name in lab.facts() if name.endswith("@meanwhile")]
    assert ".old." in old
    sh("zfs", "destroy", old)
    assert any("destroyed" in line for line in lab.recover())
    lab.clean()
    lab.destroy()


def writes_behind_our_back() -> None:
    """Whoever remounts the published tree and writes there stops the next sync, and is named."""
    lab = Lab("drift")
    lab.put("a", "1")
    lab.put("b", "1")
    lab.sync()
    lab.put("b", "22")
    sh("mount", "-o", "remount,rw", lab.path)
    with open(f"{lab.path}/a", "a", encoding="utf-8") as stream:
        stream.write("x")
    sh("mount", "-o", "remount,ro", lab.path)
    before = (listing(lab.path, records=True), lab.local())
    found = [lab.refused("DSG-DRIFT", f"{lab.path}/a: ", check=check) for check in (False, True)]
    assert found[0].as_dict() == found[1].as_dict(), "a dry run says what a run says"
    assert (listing(lab.path, records=True), lab.local()) == before
    assert lab.left() == []
    sh("zfs", "rollback", f"{lab.live}@s1")
    assert lab.sync().snapshot == 2
    lab.put("b", "333")

    def write() -> None:
        sh("mount", "-o", "remount,rw", lab.path)
        with open(f"{lab.path}/added", "w", encoding="utf-8"):
            pass
        sh("mount", "-o", "remount,ro", lab.path)

    with Before(write):
        lab.refused("DSG-DRIFT", "added")
    assert os.path.exists(f"{lab.path}/added"), "what somebody wrote is not ours to remove"
    assert lab.left() == []
    sh("zfs", "rollback", f"{lab.live}@s2")

    def write_on() -> None:
        """Nothing of it is on disk, and OpenZFS counts nothing, for as long as it may gather writes."""
        with open(_GATHERING, "w", encoding="ascii") as stream:
            stream.write("3600")
        sh("mount", "-o", "remount,rw", lab.path)
        with open(f"{lab.path}/later", "w", encoding="utf-8"):
            pass

    with open(_GATHERING, encoding="ascii") as stream:
        usual = stream.read()
    try:
        with Before(write_on):
            lab.refused("DSG-DRIFT", "later")
    finally:
        sh("sh", "-c", f"echo {usual.strip()} > {_GATHERING}")
    assert os.path.exists(f"{lab.path}/later")
    assert lab.left() == []
    lab.destroy()


def mounted_where_only_somebody_else_goes() -> None:
    """A mount of the published tree behind a closed directory is in nobody's way."""
    lab = Lab("elsewhere")
    lab.put("a", "1")
    lab.sync()
    place = "/root/closed/elsewhere"
    os.makedirs(place)
    sh("mount", "--bind", lab.path, place)
    try:
        lab.put("a", "22")
        assert lab.sync().snapshot == 2
        assert lab.published() == lab.local()
    finally:
        sh("umount", place, check=False)  # unless the tidying has done it
        os.removedirs(place)
    lab.recover()
    lab.clean()
    lab.destroy()


def two_repositories_come_into_being_at_once() -> None:
    """Both make a directory in the read-only parent; it is read-only in the end."""
    labs = [Lab("twin1"), Lab("twin2"), Lab("Twin_3")]
    for lab in labs:
        lab.put("a", lab.name)
    done: list[object] = []
    threads = [threading.Thread(target=lambda lab=lab: done.append(lab.sync())) for lab in labs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    for lab in labs[:2]:
        lab.put("a", "second")
        lab.sync()
        lab.clean()
    # Capitals are not allowed in names of properties.
    labs[2].put("a", "second")
    assert labs[2].sync().snapshot == 2
    for lab in labs:
        lab.destroy()


def a_process_of_its_own_user_cannot_write() -> None:
    """The published tree is read-only, also for root; no device and no setuid file works there."""
    lab = Lab("ro")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "2")
    lab.sync()
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        line = next(line for line in stream if line.split(" ")[4] == lab.path)
    assert {"ro", "nosuid", "nodev", "noatime"} <= set(line.split(" ")[5].split(",")), line
    done = subprocess.run(["touch", f"{lab.path}/x"], capture_output=True, text=True, check=False)
    assert "Read-only file system" in done.stderr
    lab.clean()
    lab.destroy()


def overlapping_places_are_refused() -> None:
    """A working copy inside the published tree, or around it."""
    lab = Lab("inside")
    for src in (MOUNTPOINT, f"{MOUNTPOINT}/x/y", "/srv", "/"):
        try:
            run(lab.request()._replace(src=src))
        except DsgError as exc:
            assert exc.code == "DSG-ARGUMENT", exc
        else:
            raise AssertionError(src)
