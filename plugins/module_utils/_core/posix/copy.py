# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes copied from one descriptor to another and hashed on the way."""

from __future__ import annotations

import hashlib
import os
import queue
import threading

from .durable import write_all

_BLOCK = 1 << 20
_IN_FLIGHT = 4
_THREADED_FROM = 8 * _BLOCK


def copy_hashed(source_fd: int, target_fd: int, size: int) -> tuple[int, str]:
    """Copy until the end of the source; return (bytes copied, SHA-256 as hex).

    ``size`` is what to expect, in bytes; it only chooses the way. A large file is hashed in a
    second thread: hashlib, read and write all release the interpreter lock.
    """
    if size >= _THREADED_FROM:
        return _copy_threaded(source_fd, target_fd)
    digest = hashlib.sha256()
    copied = 0
    while True:
        block = os.read(source_fd, _BLOCK)
        if not block:
            return copied, digest.hexdigest()
        digest.update(block)
        write_all(target_fd, block)
        copied += len(block)


class _Hasher(threading.Thread):
    """Hashes buffers in order and hands each back when it is done with it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.digest = hashlib.sha256()
        self.full: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
        self.free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            item = self.full.get()
            if item is None:
                return
            buffer, length = item
            self.digest.update(memoryview(buffer)[:length])
            self.free.put(buffer)


def _copy_threaded(source_fd: int, target_fd: int) -> tuple[int, str]:
    hasher = _Hasher()
    for _ in range(_IN_FLIGHT):
        hasher.free.put(bytearray(_BLOCK))
    hasher.start()
    copied = 0
    try:
        while True:
            buffer = hasher.free.get()
            length = os.readv(source_fd, [buffer])
            if length == 0:
                break
            hasher.full.put((buffer, length))
            write_all(target_fd, memoryview(buffer)[:length])
            copied += length
    finally:
        hasher.full.put(None)
        hasher.join()
    return copied, hasher.digest.hexdigest()
