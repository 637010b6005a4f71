# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes over connections: how many there are, bytes each way, what is asked, how often it is waited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _core.transport.channel import Channel

from tests.transport.wrapped import Wrapped, wrapped

_CALL = re.compile(rb'"do": "([a-z_]+)"')


class Traffic:
    """Counts of the connections that were made in a block.

    ``turns`` tells how often something was read behind what was written: no fewer than the round trips.
    """

    def __init__(self) -> None:
        self.connections = self.sent = self.received = self.turns = 0
        self.verbs: list[str] = []

    def went_out(self, data: bytes) -> None:
        self.sent += len(data)
        self.verbs += [found.decode() for found in _CALL.findall(data)]


class _Counted(Wrapped):
    def __init__(self, channel: Channel, traffic: Traffic) -> None:
        super().__init__(channel)
        self._traffic = traffic
        self._wrote = False
        traffic.connections += 1

    def write(self, *buffers: Any) -> None:
        self._wrote = True
        self._traffic.went_out(b"".join(buffers))
        self._channel.write(*buffers)

    def read(self, size: int) -> bytes:
        self._turned()
        return self._arrived(self._channel.read(size))

    def read_line(self, limit: int) -> bytes:
        self._turned()
        return self._arrived(self._channel.read_line(limit))

    def _turned(self) -> None:
        self._traffic.turns += self._wrote
        self._wrote = False

    def _arrived(self, data: bytes) -> bytes:
        self._traffic.received += len(data)
        return data


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count what goes over the connections that are made in the block."""
    traffic = Traffic()
    with wrapped(lambda channel: _Counted(channel, traffic)):
        yield traffic
