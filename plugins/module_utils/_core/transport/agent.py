# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The remote half: serves one repository of its host over standard input and output.

It ends with its channel. A transaction that is not prepared then is undone; one that is stays, for
recovery to decide, which finds no commit of it and undoes it, or for the fleet that holds it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from json import dumps
from typing import Any

from ..backends.base import LocalRepository, Prepared, Transaction
from ..backends.registry import open_repository
from ..errors import ArgumentError, DriftError, ManifestError, RepositoryError, SourceChanged
from ..manifest.codec import Manifest
from . import frames, wire
from .frames import CALL, END, FAILURE, REPLY, pack
from .pipe import FdPipe, Silence

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_ENDED = (BrokenPipeError, ConnectionResetError, EOFError, frames.ProtocolError)
_MOST_STEPS = 200

Verb = Callable[..., Any]
Chunks = Iterator[bytes]


def main(early: bytes) -> int:
    """Serve on this process's standard streams until the channel ends."""
    output = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not come between frames
    pipe = FdPipe(os.dup(0), output, early)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in _SIGNALS:
        signal.signal(number, _leave)
    agent = Agent(pipe)
    try:
        agent.serve()
        return 0
    except Silence:
        os.write(2, b"the agent heard nothing from its client for too long, and gave up\n")
        return 1
    except _ENDED:
        return 1  # nobody is there to be told
    finally:
        agent.close()


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


class Agent:
    """Carries out calls on one repository, in the order in which they come."""

    def __init__(self, pipe: FdPipe) -> None:
        self._pipe = pipe
        self._repository: LocalRepository | None = None
        self._lock: AbstractContextManager[None] | None = None
        self._transaction: Transaction | None = None
        self._decided: Prepared | None = None
        self._base: Manifest | None = None
        self._undo = False
        self._streams = 0

    def serve(self) -> None:
        """Answer until the channel ends."""
        while True:
            frame = frames.read_frame(self._pipe)
            if frame is None:
                return
            if frame.kind != CALL:
                raise frames.ProtocolError(f"a frame of kind {frame.kind!r} instead of a call")
            call = frames.parsed(frame.payload)
            self._streams = call.pop("streams", 0)
            try:
                answer = self._verb(call.pop("do"))(**call)
                self._pipe.write(pack(REPLY, dumps(answer).encode()))
            except _ENDED:
                raise
            except Exception as exc:
                self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        """Say what went wrong at once, then drop what is still on its way for this call."""
        from .. import error_codec  # rarely needed, and it imports a lot

        self._pipe.write(pack(FAILURE, error_codec.encode(exc)))
        while self._streams:
            self._streams -= 1
            frames.drain(self._pipe)

    def close(self) -> None:
        """Undo what is not prepared, and let go."""
        transaction, self._transaction = self._transaction, None
        try:
            if transaction is not None and self._undo:
                transaction.rollback()
        finally:
            self.unlock()

    def _verb(self, name: str) -> Verb:
        verb: Verb | None = getattr(self, name, None) if name in VERBS else None
        if verb is None:
            raise ArgumentError(f"the agent has no verb {name!r}")
        return verb

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

    # --- verbs: looking ---

    def open(self, backend: dict[str, object], name: str) -> dict[str, object]:
        """Open a repository; touches nothing."""
        self._repository = open_repository(backend, name)
        return {"location": self._repository.location, "node": os.uname().nodename}

    def check_source(self, src: str, dev: int, ino: int) -> None:
        """Refuse an overlapping working copy, where this is the very host that it is on."""
        try:
            found = os.stat(src)
        except OSError:
            return
        if (found.st_dev, found.st_ino) == (dev, ino):
            self._held_repository().check_source(src)

    def head(self) -> dict[str, object] | None:
        """Return the newest header."""
        return wire.header_out(self._held_repository().head())

    def manifest(self, known: int, known_id: str) -> str:
        """Send the manifest, as what changed since the known one where that is shorter."""
        repository = self._held_repository()
        steps = self._steps_since(repository, known, known_id) if known else None
        if steps is not None:
            frames.send_stream(self._pipe, steps)
            return wire.DELTA
        manifest = repository.manifest()
        frames.send_stream(self._pipe, wire.manifest_out(manifest, None))
        return wire.FULL

    def _steps_since(
        self, repository: LocalRepository, known: int, known_id: str
    ) -> list[bytes] | None:
        head = repository.head()
        if head is None or not 0 <= head.snapshot - known <= _MOST_STEPS:
            return None
        try:
            steps = [repository.history(number) for number in range(known, head.snapshot + 1)]
        except ManifestError:  # damage that verify tells of; the manifest itself is enough here
            return None
        if f'"id":"{known_id}"'.encode() not in steps[0].partition(b"\n")[0]:
            return None
        return steps[1:]

    def history(self, snapshot: int) -> None:
        """Send one step of the history."""
        frames.send_stream(self._pipe, [self._held_repository().history(snapshot)])

    def committed(self, txn_id: str, since: int, timeout: float) -> bool:
        """Tell whether a transaction committed.

        The agent that carries it out may outlive its client for a while: until it has ended, and let
        go of the repository, nobody knows.
        """
        repository = self._held_repository()
        with nullcontext() if self._lock else repository.lock(timeout, shared=True):
            return repository.committed(txn_id, since)

    def make_durable(self) -> None:
        """Have what is published on stable storage."""
        self._held_repository().make_durable()

    def unfinished(self) -> list[str]:
        """Describe what recovery would do."""
        return self._held_repository().unfinished()

    def open_transactions(self) -> list[str]:
        """Describe what recovery would leave alone."""
        return self._held_repository().open_transactions()

    def held(self) -> list[Sequence[object]]:
        """Return the held transactions."""
        return [list(held) for held in self._held_repository().held()]

    def snapshots(self) -> list[int]:
        """Return the snapshots' numbers."""
        return self._held_repository().snapshots()

    def ask(self, job: str, arguments: dict[str, Any]) -> Any:
        """Do a job of those that are done where the repository is."""
        from ..upkeep import jobs

        return jobs.run(self._held_repository(), job, arguments)

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests."""
        return self._held_repository().chain_problems()

    def require_unchanged(self, manifest_id: str) -> None:
        """Raise where a transaction upon the manifest would be refused."""
        self._held_repository().require_unchanged(self._manifest(manifest_id))

    def drift(self, manifest_id: str, checksum: bool) -> list[str]:
        """Name what differs from the manifest."""
        return self._held_repository().drift(self._manifest(manifest_id), checksum=checksum)

    def rehashed(self) -> None:
        """Send the entries of the tree, hashed anew."""
        frames.send_stream(self._pipe, wire.entries_out(self._held_repository().rehashed()))

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

    def fetch(self) -> None:
        """Send contents of published files, for the entries that come in."""
        from .sending import Item, Sender

        entries = wire.entries_in(self._incoming())

        def carry(root: str, _directory: str, wanted: Sequence[Any]) -> None:
            try:
                Sender(self._pipe, root).send([Item(entry, None) for entry in wanted])
            except SourceChanged as exc:
                raise DriftError(
                    "the published file is not what the manifest says", object=exc.object
                ) from exc

        self._held_repository().fetch(entries, "", carry)
        self._pipe.write(pack(END, b""))

    # --- verbs: changing ---

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


LOOKING = (
    "open",
    "check_source",
    "head",
    "manifest",
    "history",
    "committed",
    "make_durable",
    "unfinished",
    "open_transactions",
    "held",
    "snapshots",
    "ask",
    "chain_problems",
    "require_unchanged",
    "drift",
    "rehashed",
    "fetch",
)
CHANGING = (
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
VERBS = frozenset((*LOOKING, *CHANGING))
