# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who keeps a replaced tree busy: processes inside file systems that no path leads to any more."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

_LISTED = 10


def holders() -> list[str]:
    """Return ``pid 7 (less)`` for each process with its directory or a file in a detached tree.

    Empty where nobody is seen: the kernel may be sending a snapshot, or /proc may be closed to us.
    """
    mounted = _mounted_devices()
    found = []
    for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        if any(device not in mounted for device in _devices(pid)):
            found.append(f"pid {pid} ({_name(pid)})")
    return found[:_LISTED]


def _mounted_devices() -> set[int]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        pairs = [line.split(" ")[2].split(":") for line in stream]
    return {os.makedev(int(major), int(minor)) for major, minor in pairs}


def _devices(pid: str) -> Iterator[int]:
    """Yield the anonymous devices of the files and directories that a process is in."""
    folder = f"/proc/{pid}"
    try:
        links = ["cwd", "root", *(f"fd/{fd}" for fd in os.listdir(f"{folder}/fd"))]
    except OSError:  # it ended, or it is not ours to look at
        return
    for link in links:
        try:
            seen = os.stat(f"{folder}/{link}")
            target = os.readlink(f"{folder}/{link}")
        except OSError:
            continue
        is_file = stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)
        if is_file and os.major(seen.st_dev) == 0 and not target.startswith("/memfd:"):
            yield seen.st_dev


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return "ended"
