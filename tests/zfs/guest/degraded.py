# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools that are not in perfect health: a disk that is gone, and bytes that rotted on one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from _core.program import scrub
from _core.program.report import FINDING
from _core.sync.status import inspect
from guest.lab import Lab, provision, sh, unmount_all

POOL = "frail"
HALVES = ("/root/frail-a", "/root/frail-b")


@contextmanager
def _published(name: str) -> Iterator[Lab]:
    """Give a repository with 8 MiB on a mirror of its own."""
    for half in HALVES:
        with open(half, "wb") as stream:
            stream.truncate(192 << 20)
    sh("zpool", "create", "-O", "mountpoint=none", POOL, "mirror", *HALVES)
    provision(f"{POOL}/dsg", f"/srv/{POOL}")
    lab = Lab(name, f"{POOL}/dsg", f"/srv/{POOL}")
    try:
        with open(f"{lab.copy('wc')}/big", "wb") as stream:
            stream.write(os.urandom(8 << 20))
        lab.sync()
        yield lab
    finally:
        unmount_all(f"/srv/{POOL}")
        sh("zpool", "destroy", "-f", POOL)
        for half in HALVES:
            os.unlink(half)


def a_disk_that_is_gone_is_told() -> None:
    """What is published can be read and written all the same."""
    with _published("halved") as lab:
        assert _health(lab) == "ONLINE"
        sh("zpool", "offline", POOL, HALVES[1])
        assert _health(lab) == "DEGRADED"
        lab.put("a", "1")
        assert lab.sync().snapshot == 2
        lab.clean()
        done = scrub.run(POOL, 0.0)
        assert done.status == FINDING, done
        assert any(HALVES[1] in line and "OFFLINE" in line for line in done.findings), done
        sh("zpool", "online", POOL, HALVES[1])
        sh("zpool", "wait", "-t", "resilver", POOL)
        assert _health(lab) == "ONLINE"


def bytes_that_rotted_are_found() -> None:
    """By the scrub, which names the disk, and is content again once somebody cleared the error."""
    with _published("rotten") as lab:
        assert scrub.run(POOL, 0.0).status == 0
        sh("zpool", "export", POOL)
        with open(HALVES[1], "r+b") as stream:
            stream.seek(4 << 20)  # behind the labels
            stream.write(bytes(180 << 20))
        sh("zpool", "import", "-d", "/root", POOL)
        done = scrub.run(POOL, 0.0)
        assert done.status == FINDING, done
        (disk,) = [line.split() for line in done.findings if HALVES[1] in line]
        assert int(disk[4]) > 0, f"no checksum errors: {disk}"
        lab.sound()
        sh("zpool", "clear", POOL)
        assert scrub.run(POOL, 0.0).status == 0


def _health(lab: Lab) -> str:
    found = inspect(lab.request())
    assert found.unknown == [], found.unknown
    return str((found.space or {})["health"])
