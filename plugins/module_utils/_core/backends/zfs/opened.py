# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that outlives the process that began it: all that it knows is on disk.

Between two calls nobody holds the repository's lock. The mark of the work dataset (:mod:`.lease`) is
what makes the transaction: before it is set, and once it is taken away, any recovery undoes the rest.
"""

from __future__ import annotations

import errno
import time

from ...errors import DriftError, ManifestError, RepositoryError, SystemCallError, capped
from ...manifest.codec import Manifest
from ...zfs import datasets, mounts
from ...zfs.command import CommandFailed, Runner
from ...zfs.datasets import NOTHING
from .. import published
from ..base import Held
from ..holding import refuse_held
from . import commit, held, lease, untouched
from .base import Base
from .layout import INIT, MANIFEST, STAGE, TXN, Layout
from .lease import Mark
from .privileged import Privileged
from .state import Dataset, State, look
from .transaction import ZfsTransaction, by_looking

BEGIN_AGAIN = "Roll the transaction back and begin again."


class OpenTransaction(ZfsTransaction):
    """A transaction that is begun, prepared and committed by different processes."""

    def __init__(
        self,
        runner: Runner,
        layout: Layout,
        privileged: Privileged,
        txn_id: str,
        base: Manifest | None,
    ) -> None:
        super().__init__(runner, layout, privileged, txn_id, base)
        self.number = 0 if base is None else base.header.snapshot
        self.mark = Mark(0, lease.this_boot(), self.number, "", "", "", "")
        self.prepared = ""
        """The id of the manifest in the snapshot that is to be published, '' where there is none."""
        self.written = "0"
        """Bytes that were written since that snapshot was taken."""
        self.taken = 0
        """When it was taken, in seconds since the epoch."""
        self.is_held = False
        self.others: list[Held] = []
        """Other transactions that wait for a decision: this one cannot be committed before."""

    def open(self, seconds: int) -> None:
        """Begin, and keep the work dataset for that long; the last step makes the transaction."""
        self.begin()
        self.mark = self.mark._replace(
            ends=int(time.time()) + seconds,
            guid=self.live.guid,
            snapshot_guid=self.live.snapshot_guid,
            written=self.live.written,
            snapshot=self.live.snapshot,
        )
        lease.write(self.runner, self.dataset, self.mark)

    def renew(self, seconds: int) -> None:
        """Keep the work dataset for that long from now, or for as long as it already is to be kept."""
        ends = int(time.time()) + seconds
        if ends > self.mark.ends:
            self.mark = self.mark._replace(ends=ends)
            lease.write(self.runner, self.dataset, self.mark)

    def is_mounted(self) -> bool:
        """Tell whether the work dataset can be written to."""
        if mounts.mounted_at(self.work) != self.dataset:
            return False
        try:
            return mounts.is_writable(self.work)
        except (PermissionError, FileNotFoundError):  # nobody was let in before a process died
            return False

    def mount(self) -> None:
        """Mount the work dataset again."""
        self.privileged.mount_work(self.kind, self.txn_id)

    def prepare(self, manifest: Manifest) -> None:
        """Prepare as every transaction, and let it survive the host's going down."""
        super().prepare(manifest)
        self.keep()

    def prepare_unchanged(self, base: Manifest) -> None:
        """Prepare what changed nothing: the snapshot names the manifest that is published."""
        self._take(self.number + 1, base.header.id)
        self.keep()

    def keep(self) -> None:
        """Have the mark say that nothing depends on this boot any more."""
        if self.mark.boot != lease.DURABLE:
            self.mark = self.mark._replace(boot=lease.DURABLE)
            lease.write(self.runner, self.dataset, self.mark)

    def require_base(self, root: str) -> None:
        """Raise :class:`DriftError` where the commit would be refused; changes nothing.

        ``root`` is the published path ('' where there is none).
        """
        refuse_held(self.others, self.layout.live)
        datasets.write_out(self.runner, self.layout.live)
        if self.base is None:
            self._require_absent(look(self.runner, self.layout))
        else:
            self._require_base(self.base, by_looking(self.layout, self.base, root))

    def commit(self) -> None:
        """Publish what was prepared, if nobody wrote into it since."""
        refuse_held(self.others, self.layout.live)
        # It may be long since that the snapshot was taken, which counts what was written.
        datasets.write_out(self.runner, self.layout.live)
        _look_for_snapshot(self)
        if self.written != "0":
            self._require_untouched()
        super().commit()

    def _require_untouched(self) -> None:
        """Raise :class:`DriftError` where somebody wrote; OpenZFS itself writes behind a power cut."""
        self.mount()
        try:
            manifest = published.read_manifest(self.work, self.layout.name)
            found = untouched.differences(self.work, manifest, self.taken)
        finally:
            self._unmount()
        if found or manifest.header.id != self.prepared:
            raise DriftError(
                f"it was written to since its snapshot @s{self.number + 1} was taken",
                object=self.dataset,
                next_step=BEGIN_AGAIN,
                details=capped(found),
            )

    def _is_base(self, now: Base) -> bool:
        """Tell the same; of a held one only whether it is the same dataset.

        Others may have committed already: it must not hang on somebody's snapshot of an unchanged tree.
        That stays, with the generation that it is of.
        """
        return now.guid == self.live.guid if self.is_held else super()._is_base(now)

    def finish(self) -> list[str]:
        """Take the mark off what is published now, and tidy up."""
        try:
            lease.end(self.runner, self.layout.live, held=self.is_held)
        except CommandFailed as exc:
            return [commit.put_off(f"closing transaction {self.txn_id}", exc)]
        return super().finish()

    def _unmount(self) -> None:
        try:
            super()._unmount()
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            raise SystemCallError(
                "a process has a file open there, or is in one of its directories",
                object=self.work,
                unchanged="The published tree is unchanged; the transaction is as it was.",
                next_step="Let the process end or leave, then run again.",
            ) from exc

    def rollback(self) -> None:
        """Destroy the work dataset; where that is in use, any recovery does it later."""
        close(self.runner, self.layout, self.privileged, self.txn_id)


def close(
    runner: Runner, layout: Layout, privileged: Privileged, txn_id: str
) -> tuple[bool, list[str]]:
    """Undo an open transaction, whatever became of its base.

    Returns whether there was one, and what has to wait, one sentence each. Once its mark is taken
    away any recovery does the rest.
    """
    state = look(runner, layout)
    found = _work_of(state, txn_id)
    _refuse_roots(state, found)
    waiting = []
    for dataset in found:
        if dataset.mark:
            lease.end(runner, dataset.name, held=bool(dataset.held))
        privileged.release()
        try:
            commit.discard(runner, dataset.name)
        except CommandFailed as exc:
            waiting.append(commit.put_off(f"destroying {dataset.name}", exc))
    return bool(found), waiting


def _refuse_roots(state: State, found: list[Dataset]) -> None:
    for name in lease.roots(state) & {dataset.name for dataset in found}:
        raise RepositoryError(
            "root has mounted it for itself",
            object=name,
            unchanged="The transaction is as it was.",
            next_step="Roll it back as root.",
        )


def _work_of(state: State, txn_id: str) -> list[Dataset]:
    found = (state.work_of(kind, txn_id) for kind in (INIT, STAGE))
    return [dataset for dataset in found if dataset is not None]


def is_open(runner: Runner, layout: Layout, txn_id: str) -> bool:
    """Tell whether a transaction is open that :func:`close` would undo; changes nothing."""
    state = look(runner, layout)
    found = _work_of(state, txn_id)
    _refuse_roots(state, found)
    return any(dataset.mark for dataset in found)


def end_without_changes(
    runner: Runner, layout: Layout, privileged: Privileged, txn_id: str
) -> list[str]:
    """End an open transaction that has nothing to publish, and remember it; return what has to wait.

    No snapshot tells of it, and whoever lost the answer may ask again.
    """
    runner.zfs("set", f"{layout.nothing}={txn_id}", layout.container)
    return close(runner, layout, privileged, txn_id)[1]


def ended_without_changes(runner: Runner, layout: Layout, txn_id: str) -> bool:
    """Tell whether it is the transaction that was ended last as it had nothing to publish."""
    return look(runner, layout).nothing == txn_id


def forget(runner: Runner, layout: Layout) -> None:
    """Forget that transaction: one with its id is begun anew."""
    runner.zfs("inherit", layout.nothing, layout.container)


def resume(
    runner: Runner, layout: Layout, privileged: Privileged, txn_id: str, base: Manifest | None
) -> OpenTransaction | None:
    """Return an open transaction as it is on disk, None where there is none.

    ``base`` is the manifest of the repository, whichever it is now. Raises :class:`DriftError` with
    nothing changed where it is not the one that the transaction began upon.
    """
    state = look(runner, layout)
    dataset = next((one for one in _work_of(state, txn_id) if one.mark), None)
    if dataset is None:
        return None
    mark = lease.read(dataset)
    now = 0 if base is None else base.header.snapshot
    if now != mark.number or (state.live is not None and state.live.guid != mark.guid):
        raise DriftError(
            f"transaction {txn_id} began {_at(mark.number, 'when it was')}, {_at(now, 'now it is')}"
            + (", but another dataset" if now == mark.number else ""),
            object=layout.live,
            next_step=BEGIN_AGAIN,
        )
    found = OpenTransaction(runner, layout, privileged, txn_id, base)
    if found.dataset != dataset.name:
        raise ManifestError("its mark and its name contradict one another", object=dataset.name)
    found.mark = mark
    found.is_held = bool(dataset.held)
    found.others = [one for one in held.find(state) if one.txn_id != txn_id]
    found.live = Base(mark.guid, mark.snapshot, mark.snapshot_guid, mark.written)
    _look_for_snapshot(found)
    return found


def _at(number: int, words: str) -> str:
    return f"{words} at s{number}" if number else f"{words} absent"


def _look_for_snapshot(transaction: OpenTransaction) -> None:
    """Find out whether a transaction is prepared."""
    name = f"{transaction.dataset}@s{transaction.number + 1}"
    written = f"written@s{transaction.number + 1}"
    found = datasets.read(
        transaction.runner,
        (TXN, MANIFEST, "creation", written),
        [transaction.dataset],
        kinds="filesystem,snapshot",
        depth=1,
    )
    snapshot = found.get(name, {})
    if datasets.own(snapshot, TXN) == transaction.txn_id:
        transaction.prepared = snapshot.get(MANIFEST, NOTHING).value
        transaction.written = found[transaction.dataset][written].value
        transaction.taken = int(snapshot["creation"].value)
