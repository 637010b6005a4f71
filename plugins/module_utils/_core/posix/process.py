# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a process is still the one that it was: a number alone may be another one's by now."""

from __future__ import annotations

import os
from typing import NamedTuple


class Process(NamedTuple):
    """A process, told from every other one; ``start`` is in clock ticks since boot.

    ``host`` is the node's name, ``boot`` one boot of it, ``namespace`` what the number counts in.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def boot_id() -> str:
    """Return what tells this boot of the host from any other."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def identify(pid: int) -> Process | None:
    """Return the process that has this number now, None where there is none."""
    start = _start(pid)
    if start is None:
        return None
    return Process(os.uname().nodename, boot_id(), os.readlink("/proc/self/ns/pid"), pid, start)


def is_alive(process: Process) -> bool | None:
    """Tell whether a process still runs; None where that cannot be seen from here."""
    if process.host != os.uname().nodename:
        return None
    if process.boot != boot_id():
        return False
    if process.namespace != os.readlink("/proc/self/ns/pid"):
        return None
    return _start(process.pid) == process.start


def _start(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            state, *fields = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in (b"Z", b"X") else int(fields[18])
