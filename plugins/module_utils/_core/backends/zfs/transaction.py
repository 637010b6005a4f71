# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction of the ZFS backend: a clone is filled, snapshotted, and takes the live name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...errors import DriftError, DsgError, RepositoryError, capped
from ...manifest.codec import Manifest
from ...manifest.entry import Entry
from ...posix.beneath import Beneath
from ...posix.durable import sync_file_system
from ...zfs import datasets, mounts
from ...zfs.command import CommandFailed, Runner
from .. import published, tree
from ..base import Land, Upload
from ..holding import new_held
from ..origin import new_txn_id
from . import commit, held, limits, record, untouched
from .base import Base
from .layout import INIT, MANIFEST, OLD, STAGE, TXN, Layout, snapshot_number
from .limits import LIMITS
from .privileged import Privileged
from .publish import require_parent_mounted
from .record import Record
from .state import NO_PARENT, OPTIONS, Dataset, State, look, options_of, refuse_children

_DIFF = "@zfs-diff-"  # what `zfs diff` of another process works with


class ZfsTransaction:
    """A change of ``layout.live``; init and sync differ in what is filled and how it is published."""

    def __init__(
        self,
        runner: Runner,
        layout: Layout,
        privileged: Privileged,
        txn_id: str,
        base: Manifest | None,
    ) -> None:
        self.runner = runner
        self.privileged = privileged
        self.layout = layout
        self.txn_id = txn_id
        self.base = base
        self.kind = INIT if base is None else STAGE
        self.dataset = layout.work(self.kind, txn_id)
        self.work = layout.mount(txn_id)
        self.live = Base("", "", "", "")
        self.published: State | None = None

    def stage(
        self,
        source: str,
        uploads: Sequence[Upload],
        deletes: set[str],
        land: Land | None = None,
    ) -> list[Entry]:
        """Fill a new dataset, or change a clone of the newest snapshot."""
        self.begin()
        if self.base is not None:
            with Beneath(self.work) as work:
                uploads = tree.patchable(work, uploads)
                replaced = {upload.entry.path for upload in uploads if not upload.patch} | deletes
                tree.clear(work, self.base.entries, replaced)
        landed = (land or tree.upload)(source, self.work, uploads)
        with Beneath(self.work) as work:
            tree.give_to_owner(work, (entry.path for entry in landed))
        return landed

    def begin(self) -> None:
        """Make the work dataset and mount it."""
        mounts.require_switch()
        if self.base is None:
            self._begin_first()
        else:
            self.live = _examine(self.runner, self.layout, self.base, self.layout.live).base
            self._clone(self.live.snapshot)
        self.privileged.mount_work(self.kind, self.txn_id)

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
        """Clone, with what a clone does not take from its origin."""
        origin = f"{self.layout.live}@{snapshot}"
        try:
            self.runner.zfs("clone", "-o", f"{TXN}={self.txn_id}", origin, self.dataset)
        except CommandFailed:
            # To an ordinary user it says that only root may mount the clone, and fails: it is made.
            made = look(self.runner, self.layout).work.get(self.dataset)
            if made is None or made.txn != self.txn_id:
                raise
        self.privileged.carry_over(self.txn_id)

    def prepare(self, manifest: Manifest) -> None:
        """Write manifest and history, check them, unmount, and take the snapshot to be published."""
        base = [] if self.base is None else self.base.entries
        if mounts.mounted_at(self.work) != self.dataset:
            raise RepositoryError(
                f"its dataset is not mounted at {self.work} any more", object=self.dataset
            )
        with Beneath(self.work) as work:
            found = tree.drift(work, manifest.entries)
        if found:
            raise DriftError(
                f"{len(found)} paths of the work area are not as planned",
                object=self.dataset,
                details=capped(found),
            )
        published.write_records(self.work, base, manifest)
        sync_file_system(self.work)
        self._take(manifest.header.snapshot, manifest.header.id)

    def _take(self, number: int, manifest_id: str) -> None:
        """Unmount, and take the snapshot."""
        self._unmount()
        self.runner.zfs(
            "snapshot", "-o", f"{TXN}={self.txn_id}", "-o", f"{MANIFEST}={manifest_id}",
            f"{self.dataset}@s{number}",
        )  # fmt: skip

    def _unmount(self) -> None:
        self.privileged.unmount_work(self.txn_id)

    def hold(self, note: str) -> None:
        """Keep the work dataset until somebody decides; its snapshot is on disk.

        What would stop the commit is to stop it now: afterwards others may have committed already.
        """
        if self.base is not None:
            self._require_still(self.base)
        number = 0 if self.base is None else self.base.header.snapshot
        held.write(self.runner, self.dataset, new_held(self.txn_id, note, number), self.live)

    def _require_still(self, base: Manifest) -> None:
        """Stop where the repository is another one; a snapshot of another tool stops no held one."""
        now = _examine(self.runner, self.layout, base, self.dataset, self.live.written).base
        if now.guid != self.live.guid:
            raise _replaced(self.layout)

    def commit(self) -> None:
        """Publish: a sync by its commit record, a first publication by taking the name.

        The names and the mount follow at once; a failure there does not undo the commit.
        """
        if self.base is None:
            self._publish_first()
            return
        now = self._require_base(self.base)
        decided = Record(self.txn_id, now.stage.guid, self.live.guid)
        record.write(self.runner, self.layout, decided)
        state = State(self.layout, NO_PARENT, now.live, {self.dataset: now.stage}, decided)
        self.published = commit.switch(self.runner, self.privileged, state, decided)

    def _require_base(
        self, base: Manifest, compare: Callable[[str, int], None] | None = None
    ) -> _Examined:
        """Stop where the repository is not what the work dataset was cloned from any more."""
        harmless = self.live.written
        now = _examine(self.runner, self.layout, base, self.dataset, harmless, compare)
        if not self._is_base(now.base):
            raise _replaced(self.layout)
        return now

    def _is_base(self, now: Base) -> bool:
        """Tell whether what is published is what the work dataset was cloned from."""
        return now._replace(written="") == self.live._replace(written="")

    def _publish_first(self) -> None:
        state = look(self.runner, self.layout)
        self._require_absent(state)
        self.runner.zfs("rename", "-u", self.dataset, self.layout.live)
        taken = state.work[self.dataset]._replace(mountpoint=state.path)
        self.privileged.publish(state._replace(live=taken))

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
        self.privileged.unmount_work(self.txn_id)
        if self.dataset in look(self.runner, self.layout).work:
            commit.discard(self.runner, self.dataset)


def _replaced(layout: Layout) -> DriftError:
    return DriftError(
        "somebody took a snapshot of it, or replaced it, while the transaction was prepared",
        object=layout.live,
        next_step="Run again.",
    )


class _Examined(NamedTuple):
    base: Base
    live: Dataset
    stage: Dataset


def require_unchanged(runner: Runner, layout: Layout, base: Manifest, root: str) -> None:
    """Stop where the live dataset, mounted at ``root``, is not the tree of ``base``; write nothing.

    A snapshot that another tool took since is fine as long as the tree is the same: the clone is
    made from it, so that promoting carries it over.
    """
    _examine(runner, layout, base, layout.live, compare=by_looking(layout, base, root))


def _by_asking(
    runner: Runner, live: str, looking: Callable[[str, int], None]
) -> Callable[[str, int], None]:
    """Return how :func:`_examine` compares by ``zfs diff``: no tree is walked where there is nothing.

    Where there is something, ``looking`` names it, as a dry run does; OpenZFS may see more than that.
    """

    def compare(snapshot: str, taken: int) -> None:
        changed = runner.zfs("diff", "-H", f"{live}@{snapshot}", live).splitlines()
        if changed:
            looking(snapshot, taken)
        _require_none(live, snapshot, [line.replace("\t", " ") for line in changed])

    return compare


def by_looking(layout: Layout, base: Manifest, root: str) -> Callable[[str, int], None]:
    """Return how :func:`_examine` compares without ``zfs diff``."""

    def compare(snapshot: str, taken: int) -> None:
        found = untouched.differences(root, base, taken)
        _require_none(layout.live, snapshot, [f"{root}/{line}" for line in found])

    return compare


def _examine(
    runner: Runner,
    layout: Layout,
    base: Manifest,
    stage: str,
    harmless: str = "0",
    compare: Callable[[str, int], None] | None = None,
) -> _Examined:
    """Read what ``base`` is compared with, and the dataset that is to take the place, at once.

    ``harmless`` are written bytes that are known to be no difference; whether others are one is for
    ``compare`` to find out (``zfs diff`` unless given), from our snapshot's name and time.
    """
    live = layout.live
    _count_writes(runner, live)
    ours = f"s{base.header.snapshot}"
    written = f"written@{ours}"
    found = datasets.read(
        runner,
        ("guid", "origin", "createtxg", "creation", "mountpoint", *LIMITS, *OPTIONS, written, TXN),
        list(dict.fromkeys((live, stage, layout.container))),
        kinds="filesystem,volume,snapshot",
        depth=1,
    )
    refuse_children(layout, found)
    limits.require_place(layout.container, found[layout.container])
    if stage != live:
        limits.require_room(live, found[live], found[stage])
    taken = [name for name in found if name.startswith(f"{live}@") and _DIFF not in name]
    _require_newest(live, {name: found[name] for name in taken}, base)
    txn_id = new_txn_id() if stage == live else stage.rpartition(".")[2]
    limits.require_names(layout.work(OLD, txn_id), taken)
    taken.sort(key=lambda name: int(found[name]["createtxg"].value))
    newest = taken[-1] if taken else ""
    # Those behind the one that the stage was cloned from stay with the old tree.
    origin = found[stage]["origin"].value
    limits.require_snapshots(
        live, found[live], 1 + taken.index(origin) if origin in taken else len(taken)
    )
    mine = found.get(f"{live}@{ours}", {})
    if datasets.own(mine, TXN) != base.header.txn:
        raise DriftError(
            f"the snapshot @{ours} of the published tree is not there, or not ours",
            object=live,
            next_step="Nothing can be built upon the tree without it. Run `dsg.storage.verify`: where only this is wrong "
            "the snapshot can be taken again (DSG-VERIFY in docs/errors.md), else restore the repository.",
        )
    # Mounting alone writes a little; only a difference in names or content is somebody's. Whoever
    # changes anything writes more than that: then the number is another one.
    if found[live][written].value not in ("0", harmless):
        if compare is None:
            looking = by_looking(layout, base, found[live]["mountpoint"].value)
            compare = _by_asking(runner, live, looking)
        compare(ours, int(mine["creation"].value))
    return _Examined(
        Base(
            found[live]["guid"].value,
            newest.partition("@")[2],
            found[newest]["guid"].value,
            found[live][written].value,
        ),
        *(
            Dataset(
                name,
                found[name]["guid"].value,
                "",
                found[name]["mountpoint"].value,
                "",
                options_of(found[name]),
            )
            for name in (live, stage)
        ),
    )


def _count_writes(runner: Runner, live: str) -> None:
    """Have everything counted that somebody wrote: OpenZFS knows of what is on disk.

    What is mounted read-only, as it should be, cannot have more; OpenZFS wrote it out at the remount.
    """
    if mounts.takes_writes(live):
        datasets.write_out(runner, live)


def _require_newest(live: str, taken: dict[str, datasets.Properties], base: Manifest) -> None:
    """Stop where a transaction has committed since."""
    ours = [name.partition("@")[2] for name, seen in taken.items() if datasets.own(seen, TXN)]
    last = max((snapshot_number(name) or 0 for name in ours), default=0)
    if last > base.header.snapshot:
        raise DriftError(
            f"the repository is at s{last} now, not at s{base.header.snapshot}",
            object=live,
            next_step="Run again.",
        )


def _require_none(live: str, snapshot: str, changed: list[str]) -> None:
    if changed:
        raise DriftError(
            f"it was written to since @{snapshot}",
            object=live,
            details=capped(changed),
        )
