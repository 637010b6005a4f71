# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that is a dataset of OpenZFS on this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ...errors import ArgumentError, RepositoryError, Unfinished
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...manifest.header import Header
from ...posix.beneath import Beneath
from ...posix.lock import locked
from ...zfs import datasets, mounts
from ...zfs.command import Runner
from .. import published, tree
from ..base import Carry, Held, Removal, Shelf
from ..holding import refuse_held
from ..standing import Cleanup, Holder, Missing, SnapshotUser, Space
from . import held, lease, recovery, shelf
from .delegated import privileges
from .layout import OLD, TXN, Layout, snapshot_number
from .resumed import HeldTransaction
from .state import State, look
from .transaction import ZfsTransaction, require_unchanged


class ZfsRepository:
    """``parent/name``, published by giving its name to a filled clone."""

    def __init__(self, parent: str, name: str) -> None:
        self.layout = Layout(parent, name)
        self.name = name
        self.location = f"zfs:{parent}/{name}"
        self.backend: Mapping[str, object] = {"type": "zfs", "dataset": parent}
        self.runner = Runner()
        self.privileged = privileges(self.runner, self.layout)
        self._seen: State | None = None
        self._last: State | None = None  # since the lock was taken
        self._path = ""

    def check_source(self, src: str) -> None:
        """Refuse a working copy inside the published tree, or around it."""
        self._seen = look(self.runner, self.layout)
        source, live = os.path.realpath(src), self._seen.parent.mountpoint
        if os.path.commonpath((source, live)) in (source, live):
            raise ArgumentError(
                f"src and the mountpoint of {self.layout.parent} ({live}) must not lie within "
                "one another",
                object=src,
            )

    def _state(self) -> State:
        """Return what :meth:`check_source` has just read, once; or read it anew."""
        state = self._seen or look(self.runner, self.layout)
        self._seen = None
        self._last = state
        return state

    def _readable(self, state: State) -> str:
        """Return the published path, '' where the repository provably is absent.

        Between the two renamings of a commit the path leads to the old tree all the time.
        """
        source = mounts.mounted_at(state.path)
        switching = state.record is not None and self.layout.parse_work(source) is not None
        if source == self.layout.live or switching:
            self._path = state.path
            return state.path
        if state.live is None and state.record is None:
            return ""
        raise Unfinished(
            f"it is not mounted at {state.path}",
            object=self.layout.live,
            unchanged="Nothing was changed; what was committed stays so.",
            next_step="Run `dsg.storage.recover` (any next sync does it as well).",
        )

    def tree(self) -> str:
        """Return the published tree's root."""
        if self._path and self._is_published(mounts.mounted_at(self._path)):
            return self._path
        path = self._readable(self._state())
        if not path:
            raise RepositoryError("the repository does not exist", object=self.layout.live)
        return path

    def _is_published(self, source: str) -> bool:
        return source == self.layout.live or source.startswith(
            f"{self.layout.container}/{self.name}.{OLD}."
        )

    def head(self) -> Header | None:
        """Return the newest snapshot's header, None where the repository provably is absent."""
        path = self._readable(self._state())
        return published.read_header(path, self.name) if path else None

    def manifest(self, known: Callable[[], Manifest | None] | None = None) -> Manifest:
        """Return the newest snapshot's manifest, checked."""
        return published.read_manifest(self.tree(), self.name)

    def committed(self, txn_id: str, since: int) -> bool:
        """Tell whether a transaction made a snapshot after number ``since``."""
        state = self._state()
        if state.record is not None and state.record.txn_id == txn_id:
            return True
        if state.live is not None and state.live.txn == txn_id:
            return True
        path = self._readable(state)
        if not path and since:
            raise RepositoryError(
                f"it was at s{since} when transaction {txn_id} began, and is not there any more",
                object=self.layout.live,
                unchanged="This run changed nothing; other repositories are not concerned.",
                next_step="Restore it; until then nobody knows whether the transaction committed. If it is "
                f"lost for good: `dsg.storage.recover -e dsg_abandon={txn_id}`.",
            )
        newest = published.read_header(path, self.name).snapshot if path else 0
        return any(
            published.read_history_header(path, number).txn == txn_id
            for number in range(newest, since, -1)
        )

    def make_durable(self) -> None:
        """Have what is published on stable storage."""
        datasets.write_out(self.runner, self.layout.parent)

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the repository's lock."""
        self.privileged.prepare_locks()
        lock = self.layout.lock
        with locked(lock, timeout=timeout, shared=shared, what=self.location, is_made=True) as fd:
            self._seen = self._last = None
            # What a command of ours still does after we died, nobody may take for undone.
            self.runner.kept = (fd,)
            try:
                yield
            finally:
                self.runner.kept = ()

    def unfinished(self, *, open_too: bool = False, own: str = "") -> list[str]:
        """Describe what :meth:`recover` would do; changes nothing."""
        return recovery.describe(self._state(), open_too=open_too, own=own)

    def open_transactions(self) -> list[str]:
        """Describe the transactions that :meth:`recover` leaves alone for now."""
        state = self._state()
        return lease.describe(state) + [str(one) for one in held.find(state)]

    def held(self) -> list[Held]:
        """Return the transactions that wait for a decision."""
        return held.find(self._state())

    def resume(self, txn_id: str) -> HeldTransaction | None:
        """Return a transaction that waits for a decision, None where there is none."""
        self.privileged.require()
        self._seen = None
        if txn_id not in {one.txn_id for one in self.held()}:
            return None
        return HeldTransaction(
            self.runner, self.layout, self.privileged, txn_id, self._present_manifest
        )

    def _present_manifest(self) -> Manifest | None:
        return None if self.head() is None else self.manifest()

    def recover(self, *, open_too: bool = False, own: str = "") -> list[str]:
        """Finish or undo what dead transactions left; the lock must be held.

        An open transaction is left alone while its lease runs, and ``own`` for longer. With
        ``open_too`` all of them are undone.
        """
        self._seen = None
        return recovery.recover(
            self.runner, self.layout, self.privileged, open_too=open_too, own=own
        )

    def begin(self, txn_id: str, base: Manifest | None) -> ZfsTransaction:
        """Open a transaction upon ``base`` (None: the repository is to be created)."""
        self.privileged.require()
        refuse_held(held.find(self._last or self._state()), self.location)
        return ZfsTransaction(self.runner, self.layout, self.privileged, txn_id, base)

    def fetch(
        self,
        entries: Sequence[Entry],
        directory: str,
        carry: Carry | None = None,
        snapshot: int = 0,
    ) -> None:
        """Copy entries, verified, to ``directory/0``, ``directory/1``, … in their order."""
        root = self.snapshot_tree(snapshot) if snapshot else self.tree()
        (carry or tree.fetch)(root, directory, entries)

    def snapshot_manifest(self, number: int) -> Manifest:
        """Return a kept snapshot's own manifest, proved by the history."""
        root = self.snapshot_tree(number)
        return published.read_snapshot(self.tree(), root, self.name, number)

    def shelf(self) -> Shelf:
        """Return which snapshots are held, from a listing that succeeded."""
        return shelf.look(self.runner, self._state())

    def mounted_snapshot(self, path: str) -> int | None:
        """Return the number of the snapshot that is mounted at ``path``, None for anything else."""
        return shelf.mounted_at(self.layout, path)

    def remove_snapshot(self, number: int) -> Removal:
        """Destroy an older snapshot; the lock must be held."""
        return shelf.remove(self.runner, self.layout, number)

    def snapshot_tree(self, number: int) -> str:
        """Return the root of a snapshot's tree, to be read only; raises where it is not kept."""
        kept = self.snapshots()
        if number not in kept:
            raise published.not_kept(number, kept, self.location)
        return os.path.join(self.tree(), ".zfs", "snapshot", f"s{number}")

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots that are there, the newest (published) one last."""
        shown = self._shown(self._state())
        if not shown:
            return []
        found = datasets.snapshots(self.runner, shown, TXN)
        numbers = [snapshot_number(name) for name, txn in found if txn]
        return sorted(number for number in numbers if number is not None)

    def _shown(self, state: State) -> str:
        """Return the dataset that readers have, '' where the repository provably is absent.

        Behind a commit record that is the old one until the mounts are switched, whatever its name is
        by then; its successor still has nothing but its own snapshot.
        """
        if state.record is None:
            return "" if state.live is None else self.layout.live
        return mounts.mounted_at(self._readable(state))

    def is_untouched(self) -> bool:
        """Tell whether nothing was written since our newest snapshot, as the pool counts it.

        It does not count what is in datasets below.
        """
        head = self.head()
        if head is None or (self._last is not None and self._last.children):
            return False
        written = f"written@s{head.snapshot}"
        found = datasets.read(self.runner, (written,), [self.layout.live])
        return found[self.layout.live][written].value == "0"

    def running(self) -> list[Holder]:
        """Return who works on it now."""
        from . import cleanups

        return cleanups.running(self.layout)

    def cleanups(self) -> list[Cleanup]:
        """Return what recovery is to destroy or to promote, and who is in the way."""
        from . import cleanups

        return cleanups.find(self.runner, self._state())

    def snapshot_users(self) -> list[SnapshotUser]:
        """Return holds, clones, mounts and sends of published snapshots."""
        from . import cleanups

        exists = self._state().live is not None
        return cleanups.snapshot_users(self.runner, self.layout) if exists else []

    def space(self, *, history: bool) -> Space:
        """Return what it takes and what is left; the pool counts the history by itself."""
        from . import space

        return space.space(self.runner, self.layout, exists=self._state().live is not None)

    def require_rights(self) -> None:
        """Raise where this user could not publish."""
        self.privileged.require()

    def missing_rights(self) -> list[Missing]:
        """Return what this user lacks to publish."""
        return self.privileged.missing()

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests; one line per problem."""
        root = self.tree()
        return published.chain_problems(root, published.read_header(root, self.name))

    def require_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`DriftError` where a transaction upon ``manifest`` would be refused."""
        if self._state().record is not None:
            raise Unfinished(
                "a committed transaction is not finished here",
                object=self.layout.live,
                next_step="Run `dsg.storage.recover` first, then the dry run is exact.",
            )
        self.privileged.require()
        require_unchanged(self.runner, self.layout, manifest, self.tree())

    def drift(self, manifest: Manifest, *, checksum: bool) -> list[str]:
        """Name the differences between the published tree and its manifest.

        Datasets below it are some: nothing is published upon it as long as they are there.
        """
        below = [f"{name}: a dataset below the repository" for name in self._state().children]
        with Beneath(self.tree()) as live:
            found = below + tree.drift(live, manifest.entries)
            return found or (tree.damage(live, manifest.entries) if checksum else [])

    def history(self, snapshot: int) -> bytes:
        """Return what a snapshot changed, as it was recorded."""
        return published.read_history(self.tree(), snapshot)

    def history_header(self, snapshot: int) -> Header:
        """Return the header of a snapshot as the history has it, be the snapshot kept or pruned."""
        return published.read_history_header(self.tree(), snapshot)
