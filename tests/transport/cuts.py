# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts of a connection: at a frame's boundary, by the end of a process on either side."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _core.transport.channel import Channel
from _core.transport.frames import HEADER

from tests.tools.sshd import Sshd
from tests.transport.wrapped import Wrapped, wrapped

Strike = Callable[[], None]


class Watched(Wrapped):
    """A channel that tells of every frame before it goes out, and before the next one is read."""

    def __init__(self, channel: Channel, boundary: Callable[[], None]) -> None:
        super().__init__(channel)
        self._boundary = boundary

    def write(self, *buffers: Any) -> None:
        self._boundary()
        self._channel.write(*buffers)

    def read(self, size: int) -> bytes:
        if size == HEADER.size:
            self._boundary()
        return self._channel.read(size)


class Boundaries:
    """Counts the boundaries of frames in the block; strikes at the one with the number ``at``."""

    def __init__(self, at: int = -1, strike: Strike = lambda: None) -> None:
        self.at = at
        self.count = 0
        self._strike = strike

    def __call__(self) -> None:
        number, self.count = self.count, self.count + 1
        if number == self.at:
            self._strike()

    @contextmanager
    def watched(self) -> Iterator[Boundaries]:
        """Watch the connections that are made in the block."""
        with wrapped(lambda channel: Watched(channel, self)):
            yield self


def below(pid: int) -> list[int]:
    """Return the processes below a process, the nearest first."""
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [int(child) for child in children.split()]
    return found[1:]


def kill(pids: list[int]) -> None:
    """Kill processes that may be gone already."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def cut_link(server: Sshd) -> None:
    """Kill the server's half of every connection: the agents see the end of their input."""
    kill([pid for pid in below(server.pid) if _name(pid).startswith("sshd")])


def switch_off(server: Sshd) -> None:
    """Kill everything that runs for a connection, agents included, as a host that goes down does."""
    kill(below(server.pid))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
