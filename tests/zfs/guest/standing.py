# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository stands: who is in the way of what, space, quota and drift, as root sees it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _core.sync.status import Status, inspect
from guest.lab import Lab, sh

CLONE, CLONE_OF_OLD = "tank/cloned", "tank/cloned-old"


def _look(lab: Lab, **options: Any) -> Status:
    """Look, and see that nothing changes."""
    before = lab.identity()
    found = inspect(lab.request(), **options)
    assert lab.identity() == before
    assert found.unknown == [], found.unknown
    return found


def _published(name: str) -> Lab:
    lab = Lab(name)
    lab.put("a", "1")
    lab.sync()
    return lab


@contextmanager
def _reader(lab: Lab, path: str = "") -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], cwd=os.path.join(lab.path, path)) as reader:
        try:
            yield reader
        finally:
            reader.kill()


def _end(lab: Lab) -> None:
    lab.recover()
    assert _look(lab).cleanups == []
    lab.clean()
    lab.destroy()


def sound() -> None:
    """Nothing to tell of a sound repository; the history's space is known without walking."""
    lab = _published("told")
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(2 << 20))
    lab.sync()
    lab.put("big", None)
    lab.sync()
    sh("zpool", "sync", "tank")
    found = _look(lab, drift=True, history=True)
    assert found.in_sync
    assert (found.snapshots, found.drift) == ([1, 2, 3], [])
    for what in (found.unfinished, found.cleanups, found.snapshot_users, found.missing_rights):
        assert what == []
    space = found.space or {}
    assert (space["pool"], space["health"]) == ("tank", "ONLINE")
    assert 2 << 20 < space["history"] < 4 << 20, space
    assert space["history"] == int(sh("zfs", "get", "-Hpo", "value", "usedbysnapshots", lab.live))
    assert space["free"] == int(sh("zfs", "get", "-Hpo", "value", "available", lab.live))
    lab.clean()
    lab.destroy()


def quota() -> None:
    """The tightest of all limits counts, wherever it is set."""
    lab = _published("limited")
    assert (_look(lab).space or {})["quota"] is None
    sh("zfs", "set", "quota=900M", "refquota=10M", lab.parent)  # the latter is for itself alone
    sh("zfs", "set", "refquota=20M", lab.live)
    space = _look(lab).space or {}
    assert (space["quota"], space["quota_of"]) == (20 << 20, f"refquota of {lab.live}")
    assert space["free"] <= 20 << 20
    sh("zfs", "inherit", "-S", "refquota", lab.live)
    sh("zfs", "set", "refquota=none", lab.live)
    space = _look(lab).space or {}
    assert (space["quota"], space["quota_of"]) == (900 << 20, f"quota of {lab.parent}")
    sh("zfs", "set", "quota=none", "refquota=none", lab.parent)
    lab.destroy()


def drift() -> None:
    """The pool tells that something was written; then the paths are looked at."""
    lab = _published("written")
    sh("mount", "-o", "remount,rw", lab.path)
    with open(f"{lab.path}/a", "a", encoding="utf-8") as stream:
        stream.write("behind our back")
    sh("mount", "-o", "remount,ro", lab.path)
    assert _look(lab).drift is None
    (line,) = _look(lab, drift=True).drift or []
    assert line == "a: has 16 bytes instead of 1", line
    lab.destroy()


def process_in_the_old_tree() -> None:
    """With its directory, and with an open file; each under its number, name and user."""
    lab = _published("seated2")
    with _reader(lab) as reader, open(f"{lab.path}/a", encoding="utf-8") as opened:
        tail = ["tail", "-f", f"{lab.path}/a"]
        with subprocess.Popen(tail, stdout=subprocess.DEVNULL) as other:
            _await_open(other.pid, "/a")
            lab.put("a", "22")
            lab.sync()
            (cleanup,) = _look(lab).cleanups
            assert cleanup["object"].startswith(f"{lab.container}/{lab.name}.old."), cleanup
            found = {h["pid"]: h for h in cleanup["holders"] if h["kind"] == "process"}
            assert found.keys() == {reader.pid, other.pid}, cleanup
            assert found[reader.pid]["command"] == "sleep"
            assert found[other.pid]["place"].endswith("/a")
            assert found[other.pid]["user"] == "root"
            assert f"pid {reader.pid} (sleep) leave it" in cleanup["next_step"], cleanup
            other.kill()
        opened.close()
    _end(lab)


def _await_open(pid: int, path: str) -> None:
    while True:
        links = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
        if any(os.readlink(link).endswith(path) for link in links):
            return


def reader_of_another_repository() -> None:
    """Whoever sits in the old tree of one repository is not in the way of another one's."""
    lab, other = _published("mine"), _published("theirs")
    with _reader(lab) as reader, _reader(other) as foreign:
        for one in (lab, other):
            one.put("a", "22")
            (waits,) = one.sync().pending_cleanup
            mine = reader if one is lab else foreign
            assert f"(in use by pid {mine.pid} (sleep))" in waits, (waits, reader.pid, foreign.pid)
        (cleanup,) = _look(lab).cleanups
        assert [h["pid"] for h in cleanup["holders"]] == [reader.pid], (cleanup, foreign.pid)
    _end(lab)
    _end(other)


def send() -> None:
    """A running ``zfs send`` keeps from promoting, and is named."""
    lab = Lab("sent2")
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(4 << 20))
    lab.sync()
    reading, writing = os.pipe()
    with subprocess.Popen(["zfs", "send", f"{lab.live}@s1"], stdout=writing) as sender:
        os.close(writing)
        os.read(reading, 100)
        assert [(u["snapshot"], u["pid"]) for u in _look(lab).snapshot_users] == [(1, sender.pid)]
        lab.put("a", "1")
        lab.sync()
        first, second = _look(lab).cleanups
        assert first["object"] == lab.live
        for one in (first, second):
            assert [(h["kind"], h["pid"]) for h in one["holders"]] == [("send", sender.pid)], one
            assert one["next_step"].startswith(f"Wait until pid {sender.pid} (zfs) has sent"), one
        while os.read(reading, 1 << 20):
            pass
        assert sender.wait() == 0
    os.close(reading)
    _end(lab)


def hold_clone_and_mount_of_snapshots() -> None:
    """What keeps a published snapshot is told, and is no problem."""
    lab = _published("kept2")
    lab.put("a", "22")
    lab.sync()
    point = f"{lab.home}/point"
    os.mkdir(point)
    sh("zfs", "hold", "keep", f"{lab.live}@s1")
    sh("zfs", "clone", "-o", "canmount=off", f"{lab.live}@s1", CLONE)
    sh("mount", "-t", "zfs", f"{lab.live}@s1", point)
    os.listdir(f"{lab.path}/.zfs/snapshot/s2")  # mounts it by itself, which counts for nothing
    found = _look(lab)
    told = {(u["snapshot"], u["kind"], u["place"]) for u in found.snapshot_users}
    snapshot = f"{lab.live}@s1"
    assert told == {(1, "hold", snapshot), (1, "clone", CLONE), (1, "mount", point)}, told
    assert found.cleanups == []
    sh("umount", point)
    sh("zfs", "destroy", CLONE)
    sh("zfs", "release", "keep", snapshot)
    assert _look(lab).snapshot_users == []
    lab.clean()
    lab.destroy()


def snapshots_of_others_on_the_old_tree() -> None:
    """Another tool's snapshot of a retired tree, with a hold and a clone: each with its way out."""
    lab = _published("foreign2")
    with _reader(lab):
        lab.put("a", "22")
        lab.sync()
        (cleanup,) = _look(lab).cleanups
        snapshot = f"{cleanup['object']}@auto"
        sh("zfs", "snapshot", snapshot)
        sh("zfs", "hold", "theirs", snapshot)
        sh("zfs", "clone", "-o", "canmount=off", snapshot, CLONE_OF_OLD)
    (cleanup,) = _look(lab).cleanups
    told = [(h["kind"], h["place"], h["tag"]) for h in cleanup["holders"]]
    assert told == [
        ("hold", snapshot, "theirs"),
        ("clone", CLONE_OF_OLD, ""),
        ("snapshot", snapshot, ""),
    ], told
    for words in (f"`zfs release theirs {snapshot}`", f"`zfs destroy {snapshot}`"):
        assert words in cleanup["next_step"], cleanup
    sh("zfs", "release", "theirs", snapshot)
    sh("zfs", "destroy", CLONE_OF_OLD)
    sh("zfs", "destroy", snapshot)
    _end(lab)


def mount_of_the_old_tree() -> None:
    """Somebody mounted it elsewhere, in this mount namespace or in a container's."""
    lab = _published("mounted2")
    point = f"{lab.home}/point"
    os.mkdir(point)
    with _reader(lab):
        lab.put("a", "22")
        lab.sync()
        (cleanup,) = _look(lab).cleanups
    sh("mount", "-t", "zfs", "-o", "zfsutil,ro", cleanup["object"], point)
    (cleanup,) = _look(lab).cleanups
    assert [(h["kind"], h["place"]) for h in cleanup["holders"]] == [("mount", point)], cleanup
    assert cleanup["next_step"].startswith(f"Unmount {point}, then run"), cleanup
    with subprocess.Popen(["unshare", "--mount", "sleep", "600"]) as container:
        _await_command(container.pid, "sleep")
        sh("umount", point)
        (cleanup,) = _look(lab).cleanups
        (holder,) = cleanup["holders"]
        assert (holder["kind"], holder["place"], holder["pid"]) == ("mount", point, container.pid)
        container.kill()
    _end(lab)


def _await_command(pid: int, name: str) -> None:
    while True:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as stream:
            if stream.read().strip() == name:
                return


def of_a_dead_transaction() -> None:
    """What was left half-way is told with its dataset; recovery clears it."""
    lab = _published("dead2")
    stage = f"{lab.container}/{lab.name}.stage.dead-1"
    sh("zfs", "clone", f"{lab.live}@s1", stage)
    found = _look(lab)
    (cleanup,) = found.cleanups
    assert (cleanup["object"], cleanup["txn_id"], cleanup["holders"]) == (stage, "dead-1", [])
    assert any(stage in line for line in found.unfinished)
    _end(lab)
