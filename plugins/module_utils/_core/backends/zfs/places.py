# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root's own directories below ``/run``: locks, and the private mounts of transactions."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from ...errors import RepositoryError
from ...posix import mounted
from ...zfs import mounts
from .layout import RUN

_PASSABLE = 0o755
_IN_THE_MAKING = 0o500
"""The mode of a mountpoint's directory until nothing can go wrong any more."""


def ensure_run() -> None:
    """Make ``/run/dsg``; everybody may pass, only root may write, whatever root's umask is."""
    for directory in (RUN, os.path.join(RUN, "mnt")):
        with suppress(FileExistsError):
            os.mkdir(directory, _PASSABLE)
        if stat.S_IMODE(os.lstat(directory).st_mode) != _PASSABLE:
            os.chmod(directory, _PASSABLE)


def make_private(directory: str, gid: int) -> None:
    """Make a mountpoint inside a directory of its own, both new, which only root may enter yet.

    The directory's group is whose the mount will be: see :func:`admit`.
    """
    ensure_run()
    # What an older one was opened or mounted as elsewhere is not to show what is mounted here.
    remove_private(directory)
    holder = os.path.dirname(directory)
    os.mkdir(holder, _IN_THE_MAKING)
    os.chown(holder, 0, gid)  # this process may have another group
    os.mkdir(directory, 0o700)


def admit(directory: str, gid: int) -> None:
    """Let those in that the mountpoint was made for."""
    os.chmod(os.path.dirname(directory), _mode(gid))


def is_private(directory: str, gid: int) -> bool:
    """Tell whether a mountpoint was made for that group, and nobody else may enter it."""
    found = os.lstat(os.path.dirname(directory))
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, _mode(gid))


def _mode(gid: int) -> int:
    return 0o710 if gid else 0o700


def is_roots(directory: str) -> bool:
    """Tell whether root has mounted something there for itself."""
    if not mounts.mounted_at(directory):
        return False
    try:
        return os.lstat(os.path.dirname(directory)).st_gid == 0
    except FileNotFoundError:  # it was unmounted and removed meanwhile
        return False


def mount_alone(dataset: str, directory: str) -> None:
    """Mount a transaction's dataset writably; stop where anybody else could be at work in it."""
    try:
        mounts.mount(dataset, directory, published=directory)
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        raise _not_alone(dataset, mounts.directories_of(dataset)) from exc
    require_sole(dataset, directory)
    mounts.make_writable(dataset, directory)


def require_sole(dataset: str, directory: str) -> None:
    """Stop where what is mounted there is not that, read-only, and mounted nowhere else.

    Its name alone tells nothing: a mounted dataset can be renamed.
    """
    found = mounted.mounts()
    here = [mount for mount in found if mount.point == directory]  # twice where /run is on itself
    devices = {mount.device for mount in here}
    others = [m.point for m in found if m.device in devices and not _shows(m.point, directory)]
    is_it = all(mount.source == dataset and mount.is_read_only for mount in here)
    if len(devices) != 1 or not is_it or others:
        raise _not_alone(dataset, others)


def _not_alone(dataset: str, points: list[str]) -> RepositoryError:
    return RepositoryError(
        "somebody has this transaction's dataset mounted elsewhere, is in it, or renamed it",
        object=dataset,
        unchanged="The published tree is unchanged.",
        next_step="Have it unmounted and left, then run again.",
        details=points,
    )


def _shows(point: str, directory: str) -> bool:
    """Tell whether a mount is the one at ``directory``, or that seen where ``/run`` is bound as well."""
    if point == directory:
        return True
    try:
        return os.path.samestat(
            os.stat(os.path.dirname(point)), os.stat(os.path.dirname(directory))
        )
    except OSError:
        return False


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
