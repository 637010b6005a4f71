# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is mounted, in this process's namespace and in others, and read-only mounts of a directory made at once.

A tree is cloned as a mount of its own, made read-only while nobody can reach it, and then attached:
there is no moment in which it takes writes. Source and target are descriptors, so that nobody can put
a symbolic link in the way between looking and mounting. Needs Linux 5.12 (mount_setattr); numbers are
those of the generic system call table (x86-64, arm64, riscv64 and others).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from ..errors import ArgumentError
from . import processes

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_MOUNT_SETATTR = 442
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_RDONLY_NOSUID_NODEV_NOEXEC = 1 | 2 | 4 | 8
_UMOUNT_NOFOLLOW = 8


class Mount(NamedTuple):
    """``root`` is the mounted directory within its file system as it is named now; ``point`` where.

    ``kind`` is the file system's type: a source alone says nothing, as any user may give any name to
    one of their own. ``device`` tells file systems apart; what ``propagates`` is unmounted together with its peers.
    ``id`` is the mount's number, ``parent`` that of the mount that it is on. ``is_read_only`` tells of
    the file system itself: none of its mounts takes writes.
    """

    device: str
    root: str
    point: str
    source: str
    propagates: bool
    id: str
    parent: str
    is_read_only: bool = False
    kind: str = ""


class Seen(NamedTuple):
    """A mount, and a process of the namespace that has it (None: this process's own)."""

    mount: Mount
    pid: int | None


def mounts(pid: str = "self") -> list[Mount]:
    """Return every mount of a process's namespace, in the order in which they are listed.

    Of the characters that Python ends lines at the kernel escapes only one, and any user may mount in a
    namespace of their own.
    """
    path = f"/proc/{pid}/mountinfo"
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        return [_mount(line.rstrip("\n").split(" ")) for line in stream]


def _mount(fields: list[str]) -> Mount:
    end = fields.index("-")
    kind, source, options = fields[end + 1 : end + 4]
    return Mount(
        device=fields[2],
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        source=_unescape(source),
        propagates=any(one.startswith(("shared:", "master:")) for one in fields[6:end]),
        id=fields[0],
        parent=fields[1],
        is_read_only="ro" in options.split(","),
        kind=kind,
    )


def everywhere() -> list[Seen]:
    """Return the mounts of every namespace, those of this one first.

    A user other than root may not see which namespace a process is in, but what is mounted there; the
    number of its first mount is no other namespace's.
    """
    own = mounts()
    found = [Seen(mount, None) for mount in own]
    known = {os.readlink("/proc/self/ns/mnt"), *(mount.id for mount in own[:1])}
    for pid in processes.pids():
        try:
            found += [Seen(mount, pid) for mount in _mounts_unless(known, pid)]
        except OSError:  # it ended
            continue
    return found


def _mounts_unless(known: set[str], pid: int) -> list[Mount]:
    """Return the mounts of a process's namespace, none where it is known; note it as such."""
    with open(f"/proc/{pid}/mountinfo", "rb") as stream:
        names = [stream.readline().partition(b" ")[0].decode("ascii")]
    with suppress(PermissionError):
        names.append(os.readlink(f"/proc/{pid}/ns/mnt"))
    is_known = not known.isdisjoint(names)
    known.update(names)
    return [] if is_known else mounts(str(pid))


def showing(path: str, among: Sequence[Seen]) -> list[Seen]:
    """Return those of :func:`everywhere` that show the directory ``path`` elsewhere, or one below it.

    ``path`` has no link in it. Nothing is looked at but the list: a mount may not answer.
    """
    holder = max(
        (
            mount
            for mount, pid in among
            if pid is None and f"{path}/".startswith(f"{mount.point.rstrip('/')}/")
        ),
        key=lambda mount: len(mount.point),
    )
    inside = f"{holder.root.rstrip('/')}/{os.path.relpath(path, holder.point)}"
    return [
        seen
        for seen in among
        if seen.mount.device == holder.device and f"{seen.mount.root}/".startswith(f"{inside}/")
    ]


def below(path: str) -> list[Mount]:
    """Return what is mounted at the directory ``path`` or below it; ``path`` has no link in it."""
    return [mount for mount in mounts() if f"{mount.point}/".startswith(f"{path}/")]


def is_mountpoint(path: str) -> bool:
    """Tell whether something is mounted at exactly this path, which has no link in it."""
    return any(mount.point == path for mount in mounts())


def mount_read_only(source_fd: int, target_fd: int) -> None:
    """Show the directory ``source_fd`` at ``target_fd``: read-only, nosuid, nodev, noexec."""
    clone = _syscall(_OPEN_TREE, source_fd, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC)
    try:
        attributes = _Attributes(_RDONLY_NOSUID_NODEV_NOEXEC, 0, 0, 0)
        _syscall(
            _MOUNT_SETATTR,
            clone,
            b"",
            _AT_EMPTY_PATH,
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        )
        _syscall(
            _MOVE_MOUNT,
            clone,
            b"",
            target_fd,
            b"",
            _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH,
        )
    finally:
        os.close(clone)


def unmount(path: str) -> None:
    """Unmount what is mounted on top at ``path``, which is not followed if it is a link."""
    if _libc.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


class _Attributes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")
    ]


_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise ArgumentError(
                "this kernel cannot mount a directory read-only at once; Linux 5.12 or newer is needed"
            )
        raise OSError(code, os.strerror(code))
    return result


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
