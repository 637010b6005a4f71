# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second half of a sync: from the commit record to the published clone, one step at a time.

Every step looks at what is there (by GUID) and does what is missing, so that the transaction itself
and the recovery after a crash at any step are the same code.
"""

from __future__ import annotations

from ...errors import DsgError
from ...zfs import datasets, mounts
from ...zfs.command import CommandFailed, Runner, ZfsError
from .. import published
from . import readers
from . import record as records
from .layout import OLD, STAGE, TXN, snapshot_number
from .privileged import Privileged
from .record import Record
from .state import Dataset, State, look, refuse_children


def switch(runner: Runner, privileged: Privileged, state: State, record: Record) -> State:
    """Give the live name and mountpoint of a committed transaction to its clone.

    Returns what was read back. Raises :class:`ZfsError` with the evidence, and touches nothing,
    where the datasets are not in a state that a transaction can have left, and
    :class:`RepositoryError` where somebody made a dataset below the old tree.
    """
    layout = state.layout
    old, stage = (layout.work(kind, record.txn_id) for kind in (OLD, STAGE))
    staged = _guid(state.work.get(stage)) == record.stage_guid
    if staged and _guid(state.live) == record.old_guid and old not in state.work:
        refuse_children(layout, state.children)
        runner.zfs("rename", "-u", layout.live, old)
        runner.zfs("rename", "-u", stage, layout.live)
    elif staged and state.live is None and _guid(state.work.get(old)) == record.old_guid:
        runner.zfs("rename", "-u", stage, layout.live)
    elif _guid(state.live) != record.stage_guid:
        raise _contradiction(state, record)
    privileged.publish(state)
    after = look(runner, layout)
    _verify(after, record)
    records.clear(runner, layout)
    return after


def _guid(dataset: Dataset | None) -> str:
    return "" if dataset is None else dataset.guid


def _verify(state: State, record: Record) -> None:
    """Read back that the committed tree is the published one."""
    if (
        _guid(state.live) != record.stage_guid
        or mounts.mounted_at(state.path) != state.layout.live
        or published.read_header(state.path, state.layout.name).txn != record.txn_id
    ):
        raise _contradiction(state, record)


def _contradiction(state: State, record: Record) -> ZfsError:
    evidence = [f"record: {record}", f"live: {state.live}", f"mounted: {mounts.stack(state.path)}"]
    evidence += [f"found: {dataset}" for dataset in state.work.values()]
    return ZfsError(
        "the commit record does not fit the datasets: somebody else renamed or destroyed one",
        object=state.layout.live,
        unchanged="Nothing was touched.",
        next_step="Compare the evidence with `zpool history -i` and name the datasets as before.",
        details=evidence,
    )


def settle(runner: Runner, state: State) -> list[str]:
    """Promote the published clone and destroy what was retired.

    Returns what has to wait, one sentence each: a promotion while a snapshot is being sent, a
    destruction while a reader is in the old tree.
    """
    if state.waits_for_promotion():
        try:
            runner.zfs("promote", state.layout.live)
        except CommandFailed as exc:
            return [f"{state.layout.live} cannot be promoted yet: {_said(exc)}"]
    waiting = []
    for name in state.olds:
        try:
            runner.zfs("destroy", name)
        except CommandFailed as exc:
            held = _in_use(state) if "busy" in exc.output else ""
            waiting.append(f"{name} cannot be destroyed yet: {_said(exc)}{held}")
    return waiting


def _in_use(state: State) -> str:
    found = [f"pid {user.pid} ({user.command})" for user in readers.of_detached(state.layout)]
    return f" (in use by {', '.join(found)})" if found else ""


def discard(runner: Runner, dataset: str) -> None:
    """Destroy a work dataset and the snapshot it may have; never anything below, cloned or foreign."""
    for name, txn in datasets.snapshots(runner, dataset, TXN):
        if txn and snapshot_number(name) is not None:
            runner.zfs("destroy", f"{dataset}@{name}")
    runner.zfs("destroy", dataset)


def put_off(doing: str, exc: DsgError) -> str:
    """Return the sentence for a cleanup that failed behind the commit."""
    return f"{doing} has to wait: {_said(exc) if isinstance(exc, CommandFailed) else exc.message}"


def _said(exc: CommandFailed) -> str:
    return " ".join(exc.output.split())
