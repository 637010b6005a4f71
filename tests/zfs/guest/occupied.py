# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No disk that carries or does anything becomes a part of a pool without consent for this disk."""

from __future__ import annotations

import os
import subprocess
import time

from guest.lab import sh
from guest.pools import NAME, Disks
from guest.provisioning import clean, hold, pool, refused

_DOS = "label: dos\nstart=2048, size=20480, type=83\n"


def _content(disk: str) -> bytes:
    """What lies where a label would be written."""
    with open(disk, "rb") as stream:
        return stream.read(8 << 20)


def _kept(disks: Disks, *words: str) -> None:
    """Refused without consent, and with consent for another disk; nothing is written."""
    before = _content(disks[0])
    stripe = ("data", "stripe", disks[:2])
    for overwrite in ([], disks[1:2]):
        error = refused(pool(NAME, stripe, overwrite=overwrite), "DSG-DISK", disks[0], *words)
        assert "overwrite" in error.next_step
    assert _content(disks[0]) == before


def _taken(disks: Disks) -> None:
    """With consent for this disk, it is cleared and used; the second run has nothing to do."""
    stripe = ("data", "stripe", disks[:2])
    # By another of its paths than the one in the layout.
    done = hold(pool(NAME, stripe, overwrite=[os.path.realpath(disks[0])]))
    assert done[-1] == f"zpool create {NAME} {disks[0]} {disks[1]}", done
    assert any(command.startswith("wipefs --all") for command in done), done


def file_system(disks: Disks) -> None:
    try:
        sh("mkfs.ext4", "-q", "-F", disks[0])
        _kept(disks, "ext4")
        _taken(disks)
    finally:
        clean([NAME], disks)


def partition_table(disks: Disks) -> None:
    """A table alone, and one with something in a partition."""
    try:
        _sfdisk(disks[0])
        _kept(disks, "dos", "empty partition")
        sh("mkfs.ext4", "-q", "-F", f"{os.path.realpath(disks[0])}1")
        _kept(disks, "dos", "ext4")
        _taken(disks)
    finally:
        clean([NAME], disks)


def a_partition_as_a_disk(disks: Disks) -> None:
    """A blank one needs no consent; the disk around it is refused while a pool is on it."""
    try:
        _sfdisk(disks[0], _DOS + "start=22528, size=262144, type=83\n")
        second = f"{disks[0]}-part2"
        assert hold(pool(NAME, ("data", "stripe", [second]))) == [f"zpool create {NAME} {second}"]
        plan = pool("another", ("data", "stripe", disks[:1]), overwrite=disks)
        refused(plan, "DSG-DISK", f"imported pool '{NAME}'")
    finally:
        clean([NAME], disks)


def unknown_data(disks: Disks) -> None:
    """Nothing that any tool knows: at the start, at the very end, or in between as of a lost table."""
    with open(disks[0], "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
    for offset, content in (
        (4096, b"the only copy"),
        (size - 4096, b"the only copy"),
        (size // 3, b"the only copy" * 100_000),
    ):
        try:
            with open(disks[0], "r+b") as stream:
                stream.seek(offset)
                stream.write(content)
            _kept(disks, "unknown kind")
            _taken(disks)
        finally:
            clean([NAME], disks)


def mounted(disks: Disks) -> None:
    """Consent does not help: what is in use is never touched."""
    try:
        sh("mkfs.ext4", "-q", "-F", disks[0])
        os.makedirs("/mnt/dsg", exist_ok=True)
        sh("mount", disks[0], "/mnt/dsg")
        plan = pool(NAME, ("data", "stripe", disks[:2]), overwrite=disks)
        refused(plan, "DSG-DISK", disks[0], "mounted at /mnt/dsg")
        sh("umount", "/mnt/dsg")
    finally:
        clean([NAME], disks)


def swap_and_exclusive_use(disks: Disks) -> None:
    plan = pool(NAME, ("data", "stripe", disks[:2]), overwrite=disks)
    try:
        sh("mkswap", disks[0])
        sh("swapon", disks[0])
        refused(plan, "DSG-DISK", "is swap")
        sh("swapoff", disks[0])
        claimed = os.open(disks[0], os.O_RDWR | os.O_EXCL)
        refused(plan, "DSG-DISK", "in use")
        os.close(claimed)
    finally:
        sh("swapoff", disks[0], check=False)
        clean([NAME], disks)


def member_of_an_imported_pool(disks: Disks) -> None:
    """Of any role, and under any path; consent does not help."""
    roles = [("data", "stripe", disks[:1]), ("log", "stripe", disks[1:2])]
    roles += [("cache", "stripe", disks[2:3]), ("spare", "stripe", disks[3:4])]
    try:
        hold(pool("another", *roles))
        before = sh("zpool", "status", "-P", "another")
        # Partition 9 is blank and nobody's, and it lies on a disk of the pool.
        parts = [f"{disks[0]}-part1", f"{disks[0]}-part9"]
        paths = [os.path.realpath(disks[0]), *parts, *disks[:4]]
        for path in paths:
            plan = pool(NAME, ("data", "stripe", [disks[4], path]), overwrite=disks)
            refused(plan, "DSG-DISK", path, "imported pool 'another'")
        assert sh("zpool", "status", "-P", "another") == before
    finally:
        clean(["another", NAME], disks)


def member_of_an_exported_pool(disks: Disks) -> None:
    """With the pool's name and GUID; caches and spares do not tell it."""
    roles = [("data", "stripe", disks[:1]), ("cache", "stripe", disks[1:2])]
    roles += [("spare", "stripe", disks[2:3])]
    try:
        hold(pool("another", *roles))
        guid = sh("zpool", "get", "-Hpo", "value", "guid", "another").strip()
        sh("zpool", "export", "another")
        _kept([disks[0], disks[4]], "exported pool 'another'", guid)
        _kept([disks[1], disks[4]], "as a cache")
        _kept([disks[2], disks[4]], "as a spare")
        _taken([disks[0], disks[4]])
        assert "another" not in sh("zpool", "import", check=False)
    finally:
        clean(["another", NAME], disks)


def of_a_destroyed_pool(disks: Disks) -> None:
    """It could still be brought back, so it counts."""
    try:
        hold(pool("another", ("data", "stripe", disks[:1])))
        sh("zpool", "destroy", "another")
        _kept(disks, "destroyed pool 'another'")
        _taken(disks)
    finally:
        clean(["another", NAME], disks)


def of_a_pool_that_was_not_exported(disks: Disks) -> None:
    """It may be in use on another host: told so, and never overwritten unasked."""
    try:
        hold(pool(NAME, ("data", "stripe", disks[:1])))
        sh("zpool", "sync", NAME)
        device = f"{os.path.realpath(disks[0])}1"
        in_use = _label(device)
        sh("zpool", "export", NAME)
        with open(device, "r+b") as stream:
            stream.write(in_use)
            stream.flush()
            os.fsync(stream.fileno())
        plan = pool("another", ("data", "stripe", disks[:1]))
        refused(plan, "DSG-DISK", f"pool '{NAME}' that was not exported", "last used by host1")
    finally:
        clean([NAME], disks)


def _label(device: str) -> bytes:
    with open(device, "rb") as stream:
        return stream.read(256 << 10)


def consent_for_one_of_two(disks: Disks) -> None:
    """It counts for that disk alone."""
    try:
        for disk in disks[:2]:
            sh("mkfs.ext4", "-q", "-F", disk)
        before = [_content(disk) for disk in disks[:2]]
        mirror = ("data", "mirror", disks[:2])
        error = refused(pool(NAME, mirror, overwrite=disks[:1]), "DSG-DISK", disks[1], "ext4")
        assert not any(line.startswith(disks[0]) for line in error.details), error.details
        assert [_content(disk) for disk in disks[:2]] == before
        hold(pool(NAME, mirror, overwrite=disks))
    finally:
        clean([NAME], disks)


def growth_looks_at_disks_as_well(disks: Disks) -> None:
    try:
        hold(pool(NAME, ("data", "stripe", disks[:1])))
        sh("mkfs.ext4", "-q", "-F", disks[1])
        both = ("data", "stripe", disks[:2])
        refused(pool(NAME, both, extend=True), "DSG-DISK", disks[1], "ext4")
        done = hold(pool(NAME, both, extend=True, overwrite=disks[1:2]))
        assert done[-1] == f"zpool add {NAME} {disks[1]}", done
    finally:
        clean([NAME], disks)


def _sfdisk(disk: str, table: str = _DOS) -> None:
    subprocess.run(["sfdisk", "--quiet", disk], input=table, text=True, check=True)
    sh("udevadm", "settle")
    for _attempt in range(50):
        if os.path.exists(f"{os.path.realpath(disk)}1"):
            return
        time.sleep(0.1)
    raise AssertionError("no partition appeared")
