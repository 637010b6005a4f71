# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Large files as blocks: find out which ones differ, and write only those.

Where the file system copies on write, a snapshot then grows by what changed. Blocks are those of the
file system where it has large ones (the record size of ZFS), so that no write touches a part of one.
"""

from __future__ import annotations

import errno
import hashlib
import os

from .progress import advance
from .syscalls import file_system

BLOCK = 128 * 1024
"""Size of a block in bytes, where the file system names none."""
LEAST = 1 << 20
"""Smallest size in bytes, old and new, of a file that is worth it."""
DIGEST = hashlib.sha256().digest_size
MOST = 1 << 20
"""Blocks of a file whose digests are compared, at most: they are all in memory, 32 MiB of them."""

LEAST_BLOCK = 8 * 1024
"""What is smaller is a page of another file system than ZFS, or so small a record that several go together."""
_ZFS = 0x2FC12FC1


def block_size(fd: int) -> int:
    """Return the size of the file's blocks in bytes."""
    size = os.fstat(fd).st_blksize
    if size >= LEAST_BLOCK:
        return size
    return LEAST_BLOCK if file_system(fd) == _ZFS else BLOCK


def coarse(block: int, size: int) -> int:
    """Return the least multiple of ``block`` of which ``size`` bytes have no more than :data:`MOST`."""
    return block * max(1, -(-size // (block * MOST)))


def digests(fd: int, size: int, block: int) -> bytearray:
    """Return the SHA-256 of every block of the first ``size`` bytes, one behind the other."""
    found = bytearray()
    buffer = bytearray(block)
    view = memoryview(buffer)
    for offset in range(0, size, block):
        length = read_block(fd, view[: min(block, size - offset)], offset)
        found += hashlib.sha256(view[:length]).digest()
    return found


def read_block(fd: int, view: memoryview, offset: int) -> int:
    """Fill ``view`` from the file; return the number of bytes, fewer only at its end."""
    done = 0
    while done < len(view):
        count = os.preadv(fd, [view[done:]], offset + done)
        if count == 0:
            break
        done += count
    return done


def write_block(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte at ``offset``."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


def update(source_fd: int, target_fd: int) -> tuple[int, str]:
    """Make the target what the source is, writing only blocks that differ.

    Returns the source's size in bytes and its SHA-256 as hex.
    """
    block = block_size(target_fd)
    new, old = memoryview(bytearray(block)), memoryview(bytearray(block))
    digest = hashlib.sha256()
    size = 0
    while True:
        length = read_block(source_fd, new, size)
        if length == 0:
            break
        digest.update(new[:length])
        same = _is_same(target_fd, new[:length], old[:length], size)
        if same is None and length < block:
            os.ftruncate(target_fd, size)  # a part of a record is not written without reading it
        if not same:
            write_block(target_fd, new[:length], size)
        size += length
        advance(0, length)
    os.ftruncate(target_fd, size)
    return size, digest.hexdigest()


def _is_same(fd: int, new: memoryview, old: memoryview, offset: int) -> bool | None:
    """Tell whether ``new`` is there already; None where the disk does not give it back."""
    try:
        return read_block(fd, old, offset) == len(new) and new == old
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        return None


def hash_file(fd: int) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256 as hex."""
    buffer = memoryview(bytearray(1 << 20))
    digest = hashlib.sha256()
    size = 0
    while True:
        length = read_block(fd, buffer, size)
        if length == 0:
            return size, digest.hexdigest()
        digest.update(buffer[:length])
        size += length
