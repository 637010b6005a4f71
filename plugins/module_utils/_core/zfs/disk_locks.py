# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps partitions in place while OpenZFS makes a disk a part of a pool.

``zpool`` partitions a disk, closes it and opens the partition. udev sees the closing and reads the
partition table again, by which all partitions go and come: on a busy host just when they are opened
("one or more devices is currently unavailable"). It does so under an exclusive BSD lock on the disk
(``synthesize_change`` in the sources of systemd-udevd), and handles the events that make the links
under a shared one (systemd.io, "Locking Block Device Access"). That page asks for an exclusive lock; a
shared one forbids the first and leaves the second, for which ``zpool`` waits.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ..errors import from_oserror
from . import disks
from .steps import DiskError

_PATIENCE = 60.0
"""Seconds to wait for a program that holds a disk for itself, as partitioners do."""
_PAUSE = 0.05


@contextmanager
def shared(paths: Iterable[str], patience: float = _PATIENCE) -> Iterator[None]:
    """Hold a shared lock on the disks that paths lead to, on the whole one for a partition.

    Raises :class:`DiskError` where another program keeps a disk to itself for ``patience`` seconds.
    """
    with ExitStack() as held:
        deadline = time.monotonic() + patience
        for path in paths:
            device = disks.device(path)
            (whole,) = disks.above(device) or [device]
            try:
                fd = os.open(whole, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                held.callback(os.close, fd)
                _lock(fd, path, deadline)
            except OSError as error:
                raise from_oserror(error, "locking the disk (this needs root)") from None
        yield


def _lock(fd: int, path: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DiskError(
                    "another program keeps this disk locked",
                    object=path,
                    next_step="Let it end (a partitioner, a formatting tool), and run again.",
                ) from None
        time.sleep(_PAUSE)
