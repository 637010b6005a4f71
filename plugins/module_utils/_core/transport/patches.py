# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Large files that changed in place: the agent tells what it has, block by block, and gets the rest.

The agent sends, for each such file, the block size, the old size and a SHA-256 for every block; 0 and 0
where it wants the whole file. The blocks of a giant one are larger, as digests are kept in memory on both
sides. The contents that come back are ranges (offset, length, bytes), ended by one of length 0.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence

from ..backends.base import Upload
from ..errors import SourceChanged
from ..posix import blocks
from ..posix.beneath import Beneath
from ..posix.blocks import DIGEST
from .frames import DATA, HEADER, MAX_PAYLOAD, Bytes, Pipe, ProtocolError, whole

RANGE = struct.Struct(">QI")
_HEAD = struct.Struct(">IQ")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Old:
    """What the other side has of a file: ``block`` and ``size`` in bytes, a digest for each block."""

    def __init__(self, block: int, size: int, digests: Bytes) -> None:
        self.block = block
        self.size = size
        self.digests = digests

    def same(self, number: int, digest: Bytes) -> bool:
        """Tell whether block ``number`` there has this digest."""
        return self.digests[number * DIGEST : (number + 1) * DIGEST] == digest


def send_old(pipe: Pipe, target: str, asked: Sequence[Upload], granted: set[str]) -> None:
    """Tell what is there of the files that were asked for; ``granted`` are paths to be patched.

    One that cannot be read any more is taken out of ``granted``, and comes whole.
    """
    with Beneath(target) as tree:
        for item in asked:
            path = item.entry.path
            described = _described(tree, item) if path in granted else b""
            if not described:
                granted.discard(path)
            _send(pipe, described or _HEAD.pack(0, 0))


def _described(tree: Beneath, item: Upload) -> bytes:
    """Return block, size and digests of a file; nothing, with the file gone, where it is damaged."""
    parent, name = tree.at(item.entry.path)
    fd = os.open(name, _READ, dir_fd=parent)
    try:
        size = os.fstat(fd).st_size
        block = blocks.coarse(blocks.block_size(fd), max(size, item.entry.size))
        return _HEAD.pack(block, size) + blocks.digests(fd, size, block)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        os.unlink(name, dir_fd=parent)
        return b""
    finally:
        os.close(fd)


def _send(pipe: Pipe, data: bytes) -> None:
    view = memoryview(data)
    while view:
        part, view = view[:MAX_PAYLOAD], view[MAX_PAYLOAD:]
        pipe.write(HEADER.pack(DATA, len(part)), part)


def read_old(asked: Sequence[Upload], payloads: Iterator[bytes]) -> dict[str, Old]:
    """Return path → what is there, for the files to be patched."""
    content = _Content(payloads)
    found = {}
    for item in asked:
        block, size = _HEAD.unpack(content.take(_HEAD.size))
        if block:
            found[item.entry.path] = _old(content, block, size, item.identity[0])
    content.end()
    return found


def _old(content: _Content, block: int, size: int, new_size: int) -> Old:
    """Return what is there of a file; of digests behind the end of ours nothing is kept."""
    if block < blocks.LEAST_BLOCK or block < blocks.coarse(block, size):
        raise ProtocolError(f"blocks of {block} bytes")
    length, most = (-(-bytes_ // block) * DIGEST for bytes_ in (size, new_size))
    digests = content.take(min(length, most))
    content.skip(length - len(digests))
    return Old(block, size, digests)


class _Content:
    """The bytes of a stream, of which no more is held than is asked for."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self._payloads = iter(payloads)
        self._rest = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        return whole(self._parts(size))

    def skip(self, size: int) -> None:
        """Drop the next ``size`` bytes."""
        for _unused in self._parts(size):
            continue

    def end(self) -> None:
        """Read the end of the stream."""
        if self._rest or any(self._payloads):
            raise ProtocolError("more than was asked for")

    def _parts(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._rest:
                self._rest = memoryview(self._next())
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part

    def _next(self) -> bytes:
        payload = next(self._payloads, None)
        if payload is None:
            raise ProtocolError("less than was asked for")
        return payload


class Ours(threading.Thread):
    """Digests of our own versions, made while the other side makes its own."""

    def __init__(self, root: str, asked: Sequence[Upload]) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._asked = asked
        self._digests: dict[str, bytearray] = {}

    def run(self) -> None:
        """Hash with the usual block size; a file that cannot be read is left to whoever sends it."""
        with Beneath(self._root) as tree:
            for item in self._asked:
                try:
                    self._digests[item.source.path] = self._hashed(tree, item)
                except OSError:
                    continue

    @staticmethod
    def _hashed(tree: Beneath, item: Upload) -> bytearray:
        parent, name = tree.at(item.source.path)
        fd = os.open(name, _READ, dir_fd=parent)
        try:
            size = item.identity[0]
            return blocks.digests(fd, size, blocks.coarse(blocks.BLOCK, size))
        finally:
            os.close(fd)

    def of(self, path: str, fd: int, size: int, block: int) -> bytearray:
        """Return a digest for each block of the open file; once."""
        self.join()
        known = self._digests.pop(path, bytearray())
        if block == blocks.coarse(blocks.BLOCK, size) and len(known) == -(-size // block) * DIGEST:
            return known
        return blocks.digests(fd, size, block)


def changed_ranges(old: Old, digests: Bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of what differs, neighbours together up to the length of a frame."""
    start = length = 0
    for number in range(-(-size // old.block)):
        offset = number * old.block
        part = min(old.block, size - offset)
        whole = part == old.block or offset + part == old.size
        if whole and old.same(number, digests[number * DIGEST : (number + 1) * DIGEST]):
            continue
        if length and start + length == offset and length + part <= MAX_PAYLOAD:
            length += part
            continue
        if length:
            yield start, length
        start, length = offset, part
    if length:
        yield start, length


def send_ranges(
    fd: int, ranges: Iterable[tuple[int, int]], size: int, path: str
) -> Iterator[tuple[bytes, int]]:
    """Yield the ranges with their bytes, and the end; each with the offset up to which all is done then."""
    for offset, length in ranges:
        yield RANGE.pack(offset, length), offset
        end = offset + length
        while offset < end:
            data = os.pread(fd, min(MAX_PAYLOAD, end - offset), offset)
            if not data:
                raise SourceChanged("it changed while it was read", object=path)
            offset += len(data)
            yield data, offset
    yield RANGE.pack(0, 0), size
