# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verbs of an agent that change nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from ..backends.base import LocalRepository
from ..backends.registry import open_repository
from ..errors import DriftError, ManifestError, SourceChanged
from . import frames, wire
from .frames import END, pack
from .serving import Serving

_MOST_STEPS = 200


class Looking(Serving):
    """What is asked of a repository that stays as it is."""

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

    def history_header(self, snapshot: int) -> dict[str, object] | None:
        """Return the header of one step of the history."""
        return wire.header_out(self._held_repository().history_header(snapshot))

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

    def require_rights(self) -> None:
        """Raise where this user could not publish."""
        self._held_repository().require_rights()

    def require_unchanged(self, manifest_id: str) -> None:
        """Raise where a transaction upon the manifest would be refused."""
        self._held_repository().require_unchanged(self._manifest(manifest_id))

    def drift(self, manifest_id: str, checksum: bool) -> list[str]:
        """Name what differs from the manifest."""
        return self._held_repository().drift(self._manifest(manifest_id), checksum=checksum)

    def snapshot_manifest(self, number: int) -> None:
        """Send the manifest of a snapshot that is kept."""
        manifest = self._held_repository().snapshot_manifest(number)
        frames.send_stream(self._pipe, wire.manifest_out(manifest, None))

    def fetch(self, snapshot: int) -> None:
        """Send contents of files of a snapshot (0: published ones), for the entries that come in."""
        from .sending import Item, Sender

        entries = wire.entries_in(self._incoming())

        def carry(root: str, _directory: str, wanted: Sequence[Any]) -> None:
            try:
                Sender(self._pipe, root).send([Item(entry, None) for entry in wanted])
            except SourceChanged as exc:
                raise DriftError(
                    "the published file is not what the manifest says", object=exc.object
                ) from exc

        self._held_repository().fetch(entries, "", carry, snapshot)
        self._pipe.write(pack(END, b""))


VERBS = (
    "open",
    "check_source",
    "head",
    "manifest",
    "history",
    "history_header",
    "committed",
    "make_durable",
    "unfinished",
    "open_transactions",
    "held",
    "snapshots",
    "ask",
    "chain_problems",
    "require_rights",
    "require_unchanged",
    "drift",
    "snapshot_manifest",
    "fetch",
)
