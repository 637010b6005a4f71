# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a process is: counted where bytes are read and copied, looked at by whoever shows it.

A process does one run. So what reads and copies need not be handed a meter: it counts for the one that the
process has, if any.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple


class Progress(NamedTuple):
    """A moment of a run: what of ``files`` and ``bytes`` is done in a phase that took ``seconds``.

    The totals are 0 where a phase has none.
    """

    phase: str
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    seconds: float


class Meter:
    """Counts for the process during the ``with`` block, and for workers that it forks meanwhile.

    The counts are in memory that is shared with them, with a place for each: nobody waits for anybody.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)  # far more places than there are workers
        self._counts = memoryview(self._shared).cast("q")
        self._place = 0
        self._meanwhile: tuple[str, float] | None = None
        self.begin("start")

    def __enter__(self) -> Meter:
        global _meter
        _meter = self
        return self

    def __exit__(self, *_unused: object) -> None:
        global _meter
        _meter = None

    def begin(self, phase: str, files: int = 0, size: int = 0) -> None:
        """Begin a phase of so many files and bytes; no worker runs now."""
        self._shared[:] = bytes(len(self._shared))
        self._phase = (phase, files, size, time.monotonic())  # at once, for who looks from a thread

    def advance(self, files: int, size: int) -> None:
        """Add files and bytes that are done."""
        self._counts[self._place] += files
        self._counts[self._place + 1] += size

    def count_as_worker(self, number: int) -> None:
        """Count in a place of its own: this is the process of worker ``number`` (from 1 on)."""
        self._place = 2 * number

    @contextmanager
    def meanwhile(self, phase: str) -> Iterator[None]:
        """Be in a phase for the block, and in the present one again behind it."""
        self._meanwhile = (phase, time.monotonic())
        try:
            yield
        finally:
            self._meanwhile = None

    def moment(self) -> Progress:
        """Return how far it is."""
        now, meanwhile = time.monotonic(), self._meanwhile
        if meanwhile is not None:
            return Progress(meanwhile[0], 0, 0, 0, 0, now - meanwhile[1])
        phase, files, size, began = self._phase
        done = self._counts.tolist()
        return Progress(phase, sum(done[::2]), files, sum(done[1::2]), size, now - began)


_meter: Meter | None = None


def begin(phase: str, files: int = 0, size: int = 0) -> None:
    """Begin a phase of so many files and bytes (0: unknown)."""
    if _meter is not None:
        _meter.begin(phase, files, size)


def advance(files: int, size: int) -> None:
    """Add files and bytes that are done."""
    if _meter is not None:
        _meter.advance(files, size)


def count_as_worker(number: int) -> None:
    """Take note that this process is a worker, one of those that are numbered from 1 on."""
    if _meter is not None:
        _meter.count_as_worker(number)


def meanwhile(phase: str) -> AbstractContextManager[None]:
    """Be in a phase for the block, and in the present one again behind it."""
    return nullcontext() if _meter is None else _meter.meanwhile(phase)
