# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tree looked like when it was last scanned, so that unchanged files need not be hashed.

The index is only a cache. One that is missing, damaged or from another version is no index; one
that is stale costs time, never correctness. Everything is kept per directory and as columns, so that
an unchanged directory is recognised by two comparisons of bytes.

File: magic, SHA-256 of the rest, then the sections of :func:`_sections`, each with its length.
"""

from __future__ import annotations

import os
import stat
import struct
from array import array
from collections.abc import Iterator
from hashlib import sha256
from itertools import accumulate
from typing import NamedTuple

from ..posix.durable import discard, write_new
from .columns import COLUMNS, CTIME, DIGEST, MTIME, ROW, SIZE, UNHASHED, Counts, Directory

_MAGIC = b"dsg-index 1 " + (b"le\n" if array("H", [1]).tobytes()[0] else b"be\n")
_LENGTH = struct.Struct("<Q")
_COUNTS = struct.Struct("<4Q")

_NO_STAT = -1  # as size: no file has it, so the row matches nothing


class Index(NamedTuple):
    """A tree as scanned: ``directories`` by path ('' is the root), and its tree digest.

    ``digest`` is '' where it is not known.
    """

    directories: dict[str, Directory]
    digest: str
    counts: Counts


def load(path: str) -> Index | None:
    """Return the index stored at ``path``; None if it is absent, damaged or not one of ours."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    start = len(_MAGIC) + DIGEST
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or sha256(body).digest() != data[len(_MAGIC) : start]:
        return None
    return _decode(list(_split(data, start)))


def save(path: str, index: Index) -> None:
    """Write the index, replacing the old one in one step."""
    body = b"".join(_LENGTH.pack(len(part)) + part for part in _sections(index))
    temporary = f"{path}.new"
    discard(temporary)
    write_new(temporary, [_MAGIC, sha256(body).digest(), body], mode=0o600, sync=False)
    os.rename(temporary, path)


def _sections(index: Index) -> Iterator[bytes]:
    found = list(index.directories.values())
    yield bytes.fromhex(index.digest)
    yield _COUNTS.pack(*index.counts)
    yield "\0".join(index.directories).encode("utf-8", "surrogateescape")
    yield "\0".join([directory.names for directory in found]).encode("utf-8", "surrogateescape")
    yield array("Q", map(len, found)).tobytes()
    yield bytes([directory.is_empty for directory in found])
    yield b"".join([directory.rows for directory in found])
    yield b"".join([directory.digests for directory in found])
    yield array("Q", [len(directory.targets) for directory in found]).tobytes()
    targets = [target for directory in found for target in directory.targets]
    yield "\0".join(targets).encode("utf-8", "surrogateescape")


def _split(data: bytes, start: int) -> Iterator[bytes]:
    while start < len(data):
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        yield data[start : start + length]
        start += length


def _decode(sections: list[bytes]) -> Index:
    digest, counts, paths, names, lengths, empty, rows, digests, link_counts, targets = sections
    directories = {}
    stops = list(accumulate(array("Q", lengths)))
    start = 0
    all_targets = iter(targets.decode("utf-8", "surrogateescape").split("\0"))
    for path, joined, stop, is_empty, links in zip(
        paths.decode("utf-8", "surrogateescape").split("\0"),
        names.decode("utf-8", "surrogateescape").split("\0"),
        stops,
        empty,
        array("Q", link_counts),
    ):
        directories[path] = Directory(
            joined,
            rows[start * ROW : stop * ROW],
            digests[start * DIGEST : stop * DIGEST],
            tuple([next(all_targets) for _unused in range(links)]) if links else (),
            bool(is_empty),
        )
        start = stop
    return Index(directories, digest.hex(), Counts(*_COUNTS.unpack(counts)))


# --- racy time stamps ---

_TICK_NS = 10_000_000
_COARSE_TICK_NS = 2_000_000_000


class Clock(NamedTuple):
    """A moment on a file system's own clock: what changed at or after ``limit_ns`` may change again
    without showing it. ``dev`` is the file system."""

    limit_ns: int
    dev: int


def read_clock(directory: str) -> Clock:
    """Read the clock of the file system that holds ``directory``, by making a file there.

    The wall clock will not do: a server's may differ, and file systems round. Where the stamp has
    no fraction the file system is taken to count in steps of two seconds, else of 10 ms, the
    longest tick of a kernel.
    """
    path = os.path.join(directory, f"clock.{os.getpid()}")
    discard(path)
    try:
        write_new(path, [], mode=0o600, sync=False)
        found = os.lstat(path)
    finally:
        discard(path)
    now = found.st_mtime_ns
    tick = _TICK_NS if now % 1_000_000_000 else _COARSE_TICK_NS
    return Clock(now - tick, found.st_dev)


def without_racy(directory: Directory, clock: Clock | None) -> Directory:
    """Return the directory with every row taken back that the next scan must not rely on.

    Those are rows of files that are not hashed, or that changed so shortly before ``clock`` that
    a later change might leave the same stamps. Without a clock that is every row.
    """
    values = array("q", directory.rows)
    if clock is not None and UNHASHED not in directory.digests and _all_older(values, clock):
        return directory
    for i in range(len(directory)):
        row = values[i * COLUMNS : (i + 1) * COLUMNS]
        digest = directory.digests[i * DIGEST : (i + 1) * DIGEST]
        is_unhashed = digest == UNHASHED and stat.S_ISREG(row[0])
        if clock is None or is_unhashed or not _all_older(row, clock):
            values[i * COLUMNS + SIZE] = _NO_STAT
    return Directory(
        directory.names, values.tobytes(), directory.digests, directory.targets, directory.is_empty
    )


def _all_older(values: array[int], clock: Clock) -> bool:
    if not values:
        return True
    return (
        max(values[MTIME::COLUMNS]) < clock.limit_ns
        and max(values[CTIME::COLUMNS]) < clock.limit_ns
    )
