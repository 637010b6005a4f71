# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root's own directories below ``/run``: locks, and the private mounts of transactions."""

from __future__ import annotations

import os
import stat

from ...errors import RepositoryError
from ...posix import mounted
from ...zfs import mounts
from .layout import RUN


def ensure_run() -> None:
    """Make ``/run/dsg``; everybody may pass, only root may write."""
    os.makedirs(os.path.join(RUN, "mnt"), 0o755, exist_ok=True)


def make_private(directory: str, gid: int) -> None:
    """Make a mountpoint inside a directory of its own, both new, which only root may enter yet.

    The directory's group is whose the mount will be: see :func:`admit`.
    """
    ensure_run()
    # What an older one was opened or mounted as elsewhere is not to show what is mounted here.
    remove_private(directory)
    holder = os.path.dirname(directory)
    os.mkdir(holder, 0o700)
    if gid:
        os.chown(holder, 0, gid)
    os.mkdir(directory, 0o700)


def admit(directory: str, gid: int) -> None:
    """Let the group in that the mountpoint was made for (0: nobody but root)."""
    if gid:
        os.chmod(os.path.dirname(directory), 0o710)


def is_private(directory: str, gid: int) -> bool:
    """Tell whether a mountpoint was made for that group, and nobody else may enter it."""
    found = os.lstat(os.path.dirname(directory))
    mode = 0o710 if gid else 0o700
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, mode)


def is_roots(directory: str) -> bool:
    """Tell whether root has mounted something there for itself."""
    return bool(mounts.mounted_at(directory)) and os.lstat(os.path.dirname(directory)).st_gid == 0


def require_sole(directory: str) -> None:
    """Stop where what is mounted there is mounted elsewhere as well: others could be at work in it.

    Its name tells nothing: a mounted dataset can be renamed.
    """
    found = mounted.mounts()
    devices = {mount.device for mount in found if mount.point == directory}
    for mount in found:
        if mount.device in devices and mount.point != directory:
            raise RepositoryError(
                f"the transaction's dataset is mounted at {mount.point} as well",
                object=directory,
                next_step="Run `dsg.storage.recover`, then run again.",
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
