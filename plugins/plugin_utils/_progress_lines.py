# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress for a person, one line at a time: rarely in a log, every second on a terminal.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ansible_collections.dsg.storage.plugins.module_utils._core.sync.progress import Progress
from ansible_collections.dsg.storage.plugins.module_utils._report import size

NONE, AUTO = "none", "auto"
_ON_TERMINAL, _IN_LOG = 1.0, 10.0


class ProgressLines:
    """Says how far the work with one host is, through ``say``; a short run says nothing."""

    def __init__(self, host: str, say: Callable[[str], None], interval: float) -> None:
        self._host = host
        self._say = say
        self._interval = interval
        self._next = time.monotonic() + interval

    def __call__(self, progress: Progress) -> None:
        """Take a moment of the run."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._say(line(self._host, progress))


def interval() -> float:
    """Return the seconds between two lines: Ansible's own output tells who reads them."""
    try:
        where = os.readlink(f"/proc/{os.getppid()}/fd/1")  # a worker's own is turned away
    except OSError:
        return _IN_LOG
    return _ON_TERMINAL if where.startswith(("/dev/pts/", "/dev/tty")) else _IN_LOG


def line(host: str, progress: Progress) -> str:
    """Return one line: host, phase, files, bytes, rate and remaining time, where they are known."""
    parts = [f"{host}: {progress.phase}"]
    if progress.files_total:
        parts.append(f"{progress.files:,}/{progress.files_total:,} files")
    if progress.bytes_total:
        parts.append(f"{size(progress.bytes)} of {size(progress.bytes_total)}")
        if progress.seconds > 0 and progress.bytes:
            rate = progress.bytes / progress.seconds
            parts.append(f"{size(rate)}/s")
            left = max(0, progress.bytes_total - progress.bytes) / rate
            parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return ``75 s`` as ``1:15``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
