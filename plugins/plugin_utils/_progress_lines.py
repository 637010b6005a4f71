# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress for a person, a line at each interval: every ten seconds in a log, every second on a terminal.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.dsg.storage.plugins.module_utils._core.posix.progress import (
    Meter,
    Progress,
)
from ansible_collections.dsg.storage.plugins.module_utils._report import size

NONE, AUTO = "none", "auto"
_ON_TERMINAL, _IN_LOG = 1.0, 10.0


@contextmanager
def progress_lines(host: str, say: Callable[[str], None], interval: float) -> Iterator[None]:
    """Say how far the work with one host is, during the block; a short one says nothing.

    A thread looks at the meter, so that lines come also while nothing goes on, or one call takes long.
    """
    ended = threading.Event()

    def tell() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the run
        while not ended.wait(interval):
            say(line(host, meter.moment()))

    with Meter() as meter:
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()


def interval() -> float:
    """Return the seconds between two lines: Ansible's own output tells who reads them."""
    try:
        where = os.readlink(f"/proc/{os.getppid()}/fd/1")  # a worker's own is turned away
    except OSError:
        return _IN_LOG
    return _ON_TERMINAL if where.startswith(("/dev/pts/", "/dev/tty")) else _IN_LOG


def line(host: str, progress: Progress) -> str:
    """Return one line: host, phase, files, bytes and rate, where they are known, and a time.

    That is the remaining one, or how long the phase takes already.
    """
    parts = [f"{host}: {progress.phase}"]
    if progress.files_total:
        parts.append(f"{progress.files:,}/{progress.files_total:,} files")
    elif progress.files:
        parts.append(f"{progress.files:,} files")
    if progress.bytes_total:
        parts.append(f"{size(progress.bytes)} of {size(progress.bytes_total)}")
    elif progress.bytes:
        parts.append(size(progress.bytes))
    rate = progress.bytes / progress.seconds if progress.seconds > 0 else 0
    if rate:
        parts.append(f"{size(rate)}/s")
    if rate and progress.bytes_total:
        left = max(0, progress.bytes_total - progress.bytes) / rate
        parts.append(f"{duration(left)} left")
    else:
        parts.append(f"{duration(progress.seconds)} so far")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return ``75 s`` as ``1:15``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
