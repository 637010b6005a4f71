# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification on OpenZFS: bytes overwritten on the disk beneath, and what snapshots still hold."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _core.backends.published import read_header
from _core.backends.zfs.repository import ZfsRepository
from _core.errors import DsgError
from _core.sync.verify import verify_repository
from _core.zfs import mounts
from guest.as_user import as_user
from guest.contract import delegate
from guest.lab import Lab, provision, sh, unmount_all
from guest.tape import KILL_AFTER, Fault

_IMAGE = "/root/beneath/disk.img"
_POOL, _MOUNTPOINT = "beneath", "/srv/beneath"
_BLOCK = 128 * 1024


def overwritten_blocks_are_named_in_every_snapshot_that_has_them() -> None:
    """OpenZFS hands out an error for them; each is a finding, and the rest is read all the same."""
    with _disk() as lab:
        data = {path: os.urandom(3 * _BLOCK) for path in ("both", "old", "d/intact")}
        for path, content in data.items():
            _put(lab, path, content)
        lab.sync()
        lab.put("old", "another version")
        lab.sync()
        assert _verified(lab, "all") == {}
        _overwrite(data["both"][_BLOCK : _BLOCK + 512])
        _overwrite(data["old"][:512])
        found = _verified(lab, "all")
        assert found == {
            (1, False): {("both", "unreadable"), ("old", "unreadable")},
            (2, False): {("both", "unreadable")},
            (2, True): {("both", "unreadable")},
        }, found
        assert _verified(lab) == {(2, True): {("both", "unreadable")}}
        # A new version of the file heals what is published, and s1 and s2 stay damaged.
        lab.put("both", "anew")
        lab.sync()
        assert _verified(lab) == {}
        assert set(_verified(lab, "1", "2")) == {(1, False), (2, False)}


def damage_of_the_published_tree_is_no_damage_of_its_snapshot() -> None:
    """Root writes into the published tree: the snapshot beside it is still what was published."""
    lab = Lab("told-apart")
    for path in ("changed", "removed", "d/mode", "same"):
        lab.put(path, path)
    lab.sync()
    lab.put("same", "2")
    lab.sync()
    with _writable(lab.path):
        seen = os.stat(f"{lab.path}/changed")
        with open(f"{lab.path}/changed", "r+", encoding="utf-8") as stream:
            stream.write("CHANGED")
        os.utime(f"{lab.path}/changed", ns=(seen.st_atime_ns, seen.st_mtime_ns))
        os.unlink(f"{lab.path}/removed")
        os.chmod(f"{lab.path}/d/mode", 0o600)
        with open(f"{lab.path}/added", "w", encoding="utf-8") as stream:
            stream.write("x")
    found = _verified(lab, "all")
    expected = {
        ("changed", "content"),
        ("removed", "missing"),
        ("d/mode", "mode"),
        ("added", "added"),
    }
    assert found == {(2, True): expected}, found
    assert _verified(lab, "1", "2") == found
    lab.destroy()


def damage_is_told_though_the_newest_snapshot_was_destroyed() -> None:
    """Somebody destroyed it, so that it is not kept: what is published is no less damaged for that."""
    lab = Lab("destroyed")
    for number in (1, 2):
        lab.put("f", f"version {number}")
        lab.sync()
    before = lab.published()
    sh("zfs", "destroy", f"{lab.live}@s2")
    lost = {(2, True): {("", "snapshot")}}
    for chosen in (("newest",), ("all",), ("2",), ("1", "2")):
        assert _verified(lab, *chosen) == lost, chosen
    seen = os.stat(f"{lab.path}/f")
    _write_in_place(lab, "VERSION 2", seen)
    for chosen in (("newest",), ("all",), ("2",), ("1", "2")):
        found = _verified(lab, *chosen)
        assert found == {(2, True): {("", "snapshot"), ("f", "content")}}, (chosen, found)
    _write_in_place(lab, "version 2", seen)
    lab.put("f", "version 3")
    lab.refused("DSG-DRIFT", "@s2", "not there")
    # What docs/errors.md tells to do: the tree is what was published, so its snapshot may be taken again.
    assert lab.published() == before
    header = read_header(lab.path, lab.name)
    marks = ("-o", f"dsg:txn={header.txn}", "-o", f"dsg:manifest={header.id}")
    sh("zfs", "snapshot", *marks, f"{lab.live}@s2")
    assert _verified(lab, "all") == {}
    assert lab.sync().snapshot == 3
    lab.clean()
    lab.destroy()


def a_commit_that_is_not_finished_hides_no_snapshot() -> None:
    """Names are switched before mounts are: what readers have until then keeps its snapshots."""
    lab = Lab("switching")
    lab.put("f", "version 1")
    lab.sync()
    steps = ("zfs set commit record", "zfs rename live old", "zfs rename stage live")
    for number, step in enumerate(steps, 1):
        lab.put("f", f"version {number + 1}")
        died = lab.attempt(lab.sync, Fault(step, KILL_AFTER))
        assert died.end == "killed", (step, died)
        kept = list(range(1, number + 1))
        assert _snapshots(lab) == kept, step
        assert _trees(lab, "all") == [*((one, False) for one in kept), (number, True)], step
        assert _trees(lab, "1") == [(1, False), (number, True)], step
        lab.recover()
        lab.clean()
    lab.put("f", "last")
    lab.attempt(lab.sync, Fault("zfs rename live old", KILL_AFTER))
    mounts.unmount(lab.path, lazily=True)  # as after a reboot: nobody reads anything there
    try:
        found = _snapshots(lab)
    except DsgError as exc:
        assert exc.code == "DSG-UNFINISHED" and "recover" in exc.next_step, exc
    else:
        raise AssertionError(f"snapshots are told: {found}")
    lab.recover()
    assert _snapshots(lab) == [1, 2, 3, 4, 5]
    lab.clean()
    lab.destroy()


def _snapshots(lab: Lab) -> list[int]:
    found: list[int] = lab.acting(lambda: ZfsRepository(lab.parent, lab.name).snapshots())
    return found


def _trees(lab: Lab, *snapshots: str) -> list[tuple[int, bool]]:
    """Return (snapshot, published?) of the trees that are looked at, all of which have to be sound."""

    def work() -> list[dict[str, Any]]:
        return verify_repository(lab.name, lab.backend, snapshots=snapshots).trees

    found = lab.acting(work)
    assert all(tree["sound"] and tree["checked"] and not tree["gone"] for tree in found), found
    return [(tree["snapshot"], tree["live"]) for tree in found]


def _write_in_place(lab: Lab, content: str, seen: os.stat_result) -> None:
    """Write into the published file ``f`` as nobody can see by its size and times."""
    with _writable(lab.path):
        with open(f"{lab.path}/f", "r+", encoding="utf-8") as stream:
            stream.write(content)
        os.utime(f"{lab.path}/f", ns=(seen.st_atime_ns, seen.st_mtime_ns))


def damaged_records_are_named_and_the_snapshots_still_verified() -> None:
    """Manifest and history of the published tree are damaged; trees are checked by what is left."""
    lab = Lab("records")
    for number in (1, 2, 3):
        lab.put("f", f"version {number}")
        lab.sync()
    with _writable(lab.path):
        os.unlink(f"{lab.path}/.dsg/history/s2.jsonl")
    found = _verified(lab, "all")
    assert found == {(2, True): {(".dsg/history/s2.jsonl", "history")}}, found
    lab.destroy()


def _verified(lab: Lab, *snapshots: str) -> dict[tuple[int, bool], set[tuple[str, str]]]:
    """Return (snapshot, published?) → the paths that are damaged, and how."""

    def work() -> list[dict[str, Any]]:
        chosen = snapshots or ("newest",)
        return verify_repository(lab.name, lab.backend, snapshots=chosen).problems

    found: dict[tuple[int, bool], set[tuple[str, str]]] = {}
    for one in lab.acting(work):
        found.setdefault((one["snapshot"], one["live"]), set()).add((one["path"], one["what"]))
    return found


def _put(lab: Lab, path: str, content: bytes) -> None:
    lab.put(path, "")
    with open(os.path.join(lab.copy("wc"), path), "wb") as stream:
        stream.write(content)


@contextmanager
def _writable(path: str) -> Iterator[None]:
    sh("mount", "-o", "remount,rw", path)
    try:
        yield
    finally:
        sh("mount", "-o", "remount,ro", path)


@contextmanager
def _disk() -> Iterator[Lab]:
    """Give a repository in a pool of its own, whose disk is a file."""
    os.makedirs(os.path.dirname(_IMAGE), exist_ok=True)
    with open(_IMAGE, "wb") as stream:
        stream.truncate(256 << 20)
    sh("zpool", "create", "-f", "-O", "mountpoint=none", _POOL, _IMAGE)
    try:
        parent = f"{_POOL}/dsg"
        provision(parent, _MOUNTPOINT)
        lab = Lab("overwritten", parent, _MOUNTPOINT)
        if lab.user:
            as_user(lab.user, lambda: delegate(parent))
        yield lab
    finally:
        unmount_all(_MOUNTPOINT)
        sh("zpool", "destroy", "-f", _POOL)
        os.unlink(_IMAGE)


def _overwrite(content: bytes) -> None:
    """Overwrite a file's content where it lies on the disk, while no pool is there to notice."""
    sh("zpool", "export", _POOL)
    with open(_IMAGE, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as disk:
        at = disk.find(content)
        assert at >= 0, "the content is not found on the disk"
        assert disk.find(content, at + 1) < 0
        disk[at : at + len(content)] = bytes(len(content))
        disk.flush()
    sh("zpool", "import", "-d", os.path.dirname(_IMAGE), _POOL)
