# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SHA-256 of files, read without surprises: what changes while it is read is an error."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from ..errors import SourceChanged, TreeError
from ..posix.beneath import Beneath
from ..posix.parallel import ITEM_COST, fork_map
from ..posix.progress import advance, begin
from .columns import DIGEST, ROW, SIZE, UNHASHED, iter_rows, pack_row
from .paths import show

BLOCK = 256 * 1024
"""Bytes that are read in one go: what was read is still in the processor's cache when hashed."""
_LARGE = 8 * 1024 * 1024  # bytes
_MANY = 64  # files

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo must not block us
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENXIO)


class Identity(NamedTuple):
    """What tells one state of a file from another without reading it; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int


def identity_of(found: os.stat_result) -> Identity:
    """Return the identity in a stat result."""
    return Identity(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def identity_of_row(row: Sequence[int]) -> Identity:
    """Return the identity in a row of a tree's columns."""
    _mode, ino, size, mtime_ns, ctime_ns = row
    return Identity(size, mtime_ns, ctime_ns, ino % 2**64)


def hash_file(
    name: str,
    *,
    dir_fd: int | None = None,
    expected: Identity | None = None,
    path: str | None = None,
) -> str:
    """Return the SHA-256 (hex) of one regular file, opened without following a link.

    ``path`` is what errors call it. Raises :class:`SourceChanged` if the file is gone, is not a
    regular file, is not the ``expected`` one (size, mtime, inode), or changes while it is read;
    :class:`TreeError` if it cannot be read.
    """
    shown = name if path is None else path
    try:
        return _hash(name, dir_fd, expected, shown).hex()
    except OSError as exc:
        raise _read_error(exc, shown) from None


class Batch(NamedTuple):
    """Files of one directory to hash; ``rows`` are their stats, as in :mod:`.columns`."""

    directory: str
    names: Sequence[str]
    rows: bytes
    size: int


def batches(directory: str, names: Sequence[str], rows: bytes) -> Iterator[Batch]:
    """Cut the files of a directory into batches that are worth a worker's attention."""
    start = size = 0
    for stop, row in enumerate(iter_rows(rows), 1):
        size += row[SIZE]
        if size >= _LARGE or stop - start >= _MANY or stop == len(names):
            yield Batch(directory, names[start:stop], rows[start * ROW : stop * ROW], size)
            start, size = stop, 0


def hash_batches(
    root: str, work: Sequence[Batch], *, workers: int | None = None
) -> tuple[list[bytes], list[str]]:
    """Hash many files beneath ``root``, in several processes where that pays.

    Returns for each batch its 32-byte digests joined (zeros where a file could not be read), and
    one line for each file that could not be read. Raises :class:`SourceChanged`.
    """
    if work:
        begin("hash", sum(len(one.names) for one in work), sum(one.size for one in work))
    # Large files first: one that is begun last would keep a single worker busy alone.
    order = sorted(range(len(work)), key=[-(batch.size // _LARGE) for batch in work].__getitem__)
    ordered = [work[i] for i in order]
    results = fork_map(partial(_hash_each, root), ordered, cost=_cost, workers=workers)
    digests = [b""] * len(work)
    unreadable = []
    for i, result in zip(order, results):
        length = len(work[i].names) * DIGEST
        digests[i] = result[:length]
        if len(result) > length:
            unreadable += result[length:].decode("utf-8", "surrogateescape").split("\n")
    return digests, unreadable


def hash_paths(
    root: str, files: Sequence[tuple[str, Identity]], *, workers: int | None = None
) -> tuple[list[bytes], list[str]]:
    """Do as :func:`hash_batches` does, for files given one by one.

    Returns one digest for each file (empty where it could not be read).
    """
    work = [_batch_of_one(path, expected) for path, expected in files]
    digests, unreadable = hash_batches(root, work, workers=workers)
    return [b"" if digest == UNHASHED else digest for digest in digests], unreadable


def _batch_of_one(path: str, expected: Identity) -> Batch:
    directory, _unused, name = path.rpartition("/")
    size, mtime_ns, ctime_ns, ino = expected
    signed = ino - 2**64 if ino >= 2**63 else ino
    return Batch(directory, (name,), pack_row(0, signed, size, mtime_ns, ctime_ns), size)


def _cost(batch: Batch) -> int:
    return batch.size + (len(batch.names) - 1) * ITEM_COST


def _hash_each(root: str, work: Sequence[Batch]) -> Iterator[bytes]:
    with Beneath(root) as tree:
        for batch in work:
            yield _hash_batch(tree, batch)


def _hash_batch(tree: Beneath, batch: Batch) -> bytes:
    prefix = f"{batch.directory}/" if batch.directory else ""
    found = []
    unreadable = []
    small = 0
    try:
        fd = tree.directory(batch.directory)
    except OSError as exc:
        raise _read_error(exc, batch.directory) from None
    for name, row in zip(batch.names, iter_rows(batch.rows)):
        try:
            found.append(_hash(name, fd, identity_of_row(row), prefix + name))
            if row[SIZE] < BLOCK:
                small += row[SIZE]
        except OSError as exc:
            error = _read_error(exc, prefix + name)
            if isinstance(error, SourceChanged):
                raise error from None
            found.append(UNHASHED)
            unreadable.append(f"{show(prefix + name)}: {error.message}")
    advance(len(batch.names), small)  # of larger files every block was counted
    return b"".join(found) + "\n".join(unreadable).encode("utf-8", "surrogateescape")


def _read_error(exc: OSError, path: str) -> SourceChanged | TreeError:
    if exc.errno in _GONE:
        return SourceChanged("it is gone, or something else took its place", object=path)
    text = os.strerror(exc.errno) if exc.errno else str(exc)
    return TreeError(f"cannot be read: {text}", object=path)


def _hash(name: str, dir_fd: int | None, expected: Identity | None, path: str) -> bytes:
    fd = os.open(name, _OPEN, dir_fd=dir_fd)
    try:
        if expected is not None and expected.size < BLOCK:
            digest = _hash_small(fd, expected)
            if digest is not None:
                return digest
        return _hash_any(fd, expected, path)
    finally:
        os.close(fd)


def _hash_small(fd: int, expected: Identity) -> bytes | None:
    """Hash a file whose stat after reading is what it was when the tree was walked.

    Then nothing changed in between, and one call of fstat(2) does. None if the stat differs.
    """
    size = expected.size
    try:
        data = os.pread(fd, size + 1, 0)  # one more: what comes back is all there is
    except OSError:
        return None
    after = os.fstat(fd)
    if (
        len(data) == size == after.st_size
        and after.st_mtime_ns == expected.mtime_ns
        and after.st_ctime_ns == expected.ctime_ns
        and after.st_ino == expected.ino
        and stat.S_ISREG(after.st_mode)
    ):
        return sha256(data).digest()
    return None


def _hash_any(fd: int, expected: Identity | None, path: str) -> bytes:
    before = os.fstat(fd)
    if not stat.S_ISREG(before.st_mode):
        raise SourceChanged("it is not a regular file (any more)", object=path)
    if expected is not None and (
        before.st_size != expected.size
        or before.st_mtime_ns != expected.mtime_ns
        or before.st_ino != expected.ino
    ):
        raise SourceChanged("it changed after the tree was read", object=path)
    length, digest = digest_blocks(fd)
    if length != before.st_size or identity_of(os.fstat(fd)) != identity_of(before):
        raise SourceChanged("it changed while it was read", object=path)
    return digest


def digest_blocks(fd: int) -> tuple[int, bytes]:
    """Return the number of bytes up to the file's end, and their SHA-256."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    digest = sha256()
    length = 0
    block = memoryview(bytearray(BLOCK))
    while True:
        count = os.readv(fd, [block])
        if not count:
            return length, digest.digest()
        digest.update(block[:count])
        length += count
        advance(0, count)
