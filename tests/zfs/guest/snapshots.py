# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Older snapshots on OpenZFS: who keeps one from being pruned, and what a mounted one puts off."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from _core.backends.zfs.repository import ZfsRepository
from _core.errors import DsgError
from _core.upkeep import mounting
from _core.upkeep.prune import PruneResult, prune
from _core.upkeep.restore import RestoreRequest, restore
from _core.upkeep.retention import Keep
from guest.lab import Lab, listing, sh


def _with_snapshots(name: str, number: int) -> Lab:
    """Publish ``number`` snapshots; the file ``f`` holds the number."""
    lab = Lab(name)
    lab.put("same", "same")
    for count in range(1, number + 1):
        lab.put("f", str(count))
        lab.put(f"in-{count}", "x")
        assert lab.sync().snapshot == count
    return lab


def _repository(lab: Lab) -> ZfsRepository:
    return ZfsRepository(lab.parent, lab.name)


def _prune(lab: Lab, *, check: bool = False, **rules: object) -> PruneResult:
    keep = Keep(**rules)  # type: ignore[arg-type]
    done: PruneResult = lab.acting(lambda: prune(_repository(lab), keep, check=check))
    return done


def _actions(lab: Lab, **rules: object) -> dict[str, str]:
    """Dry run, which changes nothing, then the pruning, which does what was announced."""
    before = lab.identity()
    announced = _prune(lab, check=True, **rules)
    assert lab.identity() == before
    done = _prune(lab, **rules)
    assert (done.fates, done.removed) == (announced.fates, announced.removed)
    return {fate.name: fate.action for fate in done.fates}


def restored_and_pruned() -> None:
    """A snapshot comes back as a new one, copied from below ``.zfs``; others go, one by one."""
    lab = _with_snapshots("restored", 3)
    before = listing(f"{lab.path}/.zfs/snapshot/s1")
    request = RestoreRequest(1, message="back", user="zoe")
    announced = lab.acting(lambda: restore(_repository(lab), request._replace(check=True)))
    done = lab.acting(lambda: restore(_repository(lab), request))
    assert (done.base, done.snapshot, done.changes) == (3, 4, announced.changes)
    assert done.pending_cleanup == []
    assert lab.published() == before
    lab.clean()
    assert _actions(lab, messages=["back"], last=2) == {
        "s1": "removed",
        "s2": "removed",
        "s3": "kept",
        "s4": "kept",
    }
    assert lab.snapshots() == ["s3", "s4"]
    lab.put("new", "5")  # in f both sides would have changed
    assert lab.sync().snapshot == 5
    lab.clean()
    lab.destroy()


def holds_clones_and_others_are_respected() -> None:
    """What somebody holds or has cloned waits, and is named; what others took is not looked at."""
    lab = _with_snapshots("respected", 5)
    sh("zfs", "hold", "backup", f"{lab.live}@s1")
    sh("zfs", "clone", "-o", "mountpoint=none", f"{lab.live}@s2", "tank/clone-of-s2")
    sh("zfs", "snapshot", f"{lab.live}@daily-1")
    sh("zfs", "snapshot", f"{lab.live}@s77")  # named like ours, and inherits our property
    try:
        assert _actions(lab, last=1) == {
            "s1": "waits",
            "s2": "waits",
            "s3": "removed",
            "s4": "removed",
            "s5": "kept",
            "daily-1": "foreign",
            "s77": "foreign",
        }
        waiting = _prune(lab, last=1).pending_cleanup
        assert len(waiting) == 2, waiting
        for number in (1, 2):  # as where somebody began to use it behind our look
            late = lab.acting(lambda number=number: _repository(lab).remove_snapshot(number))  # type: ignore[misc]
            assert not late.gone and f"s{number} cannot be destroyed yet" in late.waiting, late
        assert "backup" in waiting[0], waiting
        assert "tank/clone-of-s2" in waiting[1], waiting
        assert sorted(lab.snapshots()) == ["daily-1", "s1", "s2", "s5", "s77"]
    finally:
        sh("zfs", "release", "backup", f"{lab.live}@s1")
        sh("zfs", "destroy", "tank/clone-of-s2")
    assert _prune(lab, last=1).removed == ["s1", "s2"]
    assert sorted(lab.snapshots()) == ["daily-1", "s5", "s77"]
    assert _repository(lab).snapshots() == [5]
    lab.put("f", "6")
    assert lab.sync().snapshot == 6
    lab.sound()
    sh("zfs", "destroy", f"{lab.live}@daily-1")
    sh("zfs", "destroy", f"{lab.live}@s77")
    lab.destroy()


def odd_values_of_others_change_nothing() -> None:
    """Properties of users may hold tabs, ends of lines, and what some take for one."""
    lab = _with_snapshots("odd", 1)
    for number, odd in enumerate(("a\tb\u2028c\x0bd\x85e", "a\nsetuid\ton\n\nb\n")):
        sh("zfs", "set", f"org.example:note={odd}", lab.live)
        lab.put("f", str(number + 2))
        assert lab.sync().snapshot == number + 2
        kept = sh("zfs", "get", "-Hp", "-o", "value", "org.example:note", lab.live)
        assert kept.removesuffix("\n") == odd, "it is carried over as it is"
        assert sh("zfs", "get", "-Hp", "-o", "value", "setuid", lab.live) == "off\n"
    lab.sound()
    lab.destroy()


def one_of_others_in_the_place_of_ours() -> None:
    """It inherits our property, and is no base all the same; nothing is published upon it."""
    lab = _with_snapshots("replaced", 2)
    sh("zfs", "destroy", f"{lab.live}@s2")
    sh("zfs", "snapshot", f"{lab.live}@s2")
    lab.put("f", "3")
    before = lab.published()
    lab.refused("DSG-DRIFT", "@s2", "not ours")
    assert lab.published() == before
    lab.destroy()


def a_dry_run_foresees_who_uses_a_snapshot() -> None:
    """A send, a reader in it, a mount in another namespace: each keeps a snapshot and is named."""
    lab = Lab("foreseen")
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(4 << 20))
    for number in range(1, 6):
        lab.put("f", str(number))
        lab.sync()
    kept = {"s1": "waits", "s2": "waits", "s3": "waits", "s4": "removed", "s5": "kept"}
    with _using(lab) as (sender, reader, elsewhere):
        users = {(one.number, one.holder.pid) for one in _repository(lab).snapshot_users()}
        # The other namespace began with a copy of what the reader's look has mounted.
        assert users == {(1, sender), (2, reader), (2, elsewhere), (3, elsewhere)}, users
        if lab.user:  # of root's processes others see only what they are called with
            announced = {fate.name: fate.action for fate in _prune(lab, check=True, last=1).fates}
            assert announced["s1"] == "waits", announced
            assert {fate.name: fate.action for fate in _prune(lab, last=1).fates} == kept
        else:
            assert _actions(lab, last=1) == kept
            said = _prune(lab, last=1).pending_cleanup
            for line, pid in zip(said, (sender, reader, elsewhere)):
                assert f"pid {pid}" in line, said
    assert _prune(lab, last=1).removed == ["s1", "s2", "s3"]
    lab.clean()
    lab.destroy()


@contextmanager
def _using(lab: Lab) -> Iterator[tuple[int, int, int]]:
    """Use s1, s2 and s3 as others do; give the processes that do it. One has given its tmpfs the name of s4."""
    inside = f"{lab.path}/.zfs/snapshot/s2"
    mounting = f"mount -t zfs {lab.live}@s3 /mnt && echo mounted && exec sleep 1000"
    named_alike = f"mount -t tmpfs {lab.live}@s4 /mnt && echo mounted && exec sleep 1000"
    commands: list[tuple[list[str], str]] = [
        (["zfs", "send", f"{lab.live}@s1"], "/"),
        (["sh", "-c", "echo entered && exec sleep 1000"], inside),
        (["unshare", "--mount", "sh", "-c", mounting], "/"),
        (["unshare", "--mount", "sh", "-c", named_alike], "/"),
    ]
    started = [
        subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        for command, directory in commands
    ]
    try:
        for one in started:
            assert one.stdout is not None and one.stderr is not None
            assert one.stdout.read(1), f"it did not begin: {one.args}: {one.stderr.read()!r}"
        yield started[0].pid, started[1].pid, started[2].pid
    finally:
        for one in started:
            one.kill()
            one.communicate()


def readers_in_a_snapshot_keep_nothing_half() -> None:
    """A file that is open below ``.zfs/snapshot`` may keep its snapshot; it is whole or gone."""
    lab = _with_snapshots("reader", 3)
    with open(f"{lab.path}/.zfs/snapshot/s1/f", encoding="ascii") as stream:
        done = _prune(lab, last=1)
        assert "s2" in done.removed, done
        if "s1" not in done.removed:
            assert len(done.pending_cleanup) == 1, done
            assert stream.read() == "1"
    _prune(lab, last=1)
    assert lab.snapshots() == ["s3"]
    lab.clean()
    lab.destroy()


def a_mounted_snapshot() -> None:
    """Root mounts one; publications go on, tidying waits for the unmounting, and pruning as well."""
    lab = _with_snapshots("mounted", 2)
    place = f"/mnt/{lab.name}-for-{lab.user or 'root'}"  # not below a home that is given away
    repository = _repository(lab)
    if lab.user:
        _refused(lab, lambda: mounting.mount(_repository(lab), 1, place), "root")
        assert not os.path.exists(place)
    assert mounting.mount(repository, 1, place).changed
    assert not mounting.mount(repository, 1, place).changed
    assert listing(place)["f"] == listing(f"{lab.path}/.zfs/snapshot/s1")["f"]
    flags = os.statvfs(place).f_flag
    assert flags & os.ST_RDONLY and flags & os.ST_NOSUID and flags & os.ST_NODEV
    assert flags & os.ST_NOEXEC
    assert _actions(lab, last=1) == {"s1": "waits", "s2": "kept"}
    assert place in _prune(lab, last=1).pending_cleanup[0]
    lab.put("f", "3")
    third = lab.sync()
    assert third.snapshot == 3
    lab.put("f", "4")
    fourth = lab.sync()
    assert fourth.snapshot == 4
    assert listing(place)["f"][0] == "file"
    assert mounting.unmount(_repository(lab), place).snapshot == 1
    assert not mounting.unmount(_repository(lab), place).changed
    for _unused in range(3):
        lab.recover()
    assert lab.snapshots() == ["s1", "s2", "s3", "s4"]
    lab.clean()
    assert _prune(lab, last=1).removed == ["s1", "s2", "s3"]
    lab.clean()
    lab.destroy()


def _refused(lab: Lab, work: Callable[[], object], word: str) -> None:
    try:
        lab.acting(work)
    except DsgError as exc:
        assert exc.code == "DSG-ARGUMENT", exc
        assert word in str(exc), exc
        return
    raise AssertionError("it was not refused")
