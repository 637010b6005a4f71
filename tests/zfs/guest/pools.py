# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every layout is made, found unchanged under any of its paths, and never taken apart."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from _core.zfs import disks as core_disks
from _core.zfs import pool_state, vdevs
from _core.zfs.command import Runner
from _core.zfs.pool_state import PoolRequest
from _core.zfs.steps import carry_out
from guest.lab import sh
from guest.provisioning import clean, hold, pool, refused

NAME = "dsgpool"
_BLKRRPART = 0x125F

Disks = list[str]


def _layout(name: str = NAME) -> list[vdevs.Vdev]:
    return vdevs.read(Runner())[name].vdevs


def _texts_agree() -> None:
    """The parser for OpenZFS before 2.3 reads the same as the one for JSON."""
    by_text = vdevs.parse_text(sh("zpool", "status", "-P"))
    by_json = vdevs.parse_json(sh("zpool", "status", "-jP"))
    # The order of the classes differs; that of a class does not.
    assert {name: sorted(found) for name, found in by_text.items()} == {
        name: sorted(found) for name, found in by_json.items()
    }


def _made(disks: Disks, *declared: tuple[str, str, Disks], **more: object) -> None:
    """Make it, and declare it by all the paths that its disks have: nothing to do."""
    plan = pool(NAME, *declared, **more)
    try:
        (command,) = hold(plan)
        assert command.startswith("zpool create"), command
        _texts_agree()
        real = [(r, t, [os.path.realpath(d) for d in group]) for r, t, group in declared]
        assert pool(NAME, *real, **more)() == []
        parts = [(r, t, [f"{os.path.realpath(d)}1" for d in group]) for r, t, group in declared]
        assert pool(NAME, *parts, **more)() == []
        links = [(r, t, [f"{d}-part1" for d in group]) for r, t, group in declared]
        assert pool(NAME, *reversed(links), **more)() == []
        found = _layout()
        assert sorted(d for v in found for d in v.disks) == sorted(
            f"{d}-part1" for _r, _t, group in declared for d in group
        )
        described = pool_state.describe(Runner(), PoolRequest(NAME, declared))
        assert described["drift"] == [] and described["guid"].isdigit()
        shown = [(one["role"], one["type"], one["disks"]) for one in described["vdevs"]]
        assert pool(NAME, *shown, **more)() == []  # the result is a declaration
    finally:
        clean([NAME], disks)


def stripe_of_two(disks: Disks) -> None:
    _made(disks, ("data", "stripe", disks[:2]))


def mirrors(disks: Disks) -> None:
    _made(disks, ("data", "mirror", disks[:2]), ("data", "mirror", disks[2:4]))


def partitions_stay_while_a_pool_is_made(disks: Disks) -> None:
    """udev reads a partition table again whenever a disk was written to, and partitions go and come."""
    run = Runner.run
    seen: list[str] = []
    refused: list[int] = []

    def beside_udev(runner: Runner, name: str, *arguments: str) -> str:
        if name != "zpool" or arguments[0] not in ("create", "add") or "-n" in arguments:
            return run(runner, name, *arguments)
        seen.append(arguments[0])
        with _read_again_and_again(disks[:4]) as counted:
            done = run(runner, name, *arguments)
        refused.append(counted[0])
        return done

    Runner.run = beside_udev  # type: ignore[method-assign]
    first, second = ("data", "mirror", disks[:2]), ("data", "mirror", disks[2:4])
    try:
        hold(pool(NAME, first))
        hold(pool(NAME, first, second, extend=True))
    finally:
        Runner.run = run  # type: ignore[method-assign]
        clean([NAME], disks)
    assert set(seen) == {"create", "add"} and min(refused) > 0, (seen, refused)


@contextmanager
def _read_again_and_again(disks: Disks) -> Iterator[list[int]]:
    """Do what udev does, all the time: under an exclusive lock, or not at all. Gives how often not."""
    over = threading.Event()
    refused = [0]

    def read_again() -> None:
        while not over.wait(0.05):
            for disk in disks:
                with open(disk, "rb") as stream:
                    try:
                        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        fcntl.ioctl(stream, _BLKRRPART)
                    except BlockingIOError:
                        refused[0] += 1
                    except OSError:  # a partition is in use: udev lets it be, too
                        pass

    thread = threading.Thread(target=read_again)
    thread.start()
    try:
        yield refused
    finally:
        over.set()
        thread.join()


def raidz(disks: Disks) -> None:
    _made(disks, ("data", "raidz1", disks[:3]), ("data", "raidz1", disks[3:6]))


def raidz_of_more_parity(disks: Disks) -> None:
    _made(disks, ("data", "raidz2", disks[:4]))
    _made(disks, ("data", "raidz3", disks[:5]))


def every_role(disks: Disks) -> None:
    """Redundancy that differs has to be said; the log, the cache and the spare do not count."""
    declared = (
        ("special", "stripe", disks[2:3]),
        ("data", "mirror", disks[:2]),
        ("dedup", "stripe", disks[3:4]),
        ("log", "stripe", disks[4:5]),
        ("cache", "stripe", disks[5:6]),
        ("spare", "stripe", disks[6:7]),
    )
    refused(pool(NAME, *declared), "DSG-POOL", "mixed_redundancy", "can lose 1", "can lose 0")
    _made(disks, *declared, mixed_redundancy=True)


def stripes_beside_mirrors(disks: Disks) -> None:
    """Whatever the order of the declaration, a single disk does not get into a mirror."""
    _made(
        disks,
        ("data", "mirror", disks[:2]),
        ("log", "mirror", disks[2:4]),
        ("data", "stripe", disks[4:5]),
        ("log", "stripe", disks[5:6]),
        mixed_redundancy=True,
    )


def special_and_log_mirrors(disks: Disks) -> None:
    _made(
        disks,
        ("data", "raidz1", disks[:3]),
        ("special", "mirror", disks[3:5]),
        ("log", "mirror", disks[5:7]),
    )


def properties(disks: Disks) -> None:
    """At the creation and later; values as a person writes them."""
    declared = ("data", "stripe", disks[:1])
    more = {
        "properties": {"ashift": 12, "autotrim": True, "comment": "of the archive"},
        "filesystem_properties": {"compression": "lz4", "recordsize": "1M", "mountpoint": "none"},
    }
    try:
        (command,) = hold(pool(NAME, declared, **more))
        assert "-o ashift=12 -o autotrim=on -o 'comment=of the archive'" in command, command
        more["properties"] = {"autotrim": False, "comment": "1M", "ashift": "12"}
        more["filesystem_properties"] = {"recordsize": 1048576, "quota": "100M", "dsg:x": "1M"}
        done = hold(pool(NAME, declared, **more))
        assert done == [
            f"zpool set autotrim=off {NAME}",
            f"zpool set comment=1M {NAME}",
            f"zfs set quota=100M dsg:x=1M {NAME}",
        ]
        for wrong in ({"altroot": "/mnt"}, {"readonly": True}):
            refused(pool(NAME, declared, properties=wrong), "DSG-POOL", "cannot be held")
        wrong = {"casesensitivity": "mixed"}
        refused(pool(NAME, declared, filesystem_properties=wrong), "DSG-DATASET", "only a creation")
        refused(pool(NAME, declared, properties={"nosuch": 1}), "DSG-ZFS", "nosuch")
    finally:
        clean([NAME], disks)


def drift_and_growth(disks: Disks) -> None:
    """A layout that differs fails or is told; only whole vdevs are added, and only if asked."""
    one, two, three = disks[:2], disks[2:4], disks[4:5]
    try:
        hold(pool(NAME, ("data", "mirror", one)))
        before = sh("zpool", "status", "-P", NAME)
        both = (("data", "mirror", one), ("data", "mirror", two))
        refused(pool(NAME, *both), "DSG-POOL", "not in the pool", two[0])
        told = pool(NAME, *both, tolerate_drift=True, properties={"autotrim": True})
        assert hold(told) == [f"zpool set autotrim=on {NAME}"]
        drift = pool_state.describe(Runner(), PoolRequest(NAME, both))["drift"]
        assert len(drift) == 1 and "extend: true" in drift[0], drift
        assert sh("zpool", "status", "-P", NAME) == before
        assert hold(pool(NAME, *both, extend=True)) == [
            f"zpool add {NAME} mirror {two[0]} {two[1]}"
        ]
        # Neither is a vdev taken out, nor a disk put into one, whatever is asked.
        for declared, word in (
            ((both[0],), "not declared"),
            ((("data", "mirror", one + three), both[1]), "the pool has"),
            ((("data", "stripe", one), both[1]), "the pool has"),
            ((both[0], ("special", "mirror", [two[0], three[0]])), "the pool has"),
        ):
            refused(pool(NAME, *declared, extend=True), "DSG-POOL", word)
            assert hold(pool(NAME, *declared, extend=True, tolerate_drift=True)) == []
        stripe = (*both, ("data", "stripe", three))
        refused(pool(NAME, *stripe, extend=True), "DSG-POOL", "mixed_redundancy")
        cache = (*both, ("cache", "stripe", three))
        assert hold(pool(NAME, *cache, extend=True)) == [f"zpool add {NAME} cache {three[0]}"]
    finally:
        clean([NAME], disks)


def a_disk_that_is_gone_or_replaced(disks: Disks) -> None:
    """An offline disk is still in its place; a replaced one is drift."""
    mirror = ("data", "mirror", disks[:2])
    try:
        hold(pool(NAME, mirror))
        sh("zpool", "offline", NAME, disks[0])
        assert hold(pool(NAME, mirror)) == []
        sh("zpool", "replace", "-w", NAME, disks[0], disks[2])
        refused(pool(NAME, mirror), "DSG-POOL", disks[0], f"{disks[2]}-part1")
        assert hold(pool(NAME, ("data", "mirror", [disks[2], disks[1]]))) == []
        _texts_agree()
    finally:
        clean([NAME], disks)


def export_and_import(disks: Disks) -> None:
    """Exported, and imported again where it lies; never made anew on its own disks."""
    declared = (("data", "mirror", disks[:2]), ("spare", "stripe", disks[2:3]))
    request = PoolRequest(NAME, declared)

    def leave() -> object:
        return pool_state.exported(Runner(), request)

    try:
        assert leave() == []  # there is none, and that is fine
        hold(pool(NAME, *declared))
        guid = pool_state.describe(Runner(), request)["guid"]
        assert hold(leave) == [f"zpool export {NAME}"]
        # With consent for all of them, it is still the pool that was declared.
        assert hold(pool(NAME, *declared, overwrite=disks)) == [f"zpool import {guid}"]
        hold(leave)
        other = (("data", "mirror", disks[1:3]),)
        refused(pool(NAME, *other), "DSG-POOL", disks[2], "is not in it", guid)
        refused(pool("another", *declared), "DSG-DISK", f"exported pool '{NAME}'", guid)
    finally:
        sh("zpool", "import", NAME, check=False)
        clean([NAME], disks)


def import_and_set(disks: Disks) -> None:
    """What can be read only after the import is set in the same run."""
    declared = ("data", "stripe", disks[:1])
    try:
        hold(pool(NAME, declared))
        sh("zpool", "export", NAME)
        plan = pool(NAME, declared, properties={"comment": "back"})
        assert [step.command[1] for step in plan()] == ["import"]
        done = carry_out(Runner(), plan, plan())
        assert [step.command[1] for step in done] == ["import", "set"]
        assert plan() == []
    finally:
        clean([NAME], disks)


def two_pools_of_one_name(disks: Disks) -> None:
    """Which of them is meant, nobody can know."""
    try:
        for disk in disks[:2]:
            hold(pool(NAME, ("data", "stripe", [disk])))
            sh("zpool", "export", NAME)
        both = ("data", "stripe", disks[:2])
        refused(pool(NAME, both), "DSG-POOL", "several pools", "GUID")
        (guid,) = {
            label.guid for label in pool_state._labels(Runner(), core_disks.device(disks[1]))
        }
        assert hold(pool(NAME, ("data", "stripe", disks[1:2]))) == [f"zpool import {guid}"]
    finally:
        clean([NAME], disks)


def impossible_layouts(disks: Disks) -> None:
    """Refused from the declaration alone."""
    real = os.path.realpath(disks[0])
    for declared, words in (
        ([], ["no data vdev"]),
        ([("log", "stripe", disks[:1])], ["no data vdev"]),
        ([("data", "mirror", disks[:1])], ["at least 2"]),
        ([("data", "raidz2", disks[:2])], ["at least 3"]),
        ([("data", "stripe", [])], ["at least 1"]),
        ([("data", "mirror", [disks[0], real])], ["same disk"]),
        ([("data", "stripe", disks[:1]), ("spare", "stripe", [real])], ["same disk"]),
        ([("data", "stripe", disks[:1]), ("cache", "mirror", disks[1:3])], ["always a stripe"]),
        ([("data", "stripe", disks[:1]), ("log", "raidz1", disks[1:3])], ["a log is"]),
        ([("data", "stripe", ["vdb"])], ["absolute"]),
        ([("data", "mirror", disks[:2]), ("data", "stripe", disks[2:3])], ["mixed_redundancy"]),
    ):
        refused(pool(NAME, *declared), "DSG-POOL", *words)
    for name in ("-f", "mirror", "raidz1", "log", "a/b", "a b", "a\n", "", "1a", "c0t0d0"):
        refused(pool(name, ("data", "stripe", disks[:1])), "DSG-ARGUMENT", "pool's name")
    refused(pool(NAME, ("data", "stripe", ["/dev/nosuch"])), "DSG-DISK", "/dev/nosuch")
    refused(pool(NAME, ("data", "stripe", ["/etc/passwd"])), "DSG-DISK", "not a block device")
    refused(
        pool(NAME, ("data", "stripe", disks[:1]), properties={"nosuch": "1"}), "DSG-ZFS", "nosuch"
    )
