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

from ..errors import ArgumentError
from .command import Runner

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_BENEATH = 0x200
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(None, use_errno=True)


def mount(runner: Runner, dataset: str, directory: str, *, writable: bool) -> None:
    """Mount a dataset at ``directory`` whatever its mountpoint property says.

    ``ro`` has to be said: the explicit mount would otherwise override an inherited readonly.
    """
    access = "rw" if writable else "ro"
    options = f"zfsutil,{access},nosuid,nodev,noatime"
    runner.run("mount", "-t", "zfs", "-o", options, dataset, directory)


def unmount(directory: str, *, lazily: bool = False) -> None:
    """Unmount what is mounted on top at ``directory``; lazily: readers that are in it may stay."""
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazily else 0)
    _check(_libc.umount2(os.fsencode(directory), flags), directory)


def switch(private: str, published: str) -> None:
    """Replace what is mounted at ``published`` by what is mounted at ``private``, without a gap.

    ``private`` stays mounted there as well; readers in the old tree keep it until they leave.
    """
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
    unmount(published, lazily=True)


def require_switch() -> None:
    """Refuse systems that cannot replace a mount without a gap."""
    release = os.uname().release
    numbers = release.split(".")[:2]
    if tuple(int("".join(filter(str.isdigit, part)) or 0) for part in numbers) < (6, 5):
        raise ArgumentError(
            f"Linux {release} cannot replace a mount without a gap; 6.5 or newer is needed",
            next_step="Use a newer kernel on the storage host (Debian 13 has 6.12).",
        )


def mounted_at(directory: str) -> str:
    """Return the source of the topmost mount at exactly ``directory``, '' where there is none."""
    found = ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            fields = line.split(" ")
            if _unescape(fields[4]) == directory:
                found = _unescape(fields[fields.index("-") + 2])
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _check(result: int, path: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
