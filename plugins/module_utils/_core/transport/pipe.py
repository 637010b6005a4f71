# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two file descriptors as one channel."""

from __future__ import annotations

import fcntl
import os
import select

from .frames import Bytes

_BUFFER = 1 << 18
_PIPE_SIZE = 1 << 20
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class FdPipe:
    """Reads from one descriptor and writes to another, which are its own from now on."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = os.fdopen(read_fd, "rb", _BUFFER)
        self._read_fd = read_fd
        self._write_fd = write_fd
        for fd in (read_fd, write_fd):
            _enlarge(fd)

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""
        return self._reader.read(size)

    def read_line(self, limit: int) -> bytes:
        """Return a line, or what there is of it at the end or at ``limit`` bytes."""
        return self._reader.readline(limit)

    def write(self, *buffers: Bytes) -> None:
        """Write all of the buffers."""
        views = [memoryview(buffer) for buffer in buffers if len(buffer)]
        while views:
            count = os.writev(self._write_fd, views)
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if views:
                views[0] = views[0][count:]

    def has_input(self) -> bool:
        """Tell whether something new has come in, or the channel has ended."""
        return self.wait_input(0)

    def wait_input(self, seconds: float) -> bool:
        """Wait until :meth:`has_input`; tell whether it is so."""
        return bool(select.select([self._read_fd], [], [], seconds)[0])

    def end_output(self) -> None:
        """Close the writing half: the other side sees the end."""
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def close(self) -> None:
        """Close both halves."""
        self.end_output()
        self._reader.close()


def _enlarge(fd: int) -> None:
    """Let a pipe hold a whole frame; a socket, or a user's limit, leaves it as it is."""
    try:
        fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_SIZE)
    except OSError:
        return
