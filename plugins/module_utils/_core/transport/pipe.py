# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two file descriptors as one channel."""

from __future__ import annotations

import _thread
import fcntl
import os
import select

from .frames import Bytes

_READ = 1 << 18
_PIPE_SIZE = 1 << 20
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_HERE = select.POLLIN | select.POLLHUP | select.POLLERR


class Silence(EOFError):
    """Nothing was heard from the other side for longer than it is given."""


class FdPipe:
    """Reads from one descriptor and writes to another, which are its own from now on.

    ``early`` is what was read before.
    """

    def __init__(self, read_fd: int, write_fd: int, early: bytes = b"") -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._early = early
        self._writing = _thread.allocate_lock()
        self._patience = 0.0
        for fd in (read_fd, write_fd):
            _enlarge(fd)

    def expect_signs(self, seconds: float) -> None:
        """Raise :class:`Silence` from now on where so long nothing comes in (0: wait without end).

        A side that does not take what is written, but says something now and then, is waited for.
        """
        self._patience = seconds
        os.set_blocking(self._write_fd, not seconds)

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""
        if size <= len(self._early):
            data, self._early = self._early[:size], self._early[size:]
            return data
        parts, left = [self._early], size - len(self._early)
        self._early = b""
        while left:
            part = self._some(max(left, _READ))
            if not part:
                break
            if len(part) > left:
                part, self._early = part[:left], part[left:]
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def read_line(self, limit: int) -> bytes:
        """Return a line, or what there is of it at the end or at ``limit`` bytes."""
        while b"\n" not in self._early and len(self._early) < limit:
            part = self._some(_READ)
            if not part:
                break
            self._early += part
        end = self._early.find(b"\n", 0, limit) + 1 or limit
        line, self._early = self._early[:end], self._early[end:]
        return line

    def _some(self, size: int) -> bytes:
        if self._patience and not _wait(self._read_fd, _HERE, self._patience):
            raise Silence
        return os.read(self._read_fd, size)

    def write(self, *buffers: Bytes) -> None:
        """Write all of the buffers, with nothing in between."""
        views = [memoryview(buffer) for buffer in buffers if len(buffer)]
        with self._writing:
            while views:
                try:
                    count = os.writev(self._write_fd, views)
                except BlockingIOError:
                    self._await_room()
                    continue
                while views and count >= len(views[0]):
                    count -= len(views.pop(0))
                if views:
                    views[0] = views[0][count:]

    def _await_room(self) -> None:
        """Wait until something can be written; take in what comes meanwhile."""
        poll = select.poll()
        poll.register(self._read_fd, _HERE)
        poll.register(self._write_fd, select.POLLOUT)
        while True:
            ready = {fd for fd, _unused in poll.poll(self._patience * 1000)}
            if self._write_fd in ready:
                return
            if not ready:
                raise Silence
            part = os.read(self._read_fd, _READ)
            if not part:
                raise BrokenPipeError
            self._early += part

    def offer(self, data: bytes) -> None:
        """Write a few bytes if that needs no waiting; from any thread."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if self._write_fd >= 0 and _wait(self._write_fd, select.POLLOUT, 0):
                os.write(self._write_fd, data)
        except OSError:  # whoever writes or reads next is told
            return
        finally:
            self._writing.release()

    def has_input(self) -> bool:
        """Tell whether something new has come in, or the channel has ended."""
        return self.wait_input(0)

    def wait_input(self, seconds: float) -> bool:
        """Wait until :meth:`has_input`; tell whether it is so."""
        return bool(self._early) or _wait(self._read_fd, _HERE, seconds)

    def end_output(self) -> None:
        """Close the writing half: the other side sees the end."""
        with self._writing:
            fd, self._write_fd = self._write_fd, -1
            if fd >= 0:
                os.close(fd)

    def close(self) -> None:
        """Close both halves."""
        self.end_output()
        fd, self._read_fd = self._read_fd, -1
        if fd >= 0:
            os.close(fd)


def _wait(fd: int, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(seconds * 1000))


def _enlarge(fd: int) -> None:
    """Let a pipe hold a whole frame; a socket, or a user's limit, leaves it as it is."""
    try:
        fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_SIZE)
    except OSError:
        return
