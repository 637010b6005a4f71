# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command says beside its output: it may say as much as it likes, only the end is kept."""

from __future__ import annotations

import os
import select
import threading

KEPT = 8192
"""Bytes at the end that are kept."""
_READ = 1 << 16


class Tail(threading.Thread):
    """Reads a pipe beside whatever else is done, so that who writes to it is never kept waiting.

    ``end`` is the writing end, to be given to a command and then to be closed by :meth:`given`. The pipe
    may stay open in another process for long, so it is not its end that ends this, but :meth:`close`.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._fd, self.end = os.pipe()
        self._wake_fd, self._waking_fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._kept = b""
        self._reading = threading.Lock()

    def given(self) -> None:
        """Close our copy of the writing end, and begin to read."""
        os.close(self.end)
        self.start()

    def run(self) -> None:
        """Read until the end, or until this is closed."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake_fd, select.POLLIN)
        while self._wake_fd not in {fd for fd, _unused in poll.poll()}:
            if self._read_some() == 0:
                return

    def _read_some(self) -> int | None:
        """Read what is there; return the number of bytes, 0 at the end, None if nothing is there now."""
        with self._reading:
            try:
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                return None
            self._kept = (self._kept + data)[-KEPT:]
            return len(data)

    def said(self) -> str:
        """Return the end of all that has been written by now."""
        if self._fd >= 0:
            self._read_some()  # the thread may not have come to it yet; a pipe holds no more
        return self._kept.decode("utf-8", "replace")

    def close(self) -> None:
        """End the reading; what is kept stays."""
        if self._fd < 0:
            return
        os.write(self._waking_fd, b"\n")
        self.join()
        for fd in (self._fd, self._wake_fd, self._waking_fd):
            os.close(fd)
        self._fd = -1
