# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames: how requests, replies and streams of bytes share one channel.

A frame is a kind (one byte), the length of its payload (four bytes, big endian) and the payload.
A stream is any number of ``DATA`` frames and one ``END``, or ``ABORT`` where its sender gave up.
An answer is a ``REPLY``, or a ``FAILURE``; the parts before the last of a long one are ``DATA``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from json import loads
from typing import Any, NamedTuple, Protocol, Union

CALL, REPLY, FAILURE = b"C", b"R", b"X"
DATA, END, ABORT = b"D", b"E", b"A"
ALIVE = b"K"
"""Says nothing, but that the sender lives."""

MAX_PAYLOAD = 1 << 20
"""Longest payload of a ``DATA`` frame, in bytes."""
MAX_FRAME = 1 << 26
"""Longest payload of any frame: more is not one of ours."""
LONGEST_ANSWER = 1 << 30
"""All parts of an answer, in bytes: a host that sends without end fills no memory."""

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


def read_frame(pipe: Pipe) -> Frame | None:
    """Return the next frame that says something, None at the end of the channel."""
    while True:
        header = pipe.read(HEADER.size)
        if not header:
            return None
        if len(header) < HEADER.size:
            raise ProtocolError("a frame is cut off")
        kind, length = HEADER.unpack(header)
        if length > MAX_FRAME:
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
    """Yield the content of a compressed stream."""
    unpacker = zlib.decompressobj()
    try:
        for data in raw_stream(pipe):
            yield unpacker.decompress(data)
        yield unpacker.flush()
    except zlib.error as exc:
        raise ProtocolError(f"a stream is damaged: {exc}") from None
    if not unpacker.eof:
        raise ProtocolError("a stream is cut off")


def parsed(payload: bytes) -> Any:
    """Return what a payload of JSON says."""
    try:
        return loads(payload)
    except ValueError:
        raise ProtocolError("a frame's payload is damaged") from None


def send_answer(pipe: Pipe, payload: bytes) -> None:
    """Send an answer, however long: a verification names every path that it found something at."""
    last = max(len(payload) - 1, 0) // MAX_PAYLOAD * MAX_PAYLOAD
    view = memoryview(payload)
    _send_data(pipe, view[:last])
    pipe.write(HEADER.pack(REPLY, len(payload) - last), view[last:])


def read_answer(pipe: Pipe) -> bytes:
    """Return an answer."""
    parts, length = [], 0
    while True:
        frame = read_frame(pipe)
        if frame is None:
            raise EOFError
        if frame.kind == FAILURE:
            raise Failed(frame.payload)
        if frame.kind not in (DATA, REPLY):
            raise ProtocolError(f"a frame of kind {frame.kind!r} instead of an answer")
        parts.append(frame.payload)
        length += len(frame.payload)
        if length > LONGEST_ANSWER:
            raise ProtocolError(f"an answer of more than {LONGEST_ANSWER} bytes")
        if frame.kind == REPLY:
            return b"".join(parts)


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
