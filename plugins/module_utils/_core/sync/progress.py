# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a run is: counted by the engine, told to whoever asked."""

from __future__ import annotations

import time
from collections.abc import Callable
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


Report = Callable[[Progress], None]


class Meter:
    """Counts, and tells ``report`` of it: at the beginning of a phase, and as it goes on."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._phase = ""
        self._total = (0, 0)
        self._began = 0.0
        self._files = self._bytes = 0

    def begin(self, phase: str, files: int = 0, size: int = 0) -> None:
        """Begin a phase of so many files and bytes."""
        self._phase, self._total = phase, (files, size)
        self._files = self._bytes = 0
        self._began = time.monotonic()
        self._tell()

    def advance(self, files: int, size: int) -> None:
        """Add files and bytes that are done."""
        self._files += files
        self._bytes += size
        self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            files, size = self._total
            took = time.monotonic() - self._began
            self._report(Progress(self._phase, self._files, files, self._bytes, size, took))
