# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction of the ZFS backend: a clone is filled, snapshotted, and takes the live name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import DriftError, RepositoryError
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...posix.beneath import Beneath
from ...posix.durable import sync_file_system
from ...zfs import datasets, mounts
from ...zfs.command import Runner
from .. import published, tree
from ..base import Upload
from . import commit, record
from .layout import INIT, MANIFEST, STAGE, TXN, Layout, snapshot_number
from .record import Record

_LISTED = 20


class ZfsTransaction:
    """A change of ``layout.live``; init and sync differ in what is filled and how it is published."""

    def __init__(self, runner: Runner, layout: Layout, txn_id: str, base: Manifest | None) -> None:
        self.runner = runner
        self.layout = layout
        self.txn_id = txn_id
        self.base = base
        self.dataset = layout.work(INIT if base is None else STAGE, txn_id)
        self.work = layout.mount(txn_id)
        self.live = Base("", "", "")
        self.manifest: Manifest | None = None

    def stage(self, source: str, uploads: Sequence[Upload], deletes: set[str]) -> list[Entry]:
        """Fill a new dataset, or change a clone of the newest snapshot."""
        self._begin()
        if self.base is not None:
            replaced = {upload.entry.path for upload in uploads} | deletes
            with Beneath(self.work) as work:
                tree.clear(work, self.base.entries, replaced)
        return tree.upload(source, self.work, uploads)

    def _begin(self) -> None:
        os.makedirs(self.work, 0o700, exist_ok=True)
        if self.base is None:
            self.runner.zfs("create", "-u", "-o", f"{TXN}={self.txn_id}", self.dataset)
        else:
            self.live = require_unchanged(self.runner, self.layout, self.base)
            self._clone(self.live.snapshot)
        mounts.mount(self.runner, self.dataset, self.work, writable=True)

    def _clone(self, snapshot: str) -> None:
        """Clone with the live dataset's own properties: a clone takes none from its origin."""
        own = datasets.local_properties(self.runner, self.layout.live)
        kept = {key: value for key, value in own.items() if not key.startswith("dsg:")}
        options = [part for item in sorted(kept.items()) for part in ("-o", "=".join(item))]
        origin = f"{self.layout.live}@{snapshot}"
        self.runner.zfs("clone", *options, "-o", f"{TXN}={self.txn_id}", origin, self.dataset)

    def prepare(self, manifest: Manifest) -> None:
        """Write manifest and history, check them, unmount, and take the snapshot to be published."""
        base = [] if self.base is None else self.base.entries
        with Beneath(self.work) as work:
            found = tree.drift(work, manifest.entries)
        if found:
            raise DriftError(
                f"{len(found)} paths of the work area are not as planned",
                object=self.dataset,
                details=found[:_LISTED],
            )
        published.write_records(self.work, base, manifest)
        sync_file_system(self.work)
        self._unmount()
        self.runner.zfs(
            "snapshot", "-o", f"{TXN}={self.txn_id}", "-o", f"{MANIFEST}={manifest.header.id}",
            f"{self.dataset}@s{manifest.header.snapshot}",
        )  # fmt: skip
        self.manifest = manifest

    def commit(self) -> None:
        """Publish: a sync by its commit record, a first publication by taking the name.

        The names and the mount follow at once; a failure there does not undo the commit.
        """
        mounts.require_switch()
        if self.base is None:
            self._publish_first()
            return
        if require_unchanged(self.runner, self.layout, self.base) != self.live:
            raise DriftError(
                "somebody took a snapshot of it, or replaced it, while the transaction was prepared",
                object=self.layout.live,
                next_step="Run again.",
            )
        guid = datasets.properties(self.runner, self.dataset, ["guid"])["guid"].value
        found = Record(self.txn_id, guid, self.live.guid)
        record.write(self.runner, self.layout, found)
        commit.switch(self.runner, self.layout, found)

    def _publish_first(self) -> None:
        if self.layout.live in datasets.below(self.runner, self.layout.parent):
            raise RepositoryError("it came into being meanwhile", object=self.layout.live)
        self.runner.zfs("rename", "-u", self.dataset, self.layout.live)
        commit.publish(self.runner, self.layout, self.txn_id)

    def finish(self) -> list[str]:
        """Promote, and destroy what is not in use any more."""
        return [] if self.base is None else commit.settle(self.runner, self.layout)

    def rollback(self) -> None:
        """Unmount and destroy the work dataset."""
        self._unmount()
        if self.dataset in datasets.below(self.runner, self.layout.container):
            discard(self.runner, self.dataset)

    def _unmount(self) -> None:
        if mounts.mounted_at(self.work):
            mounts.unmount(self.work)
        if os.path.isdir(self.work):
            os.rmdir(self.work)


class Base(NamedTuple):
    """What a sync is built upon: the live dataset and its newest snapshot, ours or another's."""

    guid: str
    snapshot: str
    snapshot_guid: str


def require_unchanged(runner: Runner, layout: Layout, base: Manifest) -> Base:
    """Stop where the live dataset is not the tree of ``base``; return what it is.

    A snapshot that another tool took since is fine as long as the tree is the same: the clone is
    made from it, so that promoting carries it over.
    """
    found = datasets.snapshots(runner, layout.live)
    ours = f"s{base.header.snapshot}"
    if not any(s.name == ours and s.txn == base.header.txn for s in found):
        raise DriftError(
            f"the snapshot @{ours} of the published tree is not there, or not ours",
            object=layout.live,
            next_step="Restore the repository; nothing can be built upon it without.",
        )
    written = f"written@{ours}"
    facts = datasets.properties(runner, layout.live, ["guid", written])
    # Mounting alone may write a little; only a difference in names or content is somebody's.
    if facts[written].value != "0":
        changed = runner.zfs("diff", "-H", f"{layout.live}@{ours}", layout.live).splitlines()
        if changed:
            raise DriftError(
                f"it was written to since @{ours}",
                object=layout.live,
                details=[line.replace("\t", " ") for line in changed[:_LISTED]],
            )
    return Base(facts["guid"].value, found[-1].name, found[-1].guid)


def discard(runner: Runner, dataset: str) -> None:
    """Destroy a work dataset and the snapshot it may have; never anything below or cloned."""
    for snapshot in datasets.snapshots(runner, dataset):
        if snapshot.txn and snapshot_number(snapshot.name) is not None:
            runner.zfs("destroy", f"{dataset}@{snapshot.name}")
    runner.zfs("destroy", dataset)
