# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction of the ZFS backend: a clone is filled, snapshotted, and takes the live name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import DriftError, DsgError, RepositoryError
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...posix.beneath import Beneath
from ...posix.durable import sync_file_system
from ...zfs import datasets, mounts
from ...zfs.command import Runner
from ...zfs.datasets import NOTHING
from .. import published, tree
from ..base import Upload
from . import commit, record
from .layout import INIT, MANIFEST, STAGE, TXN, Layout
from .publish import publish, require_parent_mounted
from .record import Record
from .state import NO_PARENT, Dataset, State, look

_LISTED = 20
_DIFF = "@zfs-diff-"  # what `zfs diff` of another process works with
_PLACES = ("mountpoint", "canmount")
_NO_LIMIT = {
    **dict.fromkeys(("quota", "refquota", "reservation", "refreservation"), ("0",)),
    **dict.fromkeys(("filesystem_limit", "snapshot_limit"), ("none", str(2**64 - 1))),
}


class ZfsTransaction:
    """A change of ``layout.live``; init and sync differ in what is filled and how it is published."""

    def __init__(self, runner: Runner, layout: Layout, txn_id: str, base: Manifest | None) -> None:
        self.runner = runner
        self.layout = layout
        self.txn_id = txn_id
        self.base = base
        self.dataset = layout.work(INIT if base is None else STAGE, txn_id)
        self.work = layout.mount(txn_id)
        self.live = Base("", "", "", "")
        self.published: State | None = None

    def stage(self, source: str, uploads: Sequence[Upload], deletes: set[str]) -> list[Entry]:
        """Fill a new dataset, or change a clone of the newest snapshot."""
        mounts.require_switch()
        if self.base is None:
            self._begin_first()
        else:
            self.live = _examine(self.runner, self.layout, self.base, self.layout.live).base
            self._clone(self.live.snapshot)
        os.makedirs(self.work, 0o700, exist_ok=True)
        mounts.mount(self.dataset, self.work, published=self.work, writable=True)
        if self.base is not None:
            replaced = {upload.entry.path for upload in uploads} | deletes
            with Beneath(self.work) as work:
                tree.clear(work, self.base.entries, replaced)
        return tree.upload(source, self.work, uploads)

    def _begin_first(self) -> None:
        state = look(self.runner, self.layout)
        self._require_absent(state)
        require_parent_mounted(state)
        self.runner.zfs("create", "-u", "-o", f"{TXN}={self.txn_id}", self.dataset)

    def _require_absent(self, state: State) -> None:
        if state.live is not None:
            raise RepositoryError(
                "it came into being meanwhile", object=self.layout.live, next_step="Run again."
            )

    def _clone(self, snapshot: str) -> None:
        """Clone with the live dataset's own properties: a clone takes none from its origin."""
        own = datasets.own_properties(self.runner, self.layout.live)
        if own.get("canmount", "on") != "on":
            raise RepositoryError(
                f"it has canmount={own['canmount']}: only names may decide what is mounted",
                object=self.layout.live,
                next_step=f"Run `zfs set canmount=on {self.layout.live}`.",
            )
        kept = {key: value for key, value in own.items() if _is_carried_over(key, value)}
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

    def commit(self) -> None:
        """Publish: a sync by its commit record, a first publication by taking the name.

        The names and the mount follow at once; a failure there does not undo the commit.
        """
        if self.base is None:
            self._publish_first()
            return
        now = _examine(self.runner, self.layout, self.base, self.dataset, self.live.written)
        if now.base._replace(written="") != self.live._replace(written=""):
            raise DriftError(
                "somebody took a snapshot of it, or replaced it, while the transaction was prepared",
                object=self.layout.live,
                next_step="Run again.",
            )
        decided = Record(self.txn_id, now.stage.guid, self.live.guid)
        record.write(self.runner, self.layout, decided)
        state = State(self.layout, NO_PARENT, now.live, {self.dataset: now.stage}, decided)
        self.published = commit.switch(self.runner, state, decided)

    def _publish_first(self) -> None:
        state = look(self.runner, self.layout)
        self._require_absent(state)
        self.runner.zfs("rename", "-u", self.dataset, self.layout.live)
        publish(self.runner, state)

    def finish(self) -> list[str]:
        """Promote, and destroy what is not in use any more; a failure here fails nothing."""
        if self.published is None:
            return []
        try:
            return commit.settle(self.runner, self.published)
        except DsgError as exc:
            return [commit.put_off("tidying up", exc)]

    def rollback(self) -> None:
        """Unmount and destroy the work dataset."""
        self._unmount()
        if self.dataset in look(self.runner, self.layout).work:
            commit.discard(self.runner, self.dataset)

    def _unmount(self) -> None:
        if mounts.mounted_at(self.work):
            mounts.unmount(self.work)
        if os.path.isdir(self.work):
            os.rmdir(self.work)


def _is_carried_over(key: str, value: str) -> bool:
    """Tell whether a local property is to be set on the next generation as well.

    Limits that were lifted read as numbers that cannot be set; a new dataset has none anyway.
    """
    return key not in _PLACES and not key.startswith("dsg:") and value not in _NO_LIMIT.get(key, ())


class Base(NamedTuple):
    """What a sync is built upon: the live dataset and its newest snapshot, ours or another's.

    ``written`` are the bytes that are in the dataset and not in our snapshot of it.
    """

    guid: str
    snapshot: str
    snapshot_guid: str
    written: str


class _Examined(NamedTuple):
    base: Base
    live: Dataset
    stage: Dataset


def require_unchanged(runner: Runner, layout: Layout, base: Manifest) -> None:
    """Stop where the live dataset is not the tree of ``base``.

    A snapshot that another tool took since is fine as long as the tree is the same: the clone is
    made from it, so that promoting carries it over.
    """
    _examine(runner, layout, base, layout.live)


def _examine(
    runner: Runner, layout: Layout, base: Manifest, stage: str, harmless: str = "0"
) -> _Examined:
    """Read what ``base`` is compared with, and the dataset that is to take the place, at once.

    ``harmless`` are written bytes that are known to be no difference.
    """
    live = layout.live
    ours = f"s{base.header.snapshot}"
    written = f"written@{ours}"
    found = datasets.read(
        runner,
        ("guid", "createtxg", "mountpoint", written, TXN),
        list(dict.fromkeys((live, stage))),
        kinds="filesystem,snapshot",
        depth=1,
    )
    taken = [name for name in found if name.startswith(f"{live}@") and _DIFF not in name]
    newest = max(taken, key=lambda name: int(found[name]["createtxg"].value), default="")
    mine = found.get(f"{live}@{ours}", {})
    if mine.get(TXN, NOTHING).value != base.header.txn:
        raise DriftError(
            f"the snapshot @{ours} of the published tree is not there, or not ours",
            object=live,
            next_step="Restore the repository; nothing can be built upon it without.",
        )
    # Mounting alone writes a little; only a difference in names or content is somebody's. Whoever
    # changes anything writes more than that: then the number is another one. It is up to date here,
    # as OpenZFS has just taken a snapshot, and a file system is written back when it turns read-only.
    if found[live][written].value not in ("0", harmless):
        _require_no_difference(runner, live, ours)
    return _Examined(
        Base(
            found[live]["guid"].value,
            newest.partition("@")[2],
            found[newest]["guid"].value,
            found[live][written].value,
        ),
        *(
            Dataset(name, found[name]["guid"].value, "", found[name]["mountpoint"].value, "")
            for name in (live, stage)
        ),
    )


def _require_no_difference(runner: Runner, live: str, snapshot: str) -> None:
    changed = runner.zfs("diff", "-H", f"{live}@{snapshot}", live).splitlines()
    if changed:
        raise DriftError(
            f"it was written to since @{snapshot}",
            object=live,
            details=[line.replace("\t", " ") for line in changed[:_LISTED]],
        )
