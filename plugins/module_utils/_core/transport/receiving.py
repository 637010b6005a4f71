# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The receiving side of file contents: written and hashed as they arrive, checked against the plan."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Container, Iterable, Iterator, Sequence

from ..errors import DriftError, SourceChanged, from_oserror
from ..manifest.entry import DIRECTORY, FILE, LINK, Entry
from ..posix import blocks
from ..posix.beneath import Beneath
from ..posix.durable import write_all
from ..posix.progress import advance
from .patches import RANGE

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATCH = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGE = 1 << 22
_WRITTEN_OUT = 1 << 23
_QUEUED = 16


class Receiver:
    """Takes file contents from a stream's payloads."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self._payloads = iter(payloads)
        self._rest = memoryview(b"")

    def land(
        self, target: str, entries: Sequence[Entry], patched: Container[str] = ()
    ) -> list[Entry]:
        """Make the entries below ``target``; return them as they landed, hashed.

        Of the paths in ``patched`` the old version is there, and what comes in is the difference.
        """
        with Beneath(target) as tree:
            landed = [self._land(tree, entry, entry.path in patched) for entry in entries]
        self.end()
        return landed

    def fill(self, directory: str, entries: Sequence[Entry]) -> None:
        """Write files and links, verified, to ``directory/0``, ``directory/1``, … in their order."""
        with Beneath(directory) as tree:
            for number, entry in enumerate(entries):
                if entry.kind != DIRECTORY:
                    landed = self._land_at(tree.fd, str(number), entry)
                    if landed.sha256 != entry.sha256:
                        raise DriftError(
                            "the published file is not what the manifest says", object=entry.path
                        )
        self.end()

    def end(self) -> None:
        """Read the end of the stream."""
        left = len(self._rest) + sum(len(payload) for payload in self._payloads)
        if left:
            raise SourceChanged(f"{left} bytes came in that belong to no file")

    def _land(self, tree: Beneath, entry: Entry, patch: bool) -> Entry:
        if entry.kind == DIRECTORY:
            tree.directory(entry.path, make=True)
            return entry
        fd, name = tree.at(entry.path, make_parents=True)
        landed = self._land_at(fd, name, entry, patch)
        if entry.sha256 and landed.sha256 != entry.sha256:
            raise SourceChanged("its content is not what was planned", object=entry.path)
        return landed

    def _land_at(self, parent: int, name: str, entry: Entry, patch: bool = False) -> Entry:
        try:
            if entry.kind == LINK:
                os.symlink(entry.target, name, dir_fd=parent)
                return entry
            return self._land_file(parent, name, entry, patch)
        except OSError as exc:
            exc.filename = entry.path  # the call itself knew the last component only
            raise from_oserror(exc, "writing") from exc

    def _land_file(self, parent: int, name: str, entry: Entry, patch: bool) -> Entry:
        fd = os.open(name, _PATCH if patch else _CREATE, 0o600, dir_fd=parent)
        try:
            sha256 = self._patch(fd, entry) if patch else self._write(fd, entry.size)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            mtime_ns = os.fstat(fd).st_mtime_ns  # a file system may store it coarser
        finally:
            os.close(fd)
        advance(1, 0)
        return entry._replace(kind=FILE, sha256=sha256, mtime_ns=mtime_ns)

    def _patch(self, fd: int, entry: Entry) -> str:
        """Write the ranges that come in; hash the whole, as nobody else has seen it."""
        while True:
            offset, length = RANGE.unpack(b"".join(self._take(RANGE.size)))
            if length == 0:
                break
            if offset + length > entry.size:
                raise SourceChanged("a range lies behind its end", object=entry.path)
            for part in self._take(length):
                blocks.write_block(fd, part, offset)
                offset += len(part)
        os.ftruncate(fd, entry.size)
        return blocks.hash_file(fd)[1]

    def _write(self, fd: int, size: int) -> str:
        if size >= _LARGE:
            return self._write_large(fd, size)
        digest = hashlib.sha256()
        for part in self._take(size):
            digest.update(part)
            write_all(fd, part)
        return digest.hexdigest()

    def _write_large(self, fd: int, size: int) -> str:
        """Hash in a thread of its own: hashlib, read and write all release the interpreter lock.

        The disk begins meanwhile: it would be idle until everything has to be durable.
        """
        from ..posix.syscalls import start_writeback  # imports ctypes: not for small files alone

        waiting = 0
        with Hashing() as hashing:
            for part in self._take(size):
                hashing.add(part)
                write_all(fd, part)
                waiting += len(part)
                if waiting >= _WRITTEN_OUT:
                    start_writeback(fd)
                    waiting = 0
        start_writeback(fd)
        return hashing.digest.hexdigest()

    def _take(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._rest:
                self._rest = memoryview(self._next())
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            advance(0, len(part))
            yield part

    def _next(self) -> bytes:
        payload = next(self._payloads, None)
        if payload is None:
            raise SourceChanged("the contents ended before the last file did")
        return payload


class Hashing(threading.Thread):
    """Hashes what is added, beside whatever the adder does; complete behind the ``with`` block."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.digest = hashlib.sha256()
        self._queue: queue.Queue[memoryview | None] = queue.Queue(_QUEUED)

    def add(self, part: memoryview) -> None:
        """Hash a part, which nobody changes any more."""
        self._queue.put(part)

    def __enter__(self) -> Hashing:
        self.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        """Hash until the end."""
        while True:
            part = self._queue.get()
            if part is None:
                return
            self.digest.update(part)
