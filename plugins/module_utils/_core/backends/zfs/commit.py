# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second half of a sync: from the commit record to the published clone, one step at a time.

Every step looks at what is there (by GUID) and does what is missing, so that the transaction itself
and the recovery after a crash at any step are the same code.
"""

from __future__ import annotations

import os

from ...posix.durable import sync_directory
from ...zfs import datasets, mounts
from ...zfs.command import CommandFailed, Runner, ZfsError
from ...zfs.datasets import Dataset
from . import record as records
from .layout import OLD, STAGE, Layout
from .record import Record


def switch(runner: Runner, layout: Layout, record: Record) -> None:
    """Give the live name and mountpoint of a committed transaction to its clone.

    Raises :class:`ZfsError` with the evidence, and touches nothing, where the datasets are not in
    a state that a transaction can have left.
    """
    found = datasets.below(runner, layout.container)
    live = datasets.below(runner, layout.parent).get(layout.live)
    old = layout.work(OLD, record.txn_id)
    stage = layout.work(STAGE, record.txn_id)
    if _guid(live) == record.old_guid and _guid(found.get(stage)) == record.stage_guid:
        runner.zfs("rename", "-u", layout.live, old)
        live = None
    if live is None and _guid(found.get(stage)) == record.stage_guid:
        runner.zfs("rename", "-u", stage, layout.live)
    elif _guid(live) != record.stage_guid:
        raise _contradiction(layout, record, live, found)
    publish(runner, layout, record.txn_id)


def settle(runner: Runner, layout: Layout) -> list[str]:
    """Promote the published clone, clear the record, destroy what was retired.

    Returns what has to wait, one sentence each: a promotion while a snapshot is being sent, a
    destruction while a reader is in the old tree.
    """
    if datasets.below(runner, layout.live)[layout.live].origin:
        try:
            runner.zfs("promote", layout.live)
        except CommandFailed as exc:
            return [f"{layout.live} cannot be promoted yet: {' '.join(exc.output.split())}"]
    records.clear(runner, layout)
    return collect(runner, layout)


def _guid(dataset: Dataset | None) -> str:
    return "" if dataset is None else dataset.guid


def _contradiction(
    layout: Layout, record: Record, live: Dataset | None, found: dict[str, Dataset]
) -> ZfsError:
    evidence = [f"record: {record}", f"live: {live}"]
    evidence += [f"found: {dataset}" for dataset in found.values()]
    return ZfsError(
        "the commit record does not fit the datasets: somebody else renamed or destroyed one",
        object=layout.live,
        unchanged="Nothing was touched.",
        next_step="Compare the evidence with `zpool history -i` and name the datasets as before.",
        details=evidence,
    )


def publish(runner: Runner, layout: Layout, txn_id: str) -> None:
    """Mount the live dataset where it belongs, without a gap where an older one is mounted."""
    dataset = datasets.below(runner, layout.live)[layout.live]
    target = dataset.mountpoint
    if not os.path.isabs(target):
        raise ZfsError(f"the mountpoint is {target!r}, not a path", object=layout.live)
    if mounts.mounted_at(target) == "":
        _ensure_directory(runner, layout, target)
        mounts.mount(runner, layout.live, target, writable=False)
    elif not _is_mounted(dataset, target):
        private = layout.mount(txn_id)
        os.makedirs(private, 0o700, exist_ok=True)
        mounts.mount(runner, layout.live, private, writable=False)
        mounts.switch(private, target)
        mounts.unmount(private)
        os.rmdir(private)


def _is_mounted(dataset: Dataset, target: str) -> bool:
    """Tell whether the topmost mount at ``target`` is this very dataset, not its predecessor.

    After a rename the kernel shows the old dataset under its new name, so the name decides.
    """
    return mounts.mounted_at(target) == dataset.name


def _ensure_directory(runner: Runner, layout: Layout, target: str) -> None:
    """Make the mountpoint's directory inside the publish parent, which is read-only."""
    if os.path.isdir(target):
        return
    parent = os.path.dirname(target)
    runner.run("mount", "-o", "remount,rw", parent)
    try:
        os.mkdir(target, 0o755)
        sync_directory(parent)
    finally:
        runner.run("mount", "-o", "remount,ro", parent)


def collect(runner: Runner, layout: Layout) -> list[str]:
    """Destroy retired datasets; return a sentence for each that is still in use."""
    waiting = []
    for name in sorted(datasets.below(runner, layout.container)):
        work = layout.parse_work(name)
        if work is not None and work[0] == OLD:
            try:
                runner.zfs("destroy", name)
            except CommandFailed as exc:
                waiting.append(f"{name} cannot be destroyed yet: {' '.join(exc.output.split())}")
    return waiting
