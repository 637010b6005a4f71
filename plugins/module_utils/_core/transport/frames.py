# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames: how requests, replies and streams of bytes share one channel.

A frame is a kind (one byte), the length of its payload (four bytes, big endian) and the payload.
A stream is any number of ``DATA`` frames and one ``END``, or ``ABORT`` where its sender gave up.
An answer is a ``REPLY``, or a ``FAILURE``; the parts before the last of a long one are ``DATA``.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from json import loads
from typing import Any, NamedTuple, Protocol, Union

CALL, REPLY, FAILURE = b"C", b"R", b"X"
DATA, END, ABORT = b"D", b"E", b"A"
ALIVE = b"K"
"""Says nothing, but that the sender lives."""

MAX_PAYLOAD = 1 << 20
"""Longest payload of a ``DATA`` frame or a ``REPLY``, in bytes."""
MAX_FRAME = 1 << 22
"""Longest payload of any frame but a ``CALL``, a ``FAILURE`` with all its details: more is not one of ours."""
MAX_CALL = 1 << 26
"""Longest payload of a ``CALL``, which may name paths."""
LONGEST_ANSWER = 1 << 30
"""All parts of an answer, in bytes: a host that sends without end fills no memory."""
LONGEST_STREAM = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
"""What a compressed stream may unpack to, in bytes: a quarter of this machine's memory.

A manifest takes some 300 bytes for a file, and several times that as entries: one that is longer could
not be worked with here.
"""

HEADER = struct.Struct(">cI")
_LEVEL = 1  # manifests shrink to a third with it; more costs time that a local network does not

Bytes = Union[bytes, bytearray, memoryview]


class ProtocolError(RuntimeError):
    """What arrived is no frame, or not the one that is due."""


class Frame(NamedTuple):
    """One frame as it arrived."""

    kind: bytes
    payload: bytes


class Pipe(Protocol):
    """Two directions of bytes; both methods block."""

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end of the stream."""

    def write(self, *buffers: Bytes) -> None:
        """Write all of the buffers, one after the other."""


def pack(kind: bytes, payload: bytes) -> bytes:
    """Return a frame's bytes."""
    return HEADER.pack(kind, len(payload)) + payload


def read_frame(pipe: Pipe, longest: int = MAX_FRAME) -> Frame | None:
    """Return the next frame that says something, None at the end of the channel."""
    while True:
        header = pipe.read(HEADER.size)
        if not header:
            return None
        if len(header) < HEADER.size:
            raise ProtocolError("a frame is cut off")
        kind, length = HEADER.unpack(header)
        if length > longest:
            raise ProtocolError(f"a frame of kind {kind!r} announces {length} bytes")
        payload = pipe.read(length)
        if len(payload) < length:
            raise ProtocolError("a frame is cut off")
        if kind != ALIVE:
            return Frame(kind, payload)


def send_stream(pipe: Pipe, chunks: Iterable[Bytes]) -> None:
    """Send a stream, compressed: for text such as manifests."""
    packer = zlib.compressobj(_LEVEL)
    for chunk in chunks:
        _send_data(pipe, packer.compress(chunk))
    _send_data(pipe, packer.flush())
    pipe.write(pack(END, b""))


def _send_data(pipe: Pipe, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        part, view = view[:MAX_PAYLOAD], view[MAX_PAYLOAD:]
        pipe.write(HEADER.pack(DATA, len(part)), part)


def receive_stream(pipe: Pipe) -> Iterator[bytes]:
    """Yield the content of a compressed stream, in pieces of bounded size.

    However little it takes to say a lot: :data:`LONGEST_STREAM` limits the whole.
    """
    length = 0
    for piece in _unpacked(raw_stream(pipe)):
        length += len(piece)
        if length > LONGEST_STREAM:
            raise ProtocolError(
                f"a stream of more than {LONGEST_STREAM} bytes, a quarter of this machine's memory"
            )
        yield piece


def _unpacked(payloads: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    try:
        for payload in payloads:
            packed = payload
            while packed:
                yield unpacker.decompress(packed, MAX_PAYLOAD)
                packed = unpacker.unconsumed_tail
            if unpacker.unused_data:
                raise ProtocolError("a stream goes on behind its end")
        yield unpacker.flush()
    except zlib.error as exc:
        raise ProtocolError(f"a stream is damaged: {exc}") from None
    if not unpacker.eof:
        raise ProtocolError("a stream is cut off")


def whole(chunks: Iterable[Bytes]) -> bytes:
    """Return all chunks as one: however small they are, they take no more memory than their bytes."""
    content = BytesIO()
    content.writelines(chunks)
    return content.getvalue()


def parsed(payload: bytes) -> Any:
    """Return what a payload of JSON says."""
    try:
        return loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("a frame's payload is damaged") from None


def send_answer(pipe: Pipe, payload: bytes) -> None:
    """Send an answer, however long: a verification names every path that it found something at."""
    last = max(len(payload) - 1, 0) // MAX_PAYLOAD * MAX_PAYLOAD
    view = memoryview(payload)
    _send_data(pipe, view[:last])
    pipe.write(HEADER.pack(REPLY, len(payload) - last), view[last:])


def read_answer(pipe: Pipe) -> bytes:
    """Return an answer."""
    answer = BytesIO()
    while True:
        frame = read_frame(pipe)
        if frame is None:
            raise EOFError
        if frame.kind == FAILURE:
            raise Failed(frame.payload)
        if frame.kind not in (DATA, REPLY):
            raise ProtocolError(f"a frame of kind {frame.kind!r} instead of an answer")
        answer.write(frame.payload)
        if answer.tell() > LONGEST_ANSWER:
            raise ProtocolError(f"an answer of more than {LONGEST_ANSWER} bytes")
        if frame.kind == REPLY:
            return answer.getvalue()


def raw_stream(pipe: Pipe) -> Iterator[bytes]:
    """Yield a stream's payloads as they are."""
    while True:
        frame = read_frame(pipe)
        if frame is None:
            raise EOFError("the channel ended in the middle of a stream")
        if frame.kind == END:
            return
        if frame.kind == ABORT:
            raise Aborted
        if frame.kind == FAILURE:
            raise Failed(frame.payload)
        if frame.kind != DATA:
            raise ProtocolError(f"a frame of kind {frame.kind!r} within a stream")
        yield frame.payload


class Aborted(Exception):
    """The sender of a stream gave up; it knows why."""


class Failed(Exception):
    """The sender of a stream gave up, and says why."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload


class Stopped(Exception):
    """The other side has something to say while it is sent to: it failed, or is gone."""


def drain(pipe: Pipe) -> None:
    """Read a stream to its end and drop it."""
    try:
        for _unused in raw_stream(pipe):
            continue
    except Aborted:
        return
