# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root's own directories below ``/run``: locks, and the private mounts of transactions."""

from __future__ import annotations

import os
import stat

from ...errors import RepositoryError
from .layout import RUN


def ensure_run() -> None:
    """Make ``/run/dsg``; everybody may pass, only root may write."""
    os.makedirs(os.path.join(RUN, "mnt"), 0o755, exist_ok=True)


def make_private(directory: str, gid: int) -> None:
    """Make a mountpoint inside a directory of its own, which only root and one group may enter."""
    ensure_run()
    holder = os.path.dirname(directory)
    os.makedirs(holder, 0o700, exist_ok=True)
    if gid:
        os.chown(holder, 0, gid)
        os.chmod(holder, 0o710)
    os.makedirs(directory, 0o700, exist_ok=True)


def is_private(directory: str, gid: int) -> bool:
    """Tell whether a mountpoint is for that group (0: for root alone) to enter, as it was made."""
    found = os.lstat(os.path.dirname(directory))
    mode = 0o710 if gid else 0o700
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, mode)


def require_private(directory: str, gid: int) -> None:
    """Stop where others than root and that group may enter the mountpoint: somebody else had it made."""
    if not is_private(directory, gid):
        raise RepositoryError(
            "somebody else has mounted the transaction's dataset",
            object=directory,
            next_step="Run again.",
        )


def remove_private(directory: str) -> None:
    """Remove a mountpoint and the directory that holds it, as far as they are there."""
    for path in (directory, os.path.dirname(directory)):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue


def hand_over(directory: str, uid: int, gid: int) -> None:
    """Give a dataset's root directory, as OpenZFS made it, to the user who is to fill it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # With snapdir=visible a new dataset shows its snapshots' directory.
        if os.fstat(fd).st_uid == 0 and set(os.listdir(fd)) <= {".zfs"}:
            os.fchown(fd, uid, gid)
    finally:
        os.close(fd)
