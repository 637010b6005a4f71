# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that is a dataset of OpenZFS on this host."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ...errors import ArgumentError, RepositoryError
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...manifest.header import Header
from ...posix.beneath import Beneath
from ...posix.lock import locked
from ...zfs import datasets
from ...zfs.command import Runner
from ...zfs.datasets import LOCAL, Dataset
from .. import published, tree
from . import record, recovery
from .layout import PARENT_FORMAT, PARENT_MARK, RUN, Layout, snapshot_number
from .transaction import ZfsTransaction, require_unchanged


class ZfsRepository:
    """``parent/name``, published by giving its name to a filled clone."""

    def __init__(self, parent: str, name: str) -> None:
        self.layout = Layout(parent, name)
        self.name = name
        self.location = f"zfs:{parent}/{name}"
        self.backend: Mapping[str, object] = {"type": "zfs", "dataset": parent}
        self.runner = Runner()

    def check_source(self, src: str) -> None:
        """Refuse a working copy inside the published tree, or around it."""
        source, live = os.path.realpath(src), self._mountpoint_of_parent()
        if os.path.commonpath((source, live)) in (source, live):
            raise ArgumentError(
                f"src and the mountpoint of {self.layout.parent} ({live}) must not lie within "
                "one another",
                object=src,
            )

    def _mountpoint_of_parent(self) -> str:
        return self._children()[self.layout.parent].mountpoint

    def _children(self) -> dict[str, Dataset]:
        """Return the parent and what is below it; refuses one that is not provisioned."""
        found = datasets.below(self.runner, self.layout.parent)
        mark = datasets.properties(self.runner, self.layout.parent, [PARENT_MARK])[PARENT_MARK]
        if mark != (PARENT_FORMAT, LOCAL) or self.layout.container not in found:
            raise RepositoryError(
                "this dataset is not provisioned as a publish parent",
                object=self.layout.parent,
                next_step="Run the playbook dsg.storage.provision (role dsg.storage.repository).",
            )
        return found

    def _live(self) -> Dataset | None:
        live = self._children().get(self.layout.live)
        if live is None:
            return None
        if live.encryption_root == live.name:
            raise RepositoryError(
                "it is its own encryption root: a clone of it could not take its place",
                object=live.name,
                next_step="Encrypt the publish parent instead.",
            )
        if len(datasets.below(self.runner, live.name)) > 1:
            raise RepositoryError(
                "it has child datasets, which a transaction would not carry over",
                object=live.name,
                next_step="Move them out of the repository.",
            )
        return live

    def tree(self) -> str:
        """Return the published tree's root."""
        live = self._live()
        if live is None:
            raise RepositoryError("the repository does not exist", object=self.layout.live)
        if not live.mounted:
            raise RepositoryError(
                "it is not mounted",
                object=live.name,
                next_step="Run `dsg.storage.recover`, or mount it.",
            )
        return live.mountpoint

    def head(self) -> Header | None:
        """Return the newest snapshot's header, None where the repository provably is absent."""
        if self._live() is None:
            return None
        return published.read_header(self.tree(), self.name)

    def manifest(self) -> Manifest:
        """Return the newest snapshot's manifest, checked."""
        return published.read_manifest(self.tree(), self.name)

    def committed(self, txn_id: str, since: int) -> bool:
        """Tell whether a transaction made a snapshot after number ``since``."""
        found = record.read(self.runner, self.layout)
        if found is not None and found.txn_id == txn_id:
            return True
        head = self.head()
        if head is None:
            return False
        return head.txn == txn_id or any(
            published.read_history_header(self.tree(), number).txn == txn_id
            for number in range(head.snapshot - 1, since, -1)
        )

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the repository's lock."""
        self._children()
        os.makedirs(RUN, 0o700, exist_ok=True)
        with locked(self.layout.lock, timeout=timeout, shared=shared, what=self.location):
            yield

    def unfinished(self) -> list[str]:
        """Describe what :meth:`recover` would do; changes nothing."""
        self._children()
        return recovery.describe(self.runner, self.layout)

    def recover(self) -> list[str]:
        """Finish or undo what dead transactions left; the lock must be held."""
        self._children()
        return recovery.recover(self.runner, self.layout)

    def begin(self, txn_id: str, base: Manifest | None) -> ZfsTransaction:
        """Open a transaction upon ``base`` (None: the repository is to be created)."""
        return ZfsTransaction(self.runner, self.layout, txn_id, base)

    def fetch(self, entries: Sequence[Entry], directory: str) -> None:
        """Copy entries, verified, to ``directory/0``, ``directory/1``, … in their order."""
        tree.fetch(self.tree(), directory, entries)

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots that are there, the newest (published) one last."""
        found = datasets.snapshots(self.runner, self.layout.live)
        numbers = [snapshot_number(snapshot.name) for snapshot in found if snapshot.txn]
        return sorted(number for number in numbers if number is not None)

    def chain_problems(self) -> list[str]:
        """Check the chain of manifests; one line per problem."""
        root = self.tree()
        return published.chain_problems(root, published.read_header(root, self.name))

    def require_unchanged(self, manifest: Manifest) -> None:
        """Raise :class:`DriftError` where a transaction upon ``manifest`` would be refused."""
        require_unchanged(self.runner, self.layout, manifest)

    def drift(self, manifest: Manifest, *, checksum: bool) -> list[str]:
        """Name the differences between the published tree and its manifest."""
        with Beneath(self.tree()) as live:
            found = tree.drift(live, manifest.entries)
            return found or (tree.damage(live, manifest.entries) if checksum else [])
