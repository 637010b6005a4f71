# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who keeps a replaced tree busy: processes inside file systems that no path leads to any more."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator

from ..posix import mounted, processes


def detached() -> list[processes.User]:
    """Return the processes with their directory or a file in a detached tree.

    A path is as the tree has it, from its own root. Empty where nobody is seen: the kernel may be
    sending a snapshot, or /proc may be closed to us.
    """
    here = _mounted_devices("self")
    found = []
    for pid in processes.pids():
        used = {device: path for device, path in _used(pid) if device not in here}
        for device in used.keys() - _mounted_devices(str(pid)) if used else ():
            found.append(processes.describe(pid, used[device]))
            break
    return found[: processes.MOST]


def inside(devices: Collection[int]) -> Iterator[tuple[int, processes.User]]:
    """Yield the processes with their directory or an open file on one of some devices, and that.

    Of many on one device only the first are told.
    """
    told: Counter[int] = Counter()
    for pid in processes.pids():
        for device, path in dict(_used(pid)).items():
            if device in devices and told[device] < processes.MOST:
                told[device] += 1
                yield device, processes.describe(pid, path)


def _mounted_devices(pid: str) -> set[int]:
    """Return the devices that a process sees mounted; none where that is not for us to know."""
    try:
        pairs = [mount.device.split(":") for mount in mounted.mounts(pid)]
    except OSError:
        return set()
    return {os.makedev(int(major), int(minor)) for major, minor in pairs}


def _used(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the anonymous devices of the files and directories that a process is in, and these."""
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
            yield seen.st_dev, target
