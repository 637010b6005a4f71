# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verbs of an agent that change what is published, or keep others from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, RepositoryError
from . import frames, wire
from .frames import END, pack
from .serving import Serving


class Changing(Serving):
    """The lock, recovery, and the one transaction that a channel carries out."""

    def lock(self, timeout: float, shared: bool, patience: float) -> None:
        """Hold the repository until :meth:`unlock` or the end of the channel.

        A client that vanished without a word must not hold it for ever: the channel also ends when
        ``patience`` seconds long nothing came in.
        """
        if self._lock is not None:
            raise ArgumentError("the repository is locked already")
        lock = self._held_repository().lock(timeout, shared=shared)
        lock.__enter__()
        self._lock = lock
        self._pipe.expect_signs(patience)

    def unlock(self) -> None:
        """Let go of the repository."""
        lock, self._lock = self._lock, None
        self._pipe.expect_signs(0)
        if lock is not None:
            lock.__exit__(None, None, None)

    def recover(self) -> list[str]:
        """Finish or undo what dead transactions left."""
        self._require_lock()
        return self._held_repository().recover()

    def begin(self, txn_id: str, base_id: str) -> None:
        """Open a transaction upon the manifest ``base_id`` ('': the repository is to be created)."""
        self._require_lock()
        self._base = self._manifest(base_id) if base_id else None
        self._transaction = self._held_repository().begin(txn_id, self._base)
        self._undo = True

    def stage(self) -> None:
        """Apply deletes, uploads and the uploads' contents, which come in; send what landed."""
        from .patches import send_old
        from .receiving import Receiver

        deletes = set(wire.strings_in(self._incoming()))
        uploads = wire.uploads_in(self._incoming())
        asked = [upload for upload in uploads if upload.patch]

        def land(_source: str, target: str, wanted: Sequence[Any]) -> list[Any]:
            patched = {upload.entry.path for upload in wanted if upload.patch}
            if asked:
                send_old(self._pipe, target, asked, patched)
                self._pipe.write(pack(END, b""))
            receiver = Receiver(self._incoming_files())
            return receiver.land(target, [upload.entry for upload in wanted], patched)

        landed = self._current().stage("", uploads, deletes, land)
        frames.send_stream(self._pipe, wire.landed_out(uploads, landed))

    def prepare(self) -> None:
        """Write the manifest that comes in, as its difference to the base; check and make durable."""
        name = self._held_repository().location
        manifest = wire.manifest_in(self._incoming(), self._base, name)
        self._current().prepare(manifest)
        self._undo = False

    def hold(self, note: str) -> None:
        """Keep the prepared transaction behind this process."""
        self._current().hold(note)

    def resume(self, txn_id: str) -> bool:
        """Take up a held transaction to decide it; tell whether there is one."""
        self._require_lock()
        found = self._held_repository().resume(txn_id)
        if found is not None:  # the one that is taken up already is still to be finished
            self._decided = found
        return found is not None

    def commit(self) -> None:
        """Publish."""
        self._deciding().commit()

    def finish(self) -> list[str]:
        """Tidy up behind the commit."""
        return self._deciding().finish()

    def rollback(self) -> None:
        """Remove the work area."""
        self._deciding().rollback()
        self._transaction = self._decided = None

    def _require_lock(self) -> None:
        if self._lock is None:
            raise RepositoryError(
                "a change needs the lock", object=self._held_repository().location
            )


VERBS = (
    "lock",
    "unlock",
    "recover",
    "begin",
    "stage",
    "prepare",
    "hold",
    "resume",
    "commit",
    "finish",
    "rollback",
)
