# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository on another host: what the backend's protocol asks for, asked of the host's agent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..backends.base import Carry, Held
from ..errors import DsgError
from ..manifest import header as headers
from ..manifest.codec import Manifest
from ..manifest.entry import Entry
from ..manifest.header import Header
from ..posix.lock import WAITING
from ..posix.progress import meanwhile
from . import alive, shape, wire
from .destination import Destination
from .errors import ConnectionLost
from .receiving import Receiver
from .remote_transaction import RemotePrepared, RemoteTransaction
from .session import Connect, Session, encode_call

_SETTLED = 120.0
"""Seconds to wait for an agent that outlived its connection, until it has let go."""


class RemoteRepository:
    """``backend`` and ``name`` as on the host itself; the connection is made at once, and awaited late.

    While it comes up, the caller may do something else: the first calls are sent with it.
    """

    def __init__(
        self,
        destination: Destination,
        backend: Mapping[str, object],
        name: str,
        connect: Connect,
    ) -> None:
        self.name = name
        self.backend = backend
        self.destination = destination
        self.location = f"{destination.name}:{_place(backend)}/{name}"
        self._connect = connect
        self._opening: Session | None = None
        self._awaited: list[str] = []
        self._head: list[Header | None] = []

    @property
    def _session(self) -> Session:
        """Return the session, with every answer read to what was sent ahead."""
        if self._opening is None:
            self._opening = self._opened([])
        session = self._opening
        while self._awaited:
            self._take(session, self._awaited.pop(0))
        return session

    def _opened(self, calls: Sequence[tuple[str, dict[str, object]]]) -> Session:
        """Begin a connection and send the first calls with it."""
        first: tuple[str, dict[str, object]] = (
            "open",
            {"backend": dict(self.backend), "name": self.name},
        )
        sent = [first, *calls]
        self._awaited = [verb for verb, _unused in sent]
        ahead = b"".join(encode_call(verb, 0, arguments) for verb, arguments in sent)
        return Session(self.destination, self._connect, ahead)

    def _take(self, session: Session, verb: str) -> None:
        try:
            answer = session.answer()
        except DsgError:
            self._skip(session)
            raise
        if verb == "head":
            self._head.append(wire.header_in(answer, self.location))

    def _skip(self, session: Session) -> None:
        """Drop the answers behind a failed one: they only follow from it."""
        while self._awaited and not session.lost:
            self._awaited.pop(0)
            try:
                session.answer()
            except DsgError:
                continue

    def close(self) -> None:
        """End the connection."""
        if self._opening is not None:
            self._opening.close()

    def check_source(self, src: str) -> None:
        """Refuse an overlapping working copy where both are on one host.

        This is how a run begins: the connection is, too, and the refusal comes with the first answer.
        """
        calls: list[tuple[str, dict[str, object]]] = []
        if os.path.isdir(src):
            found = os.stat(src)
            calls.append(("check_source", {"src": src, "dev": found.st_dev, "ino": found.st_ino}))
        if self._opening is None:
            self._opening = self._opened([*calls, ("head", {})])
            return
        for verb, arguments in calls:
            self._session.call(verb, **arguments)

    def head(self) -> Header | None:
        """Return the newest snapshot's header, None where the repository provably is absent."""
        session = self._session
        if self._head:
            return self._head.pop()
        return wire.header_in(session.call("head"), self.location)

    def manifest(self, known: Callable[[], Manifest | None] | None = None) -> Manifest:
        """Return the newest snapshot's manifest, checked; of a known one only what changed since."""
        base = None if known is None else known()
        header = None if base is None else base.header
        session = self._session
        session.post(
            "manifest",
            known=0 if header is None else header.snapshot,
            known_id="" if header is None else header.id,
        )
        content = session.text()
        if session.answer() == wire.DELTA and base is not None:
            return wire.history_in([content], base, self.location)
        return wire.manifest_in([content], None, self.location)

    def history(self, snapshot: int) -> bytes:
        """Return what a snapshot changed, as it was recorded."""
        session = self._session
        session.post("history", snapshot=snapshot)
        content = session.text()
        session.answer()
        return content

    def history_header(self, snapshot: int) -> Header:
        """Return the header of a snapshot as the history has it, be the snapshot kept or pruned."""
        answer = self._session.call("history_header", snapshot=snapshot)
        return headers.of_data(answer, self.location)

    def committed(self, txn_id: str, since: int) -> bool:
        """Tell whether a transaction committed; a lost connection is made anew to ask."""
        if self._opening is not None and self._opening.lost:
            self._opening.close()
            self._opening = self._opened([])
        return bool(self._session.call("committed", txn_id=txn_id, since=since, timeout=_SETTLED))

    def make_durable(self) -> None:
        """Have what is published on stable storage."""
        self._session.call("make_durable")

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the repository; the host lets go by itself when the connection ends."""
        session = self._session
        with meanwhile(WAITING):
            session.call("lock", timeout=timeout, shared=shared, patience=alive.PATIENCE)
        with alive.Alive(session.channel, alive.EVERY):
            try:
                yield
            finally:
                self._unlock(session)

    def _unlock(self, session: Session) -> None:
        if session.lost or session is not self._opening:
            return
        try:
            session.call("unlock")
        except ConnectionLost:  # the host has let go by itself, and nothing else hangs on it
            return

    def unfinished(self) -> list[str]:
        """Describe what :meth:`recover` would do; changes nothing."""
        return self._told([str], "unfinished")

    def open_transactions(self) -> list[str]:
        """Describe the transactions that :meth:`recover` leaves alone for now."""
        return self._told([str], "open_transactions")

    def held(self) -> list[Held]:
        """Return the transactions that wait for a decision."""
        return [Held(*fields) for fields in self._told([shape.HELD], "held")]

    def resume(self, txn_id: str) -> RemotePrepared | None:
        """Return a held transaction to be decided, None where there is none."""
        return (
            RemotePrepared(self._session) if self._session.call("resume", txn_id=txn_id) else None
        )

    def recover(self) -> list[str]:
        """Finish or undo what dead transactions left; the lock must be held."""
        return self._told([str], "recover")

    def begin(self, txn_id: str, base: Manifest | None) -> RemoteTransaction:
        """Open a transaction upon ``base`` (None: the repository is to be created)."""
        self._session.call("begin", txn_id=txn_id, base_id="" if base is None else base.header.id)
        return RemoteTransaction(self._session, base)

    def ask(self, job: str, arguments: Mapping[str, object]) -> Any:
        """Have a job done where the repository is; return its answer."""
        wanted = shape.of_answer(job, arguments)
        return self._session.told(wanted, "ask", job=job, arguments=dict(arguments))

    def snapshot_manifest(self, number: int) -> Manifest:
        """Return a kept snapshot's own manifest, proved over there to be the one of the history."""
        session = self._session
        session.post("snapshot_manifest", number=number)
        content = session.text()
        session.answer()
        return wire.manifest_in([content], None, self.location)

    def fetch(
        self,
        entries: Sequence[Entry],
        directory: str,
        carry: Carry | None = None,
        snapshot: int = 0,
    ) -> None:
        """Copy entries, verified, to ``directory/0``, ``directory/1``, … in their order."""
        session = self._session
        session.post("fetch", wire.entries_out(entries), snapshot=snapshot)
        try:
            Receiver(session.files()).fill(directory, entries)
        except BaseException:
            session.lost = True  # what is still on its way cannot be told from what is asked next
            raise
        session.answer()

    def require_rights(self) -> None:
        """Raise :class:`MissingRight` where the user over there could not publish."""
        self._session.call("require_rights")

    def require_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`DriftError` where a transaction upon ``manifest`` would be refused."""
        self._session.call("require_unchanged", manifest_id=manifest.header.id)

    def drift(self, manifest: Manifest, *, checksum: bool) -> list[str]:
        """Name the differences between the published tree and its manifest."""
        return self._told([str], "drift", manifest_id=manifest.header.id, checksum=checksum)

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots that are there, the newest (published) one last."""
        return self._told([int], "snapshots")

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests; one line per problem."""
        return self._told([str], "chain_problems")

    def _told(self, wanted: list[Any], verb: str, **arguments: object) -> list[Any]:
        """Call a verb and return its answer, a list of what is ``wanted``."""
        answer: list[Any] = self._session.told(wanted, verb, **arguments)
        return answer


def _place(backend: Mapping[str, object]) -> str:
    kind = str(backend.get("type"))
    places = [str(value) for key, value in sorted(backend.items()) if key != "type" and value]
    return ":".join([kind, *places])
