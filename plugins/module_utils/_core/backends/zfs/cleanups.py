# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What waits in the work container, and who is in the way: of it, and of published snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from ...posix import processes
from ...zfs import datasets
from ...zfs.command import Runner
from ..standing import (
    CLONE,
    HOLD,
    LOCK,
    PROCESS,
    SNAPSHOT,
    Cleanup,
    Holder,
    SnapshotUser,
)
from . import lease, readers, users
from .layout import OLD, TXN, Layout, snapshot_number
from .state import State

_KEEPS = ("userrefs", "clones", TXN)


def running(layout: Layout) -> list[Holder]:
    """Return who works on the repository now."""
    return [
        Holder(LOCK, user.pid, user.command, user.user, layout.lock)
        for user in processes.lock_holders(layout.lock)
    ]


def find(runner: Runner, state: State) -> list[Cleanup]:
    """Return what recovery is to destroy or to promote."""
    layout, spared = state.layout, lease.spared(state)
    left = [name for name in sorted(state.work) if name not in spared and not _decided(state, name)]
    promoting = state.waits_for_promotion() and state.record is None
    if not left and not promoting:
        return []
    listed = datasets.read(runner, _KEEPS, [layout.container], kinds="filesystem,snapshot", depth=2)
    sends = users.sends(layout)
    busy = running(layout)
    found = [_of_promotion(state, sends)] if promoting else []
    for name in left:
        kind, txn_id = layout.parse_work(name) or ("", "")
        keepers = [] if kind == OLD else list(busy)
        keepers += [send for send in sends if promoting or _is_of(send, name)]
        keepers += users.mounts_of(name)
        for snapshot in (one for one in listed if one.startswith(f"{name}@")):
            keepers += _keepers(runner, snapshot, listed[snapshot], layout)
        if kind == OLD:
            keepers += _readers(layout)
            what = f"{name}, replaced by transaction {txn_id}, is to be destroyed"
        else:
            what = f"{name} of transaction {txn_id}, which did not commit, is to be destroyed"
        found.append(Cleanup(name, txn_id, what, keepers))
    return found


def _decided(state: State, name: str) -> bool:
    """Tell whether a dataset is of a committed transaction that goes forward."""
    parsed = state.layout.parse_work(name)
    return state.record is not None and parsed is not None and parsed[1] == state.record.txn_id


def _of_promotion(state: State, sends: Sequence[Holder]) -> Cleanup:
    layout = state.layout
    origin = "" if state.live is None else state.live.origin
    _kind, txn_id = layout.parse_work(origin.partition("@")[0]) or ("", "")
    what = f"{layout.live} is still a clone of {origin}, and is to be promoted"
    return Cleanup(layout.live, txn_id, what, list(sends))


def _keepers(
    runner: Runner, snapshot: str, seen: datasets.Properties, layout: Layout
) -> list[Holder]:
    """Return what keeps a snapshot of a work dataset, itself included where it is not ours."""
    ours = bool(datasets.own(seen, TXN))
    named = snapshot_number(snapshot.partition("@")[2]) is not None
    found = [] if ours and named else [Holder(SNAPSHOT, place=snapshot)]
    return _holds_and_clones(runner, snapshot, seen, layout) + found


def _holds_and_clones(
    runner: Runner, snapshot: str, seen: datasets.Properties, layout: Layout
) -> list[Holder]:
    found = []
    if seen.get("userrefs", datasets.NOTHING).value not in ("", "0"):
        for line in runner.zfs("holds", "-H", snapshot).splitlines():
            found.append(Holder(HOLD, place=snapshot, tag=line.split("\t")[1]))
    clones = seen.get("clones", datasets.NOTHING).value.split(",")
    work = f"{layout.container}/"
    found += [
        Holder(CLONE, place=clone)
        for clone in clones
        if clone and clone != layout.live and not clone.startswith(work)
    ]
    return found


def _readers(layout: Layout) -> list[Holder]:
    return [
        Holder(PROCESS, user.pid, user.command, user.user, user.path)
        for user in readers.of_detached(layout)
    ]


def _is_of(send: Holder, dataset: str) -> bool:
    return send.place.partition("@")[0] == dataset


def snapshot_users(runner: Runner, layout: Layout) -> list[SnapshotUser]:
    """Return what keeps snapshots of the published dataset: holds, clones, mounts, readers and sends."""
    listed = datasets.read(runner, _KEEPS, [layout.live], kinds="snapshot", depth=1)
    found = []
    for snapshot, seen in listed.items():
        number = snapshot_number(snapshot.partition("@")[2])
        if number is not None and datasets.own(seen, TXN):
            keepers = _holds_and_clones(runner, snapshot, seen, layout)
            found += [SnapshotUser(number, keeper) for keeper in keepers]
    for snapshot, keepers in users.of_snapshots(layout.live).items():
        number = snapshot_number(snapshot.partition("@")[2])
        if number is not None:
            found += [SnapshotUser(number, keeper) for keeper in keepers]
    return sorted(found)
