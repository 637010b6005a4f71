# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs of life, for an agent that holds the repository while its client is busy elsewhere."""

from __future__ import annotations

import threading

from .channel import Channel
from .frames import ALIVE, pack

EVERY = 15.0
"""Seconds between two signs of life."""
PATIENCE = 60.0
"""Seconds without any after which an agent takes its client for gone, and lets go."""


class Alive(threading.Thread):
    """Says every few seconds that this side lives, for the ``with`` block."""

    def __init__(self, channel: Channel, every: float) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self._every = every
        self._ended = threading.Event()

    def run(self) -> None:
        """Say it until the block ends."""
        while not self._ended.wait(self._every):
            self._channel.offer(pack(ALIVE, b""))

    def __enter__(self) -> Alive:
        self.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self.join()
