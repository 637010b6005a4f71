# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks that the kernel releases when their process dies: flock(2), never a file to delete."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import LockedError
from . import processes
from .durable import write_all
from .progress import meanwhile

_POLL_SECONDS = 0.05

WAITING = "waiting for a lock"
"""The phase of who waits, as a person is told of it."""


@contextmanager
def locked(
    path: str,
    *,
    timeout: float,
    shared: bool = False,
    what: str,
    mode: int = 0o644,
    is_made: bool = False,
) -> Iterator[int]:
    """Hold the lock file ``path`` (created if absent) for the block; yields its descriptor.

    Waits up to ``timeout`` seconds, then raises :class:`LockedError` that names the holder.
    ``shared`` holders only exclude exclusive ones. Whoever may open it, by ``mode``, can hold it for ever.
    One that somebody else has made for us (``is_made``) is only read: it need not be ours to write.
    """
    only_read = is_made or (shared and os.path.exists(path))
    flags = os.O_RDONLY if only_read else os.O_RDWR | os.O_CREAT
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with meanwhile(WAITING):
            _acquire(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout, what)
        if not shared and not only_read:
            _sign(fd)
        yield fd
    finally:
        os.close(fd)


def _acquire(fd: int, kind: int, timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"another process works on it ({_holders(fd) or 'holder unknown'})", object=what
                ) from None
        time.sleep(_POLL_SECONDS)


def _holders(fd: int) -> str:
    """Return who holds a lock, as this system's kernel tells, else as the last one to sign did."""
    here = processes.lock_holders(f"/proc/self/fd/{fd}", shared=True)
    if here:
        return ", ".join(f"pid {one.pid}, {one.command}, of {one.user}" for one in here)
    return os.pread(fd, 200, 0).decode("utf-8", "replace").strip()


def _sign(fd: int) -> None:
    """Leave a note for whoever waits on another system, or in another namespace of processes."""
    note = f"pid {os.getpid()} on {os.uname().nodename}\n".encode()
    try:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        write_all(fd, note)
    except OSError:  # a full disk, say: recovery has to work there, and frees some of it
        return
