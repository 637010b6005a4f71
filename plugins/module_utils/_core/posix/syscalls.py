# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Linux calls that Python's ``os`` module lacks: renameat2, syncfs and others, through ctypes."""

from __future__ import annotations

import ctypes
import errno
import os

from ..errors import ArgumentError

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_SYNC_FILE_RANGE_WRITE = 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_libc = ctypes.CDLL(None, use_errno=True)


def _rename2(source: str, source_fd: int, target: str, target_fd: int, flags: int) -> None:
    if not hasattr(_libc, "renameat2"):
        raise ArgumentError("this system has no renameat2 (Linux with glibc >= 2.28 is needed)")
    result = _libc.renameat2(
        source_fd, os.fsencode(source), target_fd, os.fsencode(target), ctypes.c_uint(flags)
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def rename_exchange(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Swap two existing names in one atomic step (Linux renameat2(2), RENAME_EXCHANGE)."""
    _rename2(source, source_fd, target, target_fd, _RENAME_EXCHANGE)


def rename_noreplace(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename, and fail with EEXIST where the target exists (RENAME_NOREPLACE)."""
    _rename2(source, source_fd, target, target_fd, _RENAME_NOREPLACE)


def is_unsupported(exc: OSError) -> bool:
    """Tell whether the file system or kernel lacks the call, rather than the call failing."""
    return exc.errno in _UNSUPPORTED


def syncfs(fd: int) -> None:
    """Write everything of the file system that holds ``fd`` to stable storage.

    One call for a whole staged tree: an fsync for each of 20,000 files would cost minutes.
    Since Linux 5.8 write-back errors are reported.
    """
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def start_writeback(fd: int) -> None:
    """Have a file's changed pages written out, and do not wait (Linux sync_file_range(2)).

    No more than a hint: what has to be durable needs :func:`syncfs` as before, which has less left to
    do and reports what failed. Nothing happens where the system lacks the call.
    """
    if hasattr(_libc, "sync_file_range"):
        whole = ctypes.c_int64(0)  # from the first byte, and to the last
        _libc.sync_file_range(fd, whole, whole, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def file_system(fd: int) -> int:
    """Return the number by which Linux tells kinds of file systems apart; 0 where it tells none."""
    told = ctypes.create_string_buffer(256)  # more than any struct statfs, which begins with it
    return ctypes.c_uint32.from_buffer(told).value if _libc.fstatfs(fd, told) == 0 else 0
