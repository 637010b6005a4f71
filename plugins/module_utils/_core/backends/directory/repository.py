# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that is a directory on a POSIX file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import ArgumentError, MissingRight, RepositoryError
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...manifest.header import Header
from ...posix.lock import locked
from ...posix.present import is_directory, is_present
from .. import published
from ..base import Carry, Held, Removal, Shelf
from ..standing import SnapshotUser
from . import rights
from .layout import Layout

if TYPE_CHECKING:
    from ..standing import Cleanup, Holder, Missing, Space
    from .held import HeldTransaction
    from .transaction import DirectoryTransaction

# What only some runs need is imported there: most find nothing to do, and wait for every import.


class DirectoryRepository:
    """``base/name``, published by exchanging it with a staged tree."""

    def __init__(self, base: str, name: str) -> None:
        self.layout = Layout(base, name)
        self.name = name
        self.location = f"directory:{base}/{name}"
        self.backend: Mapping[str, object] = {"type": "directory", "base": base}

    def check_source(self, src: str) -> None:
        """Refuse a working copy inside the base directory, or around it."""
        source, base = os.path.realpath(src), os.path.realpath(self.layout.base)
        if os.path.commonpath((source, base)) in (source, base):
            raise ArgumentError(
                f"src and backend.base ({self.layout.base}) must not lie within one another",
                object=src,
            )

    def head(self) -> Header | None:
        """Return the newest snapshot's header, None where the repository provably is absent."""
        if not is_present(self.layout.live):
            self._require_base()
            return None
        self._require_directory()
        return published.read_header(self.layout.live, self.name)

    def manifest(self, known: Callable[[], Manifest | None] | None = None) -> Manifest:
        """Return the newest snapshot's manifest, checked."""
        self._require_directory()
        return published.read_manifest(self.layout.live, self.name)

    def _require_base(self) -> None:
        """Tell "no such repository" from "the base is not there" (not mounted, mistyped)."""
        if not is_directory(self.layout.base):
            raise RepositoryError(
                "the base directory does not exist (is its file system mounted?)",
                object=self.layout.base,
                next_step="Mount it, correct backend.base, or run dsg.storage.provision.",
            )
        self.layout.require_provisioned()

    def _require_directory(self) -> None:
        if os.path.islink(self.layout.live) or not is_directory(self.layout.live):
            raise RepositoryError(
                "the published path is not a directory",
                object=self.layout.live,
                next_step="Move what is there away, or choose another repository name.",
            )

    def committed(self, txn_id: str, since: int) -> bool:
        """Tell whether a transaction made a snapshot after number ``since``."""
        if since == 0 and is_present(self.layout.stage(txn_id)):
            return False  # a first publication is the renaming of this very directory
        head = self.head()
        if head is None:
            if since == 0:
                return False
            raise RepositoryError(
                f"it was at s{since} when transaction {txn_id} began, and is not there any more",
                object=self.layout.live,
                unchanged="This run changed nothing; other repositories are not concerned.",
                next_step="Restore it; until then nobody knows whether the transaction committed. If it is "
                f"lost for good: `dsg.storage.recover -e dsg_abandon={txn_id}`.",
            )
        if head.txn == txn_id:
            return True
        return any(
            published.read_history_header(self.layout.live, number).txn == txn_id
            for number in range(head.snapshot - 1, since, -1)
        )

    def make_durable(self) -> None:
        """Have what is published on stable storage."""
        from .transaction import make_durable

        make_durable(self.layout)

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the repository's lock; a reader without access to the container goes without.

        So does root where it must not write: there it is a reader, and what would write is refused.
        """
        if shared and not os.access(self.layout.lock, os.R_OK):
            yield
            return
        self.layout.require_provisioned()
        if rights.lacking(self.layout):
            yield
            return
        with locked(self.layout.lock, timeout=timeout, shared=shared, what=self.location):
            yield

    def unfinished(self) -> list[str]:
        """Describe what :meth:`recover` would do; changes nothing."""
        decided = sorted(self.layout.marked() - set(self.layout.staged()))
        fates = list(self._fates().values())
        fates += [
            f"transaction {txn_id} is decided; its mark is to be removed" for txn_id in decided
        ]
        return fates + [
            f"snapshot s{number} was pruned; the rest of it is to be removed"
            for number in self.layout.doomed_numbers()
        ]

    def _fates(self) -> dict[str, str]:
        """Return what recovery would do with each work area that it does not leave alone."""
        staged, marked = self.layout.staged(), self.layout.marked()
        head = self.head() if staged else None
        fates = {txn_id: self._fate(txn_id, head, txn_id in marked) for txn_id in staged}
        return {txn_id: fate for txn_id, fate in fates.items() if fate}

    def _fate(self, txn_id: str, head: Header | None, marked: bool) -> str:
        if head is not None and head.txn == txn_id:
            return f"transaction {txn_id} committed s{head.snapshot}; its old tree is to be kept"
        if marked:
            return ""
        return f"transaction {txn_id} did not commit; its work area is to be removed"

    def open_transactions(self) -> list[str]:
        """Describe the transactions that :meth:`recover` leaves alone: those that are held."""
        return [str(one) for one in self.held()]

    def held(self) -> list[Held]:
        """Return the transactions that wait for a decision."""
        from . import held

        return held.find(self.layout)

    def resume(self, txn_id: str) -> HeldTransaction | None:
        """Return a transaction that waits for a decision, None where there is none."""
        from . import held

        found = held.resume(self.layout, txn_id)
        if found is not None:
            rights.require(self.layout)
        return found

    def recover(self) -> list[str]:
        """Finish or undo what dead transactions left; the lock must be held.

        A work area that carries the live tree's transaction id is the old tree, exchanged out:
        it becomes its snapshot. One that has a mark waits for a decision. Any other is a transaction
        that never committed. A mark without a work area is that of a transaction that is decided.
        """
        from ...posix.durable import discard, sync_directory
        from ...posix.remove import remove_tree_at
        from .transaction import make_durable, retire

        if rights.lacking(self.layout) and not self.unfinished():
            return []
        rights.require(self.layout)
        for path in self.layout.unwritten_marks():
            discard(path)
        staged, marked = self.layout.staged(), self.layout.marked()
        doomed = self.layout.doomed_numbers()
        if not (staged or marked or doomed):
            return []
        head = self.head()  # an unreadable manifest stops here: nothing may be removed then
        done = []
        if marked:  # what is decided must not come back by a power cut once its mark is gone
            make_durable(self.layout)
        for txn_id in staged:
            if head is not None and head.txn == txn_id:
                retire(self.layout, txn_id, head.snapshot - 1)
                discard(self.layout.mark(txn_id))
                done.append(f"finished transaction {txn_id}: kept s{head.snapshot - 1}")
            elif txn_id not in marked:
                remove_tree_at(self.layout.stage(txn_id))
                done.append(f"undid transaction {txn_id}: removed its work area")
        for txn_id in sorted(marked - set(staged)):
            discard(self.layout.mark(txn_id))
            done.append(f"closed transaction {txn_id}, which is decided")
        if doomed:
            from . import shelf

            done += shelf.collect(self.layout)
        sync_directory(self.layout.container)
        return done

    def begin(self, txn_id: str, base: Manifest | None) -> DirectoryTransaction:
        """Open a transaction upon ``base`` (None: the repository is to be created)."""
        from ..holding import refuse_held
        from .transaction import DirectoryTransaction

        rights.require(self.layout)
        self.layout.require_provisioned()
        refuse_held(self.held(), self.location)
        return DirectoryTransaction(self.layout, txn_id, base)

    def fetch(
        self,
        entries: Sequence[Entry],
        directory: str,
        carry: Carry | None = None,
        snapshot: int = 0,
    ) -> None:
        """Copy entries, verified, to ``directory/0``, ``directory/1``, … in their order."""
        from .. import tree

        root = self.snapshot_tree(snapshot) if snapshot else self.layout.live
        (carry or tree.fetch)(root, directory, entries)

    def snapshot_manifest(self, number: int) -> Manifest:
        """Return a kept snapshot's own manifest, proved by the history."""
        root = self.snapshot_tree(number)
        return published.read_snapshot(self.layout.live, root, self.name, number)

    def shelf(self) -> Shelf:
        """Return which snapshots are held, from a listing that succeeded."""
        from . import shelf

        return shelf.look(self.layout, published.read_header(self.layout.live, self.name))

    def mounted_snapshot(self, path: str) -> int | None:
        """Return the number of the snapshot that is mounted at ``path``, None for anything else."""
        from . import shelf

        return shelf.mounted_at(self.layout, path, self.snapshots())

    def remove_snapshot(self, number: int) -> Removal:
        """Remove an older snapshot, whole; the lock must be held."""
        from . import shelf

        rights.require(self.layout)
        return shelf.remove(self.layout, number)

    def tree(self) -> str:
        """Return the published tree's root."""
        return self.layout.live

    def snapshot_tree(self, number: int) -> str:
        """Return the root of a snapshot's tree, to be read only; raises where it is not kept."""
        kept = self.snapshots()
        if number not in kept:
            raise published.not_kept(number, kept, self.location)
        return self.layout.live if number == kept[-1] else self.layout.snapshot(number)

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots that are there, the newest (published) one last."""
        head = self.head()
        return self.layout.kept() + ([] if head is None else [head.snapshot])

    def is_untouched(self) -> bool:
        """Only looking tells here."""
        return False

    def running(self) -> list[Holder]:
        """Return who works on it now."""
        from . import standing

        return standing.running(self.layout)

    def cleanups(self) -> list[Cleanup]:
        """Return the work areas that recovery clears away, and who is in them."""
        from . import standing

        return standing.cleanups(self.layout, self._fates())

    def snapshot_users(self) -> list[SnapshotUser]:
        """Return the mounts that show older snapshots."""
        from . import standing

        return standing.snapshot_users(self.layout, self.layout.kept())

    def space(self, *, history: bool) -> Space:
        """Return what it takes and what is left."""
        from . import standing

        return standing.space(self.layout, self.layout.kept(), history=history)

    def require_rights(self) -> None:
        """Raise where this user could not publish."""
        for one in self.missing_rights():
            raise MissingRight(one.message, object=one.object, next_step=one.next_step)

    def missing_rights(self) -> list[Missing]:
        """Return what this user lacks to publish."""
        from . import standing

        return standing.missing_rights(self.layout)

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests; one line per problem."""
        newest = published.read_header(self.layout.live, self.name)
        return published.chain_problems(self.layout.live, newest)

    def require_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`DriftError` where a transaction upon ``manifest`` would be refused."""
        from .transaction import require_unchanged

        require_unchanged(self.layout, manifest)

    def drift(self, manifest: Manifest, *, checksum: bool) -> list[str]:
        """Name the differences between the published tree and its manifest."""
        from ...posix.beneath import Beneath
        from .. import tree

        with Beneath(self.layout.live) as live:
            found = tree.drift(live, manifest.entries)
            return found or (tree.damage(live, manifest.entries) if checksum else [])

    def history(self, snapshot: int) -> bytes:
        """Return what a snapshot changed, as it was recorded."""
        return published.read_history(self.layout.live, snapshot)

    def history_header(self, snapshot: int) -> Header:
        """Return the header of a snapshot as the history has it, be the snapshot kept or pruned."""
        return published.read_history_header(self.layout.live, snapshot)
