# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every backend keeps: one repository, and one transaction on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from ..manifest.codec import Manifest
from ..manifest.entry import Entry
from ..manifest.header import Header
from .standing import Cleanup, Holder, Missing, SnapshotUser, Space


class Upload(NamedTuple):
    """An entry to publish, and the source file's (size, mtime_ns, ino) when it was scanned.

    With ``patch`` the base has a file at the same path, both are large, and only what differs between
    them may be written. ``origin`` is the entry as the working copy has it, where it has another name or
    another link target there.
    """

    entry: Entry
    identity: tuple[int, int, int]
    patch: bool = False
    origin: Entry | None = None

    @property
    def source(self) -> Entry:
        """The entry as the working copy has it."""
        return self.origin or self.entry


Land = Callable[[str, str, Sequence[Upload]], list[Entry]]
"""Copies uploads from a tree (its root) to another one; returns them as they landed, hashed."""

Carry = Callable[[str, str, Sequence[Entry]], None]
"""Copies entries from a tree (its root), verified, to ``directory/0``, ``directory/1``, …"""


class Held(NamedTuple):
    """A prepared transaction that outlives its process, until somebody commits it or rolls it back.

    ``since`` is UTC by the storage host's clock, as manifests write it; ``note`` one line that says
    by whom and for what; ``base`` the snapshot number that it was prepared upon (0: a first one).
    """

    txn_id: str
    since: str
    note: str
    base: int

    def __str__(self) -> str:
        return f"transaction {self.txn_id} is prepared and held since {self.since} ({self.note})"


class Stored(NamedTuple):
    """A snapshot that is held. ``manifest_id`` is the one that it carries itself.

    ``in_use`` says why it cannot be removed now (holds, clones, mounts, readers, sends), '' where it can.
    """

    number: int
    manifest_id: str
    in_use: str


class Shelf(NamedTuple):
    """Our snapshots in order, the published one last, and the names of others that lie among them."""

    stored: list[Stored]
    foreign: list[str]


class Removal(NamedTuple):
    """Whether a snapshot is none any more, and what has to wait ('' for nothing), in one sentence."""

    gone: bool
    waiting: str


class Prepared(Protocol):
    """A transaction that only has to be decided."""

    def commit(self) -> None:
        """Check that the repository is still the base, then publish in one atomic step."""

    def finish(self) -> list[str]:
        """Tidy up behind the commit point; return what has to wait, one sentence each."""

    def rollback(self) -> None:
        """Remove the work area."""


class Transaction(Prepared, Protocol):
    """One change of a repository: stage, prepare, commit, finish; or rollback."""

    def stage(
        self,
        source: str,
        uploads: Sequence[Upload],
        deletes: set[str],
        land: Land | None = None,
    ) -> list[Entry]:
        """Apply the change to the work area; return the uploads as they landed, hashed.

        ``land`` brings the uploads (None: by copying from the tree at ``source``).
        """

    def prepare(self, manifest: Manifest) -> None:
        """Write manifest and history, check the work area against them, make it durable."""

    def hold(self, note: str) -> None:
        """Keep what is prepared, durably: the process may end, the lock may go, the host reboot.

        Until it is decided, recovery leaves it alone and no other transaction begins here.
        """


class Repository(Protocol):
    """A published tree on a storage host."""

    name: str
    location: str
    """Stable text that tells this repository from others, for the working copy's records."""

    backend: Mapping[str, object]

    def check_source(self, src: str) -> None:
        """Refuse a working copy that overlaps with what the repository is held in."""

    def head(self) -> Header | None:
        """Return the newest snapshot's header, None where the repository provably is absent."""

    def manifest(self, known: Callable[[], Manifest | None] | None = None) -> Manifest:
        """Return the newest snapshot's manifest, checked.

        ``known`` may give an older one of the same repository, to be sent differences only.
        """

    def history(self, snapshot: int) -> bytes:
        """Return what a snapshot changed, as it was recorded."""

    def history_header(self, snapshot: int) -> Header:
        """Return the header of a snapshot as the history has it, be the snapshot kept or pruned.

        :class:`ManifestError` where there is none, or a damaged one.
        """

    def committed(self, txn_id: str, since: int) -> bool:
        """Tell whether a transaction made a snapshot after number ``since`` (0: it made the first).

        A repository that had snapshots and is absent now is an error, not a no.
        """

    def make_durable(self) -> None:
        """Have what is published on stable storage.

        A commit whose process died may still be in memory only: before a working copy goes forward
        upon it, no power cut may be able to take it back.
        """

    def lock(self, timeout: float, *, shared: bool = False) -> AbstractContextManager[None]:
        """Hold the repository; ``timeout`` in seconds."""

    def unfinished(self) -> list[str]:
        """Describe what :meth:`recover` would do; changes nothing."""

    def open_transactions(self) -> list[str]:
        """Describe the transactions that :meth:`recover` leaves alone for now, held ones included."""

    def held(self) -> list[Held]:
        """Return the transactions that wait for a decision; one that committed is none of them."""

    def resume(self, txn_id: str) -> Prepared | None:
        """Return a held transaction to be decided, None where there is none; the lock must be held.

        Of one that is not held (any more) :meth:`committed` tells how it ended.
        """

    def recover(self) -> list[str]:
        """Finish or undo what dead transactions left; the lock must be held."""

    def begin(self, txn_id: str, base: Manifest | None) -> Transaction:
        """Open a transaction upon ``base`` (None: the repository is to be created).

        Raises :class:`HeldError` where another one is held.
        """

    def fetch(
        self,
        entries: Sequence[Entry],
        directory: str,
        carry: Carry | None = None,
        snapshot: int = 0,
    ) -> None:
        """Copy entries, verified, to ``directory/0``, ``directory/1``, … in their order.

        ``carry`` takes them there (None: by copying). They are those of a snapshot (0: the newest).
        """

    def snapshot_manifest(self, number: int) -> Manifest:
        """Return a kept snapshot's own manifest, proved to be the one of the newest one's history."""

    def require_rights(self) -> None:
        """Raise :class:`MissingRight` where this user could not publish."""

    def require_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`DriftError` where a transaction upon ``manifest`` would be refused."""

    def drift(self, manifest: Manifest, *, checksum: bool) -> list[str]:
        """Name the differences between the published tree and its manifest."""

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots that are there, the newest (published) one last."""

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests; one line per problem."""


class LocalRepository(Repository, Protocol):
    """A repository of this very host, with what only those who are there can do."""

    def tree(self) -> str:
        """Return the published tree's root."""

    def snapshot_tree(self, number: int) -> str:
        """Return the root of a snapshot's tree, to be read only; raises where it is not kept."""

    def shelf(self) -> Shelf:
        """Return which snapshots are held, from a listing that succeeded."""

    def mounted_snapshot(self, path: str) -> int | None:
        """Return the number of the snapshot that is mounted at ``path``, None for anything else."""

    def remove_snapshot(self, number: int) -> Removal:
        """Remove an older snapshot, whole; the lock must be held."""

    def is_untouched(self) -> bool:
        """Tell whether the published tree provably is as it was committed; no is "look at it"."""

    def running(self) -> list[Holder]:
        """Return who works on it now."""

    def cleanups(self) -> list[Cleanup]:
        """Return what recovery is to clear away, and who is in the way."""

    def snapshot_users(self) -> list[SnapshotUser]:
        """Return what keeps older snapshots from being removed."""

    def space(self, *, history: bool) -> Space:
        """Return what it takes and what is left; ``history`` may have to walk through it all."""

    def missing_rights(self) -> list[Missing]:
        """Return what this user lacks to publish."""
