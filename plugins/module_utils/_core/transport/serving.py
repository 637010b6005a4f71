# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an agent works with: one repository, its lock, one transaction, and the streams of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from ..backends.base import LocalRepository, Prepared, Transaction
from ..errors import ArgumentError, DriftError
from ..manifest.codec import Manifest
from . import frames
from .pipe import FdPipe

Chunks = Iterator[bytes]


class Serving:
    """The state between calls; the verbs are in :mod:`.looking` and :mod:`.changing`."""

    def __init__(self, pipe: FdPipe) -> None:
        self._pipe = pipe
        self._repository: LocalRepository | None = None
        self._lock: AbstractContextManager[None] | None = None
        self._transaction: Transaction | None = None
        self._decided: Prepared | None = None
        self._base: Manifest | None = None
        self._undo = False
        self._streams = 0

    def _held_repository(self) -> LocalRepository:
        if self._repository is None:
            raise ArgumentError("no repository is open")
        return self._repository

    def _current(self) -> Transaction:
        if self._transaction is None:
            raise ArgumentError("no transaction is open")
        return self._transaction

    def _deciding(self) -> Prepared:
        found = self._decided or self._transaction
        if found is None:
            raise ArgumentError("no transaction is open")
        return found

    def _incoming(self) -> Chunks:
        """Return the next stream of this call."""
        return self._counted(frames.receive_stream(self._pipe))

    def _incoming_files(self) -> Chunks:
        return self._counted(frames.raw_stream(self._pipe))

    def _counted(self, chunks: Chunks) -> Chunks:
        """Note that a stream of this call has been read to its end, or its sender's giving up."""
        try:
            yield from chunks
        except frames.Aborted:
            self._streams -= 1
            raise
        self._streams -= 1

    def _manifest(self, manifest_id: str) -> Manifest:
        repository = self._held_repository()
        manifest = repository.manifest()
        if manifest.header.id != manifest_id:
            raise DriftError(
                f"the repository is at s{manifest.header.snapshot} now",
                object=repository.location,
                next_step="Run again: the new snapshot is taken into account then.",
            )
        return manifest
