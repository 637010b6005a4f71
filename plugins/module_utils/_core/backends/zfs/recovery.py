# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a crash left on a storage host, told apart by names, GUIDs and the commit record."""

from __future__ import annotations

import os

from ...zfs import datasets, mounts
from ...zfs.command import Runner
from . import commit
from . import record as records
from .layout import INIT, OLD, RUN, STAGE, Layout
from .transaction import discard


def describe(runner: Runner, layout: Layout) -> list[str]:
    """Describe what :func:`recover` would do; changes nothing."""
    record = records.read(runner, layout)
    found = [f"transaction {record.txn_id} is committed and to be finished"] if record else []
    for kind, txn_id, name in _work(runner, layout):
        if record is not None and record.txn_id == txn_id:
            continue
        what = "to be destroyed once nobody uses it" if kind == OLD else "to be destroyed"
        found.append(f"{name} of transaction {txn_id} is {what}")
    return found


def recover(runner: Runner, layout: Layout) -> list[str]:
    """Finish or undo what dead transactions left; the lock must be held."""
    done = _release_mounts(layout)
    record = records.read(runner, layout)
    if record is not None:
        commit.switch(runner, layout, record)
        waiting = commit.settle(runner, layout)
        done += [f"finished transaction {record.txn_id}", *waiting]
    for kind, txn_id, name in _work(runner, layout):
        if kind in (INIT, STAGE):
            discard(runner, name)
            done.append(f"undid transaction {txn_id}: destroyed {name}")
    if record is None and any(kind == OLD for kind, _, _ in _work(runner, layout)):
        before = {name for _, _, name in _work(runner, layout)}
        commit.collect(runner, layout)
        gone = before - {name for _, _, name in _work(runner, layout)}
        done += [f"destroyed {name}, which nobody uses any more" for name in sorted(gone)]
    return done + _mount_live(runner, layout)


def _work(runner: Runner, layout: Layout) -> list[tuple[str, str, str]]:
    found = []
    for name in sorted(datasets.below(runner, layout.container)):
        work = layout.parse_work(name)
        if work is not None:
            found.append((work[0], work[1], name))
    return found


def _release_mounts(layout: Layout) -> list[str]:
    """Unmount what a dead transaction of this repository had mounted privately."""
    directory = os.path.join(RUN, "mnt")
    done = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if name.rpartition(".")[0] == layout.name:
            path = os.path.join(directory, name)
            while mounts.mounted_at(path):
                mounts.unmount(path, lazily=True)
            os.rmdir(path)
            done.append(f"unmounted {path}")
    return done


def _mount_live(runner: Runner, layout: Layout) -> list[str]:
    """Mount a repository whose first publication was interrupted behind its commit."""
    live = datasets.below(runner, layout.parent).get(layout.live)
    if live is None or mounts.mounted_at(live.mountpoint) == layout.live:
        return []
    commit.publish(runner, layout, "recover")
    return [f"mounted {layout.live} at {live.mountpoint}"]
