# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes copied from one descriptor to another and hashed on the way."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading

from .durable import write_all
from .progress import advance

_BLOCK = 1 << 20
_CHUNK = 16 * _BLOCK
_LARGE = 8 * _BLOCK
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


def copy_hashed(source_fd: int, target_fd: int, size: int) -> tuple[int, str]:
    """Copy until the end of the source; return (bytes copied, SHA-256 as hex).

    ``target_fd`` is an empty file, open for reading and writing. ``size`` is what to expect, in
    bytes; it only chooses the way. A large file is copied by the kernel, which shares the blocks
    where the file system can, while a second thread hashes what has arrived in the target: hashlib,
    read and copy all release the interpreter lock.
    """
    if size >= _LARGE:
        return _copy_large(source_fd, target_fd)
    digest = hashlib.sha256()
    copied = 0
    while True:
        block = os.read(source_fd, _BLOCK)
        if not block:
            return copied, digest.hexdigest()
        digest.update(block)
        write_all(target_fd, block)
        copied += len(block)
        advance(0, len(block))


def copy_plain(source_fd: int, target_fd: int) -> None:
    """Copy until the end of the source, by the kernel where it can."""
    while _copy_chunk(source_fd, target_fd):
        continue


class _Follower(threading.Thread):
    """Hashes a file as it grows: ``arrived`` gets the lengths of its parts, then None."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self.fd = fd
        self.digest = hashlib.sha256()
        self.arrived: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.failure: OSError | None = None
        self._offset = 0

    def run(self) -> None:
        buffer = bytearray(_BLOCK)
        try:
            while True:
                length = self.arrived.get()
                if length is None:
                    return
                self._hash(length, buffer)
        except OSError as exc:
            self.failure = exc

    def _hash(self, length: int, buffer: bytearray) -> None:
        end = self._offset + length
        while self._offset < end:
            view = memoryview(buffer)[: min(_BLOCK, end - self._offset)]
            count = os.preadv(self.fd, [view], self._offset)
            if count == 0:
                raise OSError(errno.EIO, "a file that was just written is shorter than written")
            self.digest.update(view[:count])
            self._offset += count


def _copy_large(source_fd: int, target_fd: int) -> tuple[int, str]:
    follower = _Follower(target_fd)
    follower.start()
    copied = 0
    try:
        while True:
            length = _copy_chunk(source_fd, target_fd)
            if length == 0:
                break
            follower.arrived.put(length)
            copied += length
            advance(0, length)
    finally:
        follower.arrived.put(None)
        follower.join()
    if follower.failure is not None:
        raise follower.failure
    return copied, follower.digest.hexdigest()


def _copy_chunk(source_fd: int, target_fd: int) -> int:
    """Copy up to a chunk from file position to file position; return its length, 0 at the end."""
    try:
        return os.copy_file_range(source_fd, target_fd, _CHUNK)
    except AttributeError:  # not Linux
        pass
    except OSError as exc:
        if exc.errno not in _CANNOT:
            raise
    block = os.read(source_fd, _BLOCK)
    write_all(target_fd, block)
    return len(block)
