# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seconds spent in each phase of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .progress import Meter


class Stopwatch:
    """Adds up wall seconds by phase name, and tells ``meter`` of each phase."""

    def __init__(self, meter: Meter | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.meter = meter or Meter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's time for ``name``."""
        self.meter.begin(name)
        start = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 6)
