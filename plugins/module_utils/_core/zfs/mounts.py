# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounting without a gap: a new file system appears beneath the old one, which is then lifted off.

Needs Linux 6.5 or newer (MOVE_MOUNT_BENEATH); the calls are not in Python, so they go through
ctypes. Numbers are those of the generic system call table (x86-64, arm64, riscv64 and others).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from ..errors import ArgumentError
from ..posix import mounted

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_BENEATH = 0x200
_MNT_DETACH = 2
_MS_REMOUNT = 32
_UMOUNT_NOFOLLOW = 8
_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024}

SAFE = ("nosuid", "nodev")
"""Options of a mount that nobody but a transaction looks at."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(dataset: str, directory: str, *, published: str, options: Sequence[str] = SAFE) -> None:
    """Mount a dataset read-only at ``directory`` whatever its mountpoint property says.

    ``options`` are of nosuid, nodev and noexec. ``ro`` has to be said: the explicit mount would otherwise override an inherited readonly.
    ``published`` is where the mount will be moved to: OpenZFS mounts snapshots that are looked up in
    ``.zfs/snapshot`` below the path it was given, not below the one that was used.

    OpenZFS does not do it (EBUSY) while somebody has the dataset mounted writably, not even where that
    mount is in no list any more but still in use.
    """
    _mount(dataset, directory, published, ("ro", *options), 0)


def make_writable(dataset: str, directory: str) -> None:
    """Let what :func:`mount` mounted for nobody but this process take writes."""
    _mount(dataset, directory, directory, ("rw", *SAFE), _MS_REMOUNT)


def _mount(
    dataset: str, directory: str, published: str, options: Sequence[str], further: int
) -> None:
    words = (*options, "noatime")
    flags = further | sum(_FLAGS.get(word, 0) for word in words)
    data = ",".join((*words, "zfsutil", f"mntpoint={published}"))
    result = _libc.mount(
        os.fsencode(dataset), os.fsencode(directory), b"zfs", flags, os.fsencode(data)
    )
    _check(result, dataset)


def unmount(directory: str, *, lazily: bool = False) -> None:
    """Unmount what is mounted on top at ``directory``; lazily: readers that are in it may stay."""
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazily else 0)
    _check(_libc.umount2(os.fsencode(directory), flags), directory)


def put_beneath(private: str, published: str) -> None:
    """Mount what is at ``private`` at ``published`` as well, beneath what is mounted there."""
    tree = _libc.syscall(
        _OPEN_TREE, _AT_FDCWD, os.fsencode(private), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    )
    _check(tree, private)
    try:
        flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_BENEATH
        target = os.fsencode(published)
        _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, flags), published)
    finally:
        os.close(tree)


def require_switch() -> None:
    """Refuse systems that cannot replace a mount without a gap."""
    release = os.uname().release
    numbers = release.split(".")[:2]
    if tuple(int("".join(filter(str.isdigit, part)) or 0) for part in numbers) < (6, 5):
        raise ArgumentError(
            f"Linux {release} cannot replace a mount without a gap; 6.5 or newer is needed",
            next_step="Use a newer kernel on the storage host (Debian 13 has 6.12).",
        )


def stack(directory: str) -> list[str]:
    """Return the sources of the mounts at exactly ``directory``, the topmost first.

    The order of the lines says nothing: what was put beneath is newer. Every mount's parent does.
    """
    by_parent = {one.parent: one for one in mounted.mounts() if one.point == directory}
    numbers = {one.id for one in by_parent.values()}
    found: list[str] = []
    at = next((parent for parent in by_parent if parent not in numbers), "")
    while at in by_parent:
        one = by_parent.pop(at)
        found.insert(0, one.source)
        at = one.id
    return found


def mounted_at(directory: str) -> str:
    """Return the source of the topmost mount at exactly ``directory``, '' where there is none."""
    found = stack(directory)
    return found[0] if found else ""


def directories_of(dataset: str) -> list[str]:
    """Return where a dataset is mounted."""
    return [one.point for one in _mounts_of(dataset)]


def takes_writes(dataset: str) -> bool:
    """Tell whether a dataset is mounted so that it takes writes, wherever that is.

    Of a file system that is mounted at several places all have one word on it; a path to each of them
    need not be open to us.
    """
    return not all(one.is_read_only for one in _mounts_of(dataset))


def _mounts_of(dataset: str) -> list[mounted.Mount]:
    return [one for one in mounted.mounts() if one.kind == "zfs" and one.source == dataset]


def is_writable(directory: str) -> bool:
    """Tell whether the file system that is mounted at ``directory`` takes writes."""
    return not os.statvfs(directory).f_flag & os.ST_RDONLY


def _check(result: int, path: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
