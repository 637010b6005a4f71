# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a crash left on a storage host, told apart by names, GUIDs and the commit record."""

from __future__ import annotations

from ...zfs import mounts
from ...zfs.command import Runner, ZfsError
from . import commit, held, lease
from .layout import INIT, OLD, STAGE, Layout
from .privileged import Privileged
from .publish import needs_protection
from .state import State, look


def describe(state: State, *, open_too: bool = False, own: str = "") -> list[str]:
    """Describe what :func:`recover` would do; changes nothing."""
    left_alone = lease.spared(state, own)
    if open_too:
        left_alone = held.names(state) | lease.roots(state)
    record = state.record
    found = [f"transaction {record.txn_id} is committed and to be finished"] if record else []
    for name in sorted(state.work):
        kind, txn_id = state.layout.parse_work(name) or ("", "")
        if name in left_alone or (record is not None and record.txn_id == txn_id):
            continue
        what = "to be destroyed once nobody uses it" if kind == OLD else "to be destroyed"
        found.append(f"{name} of transaction {txn_id} is {what}")
    if record is None and state.live is not None and state.live.mark:
        found.append(f"transaction {state.live.txn} is committed and to be closed")
    if record is None and is_hidden(state):
        found.append(f"{state.layout.live} is to be mounted at {state.path}")
    if needs_protection(state):
        found.append(f"{state.parent.mountpoint} is to be made read-only")
    return found


def recover(
    runner: Runner,
    layout: Layout,
    privileged: Privileged,
    *,
    open_too: bool = False,
    own: str = "",
) -> list[str]:
    """Finish or undo what dead transactions left; the lock must be held.

    An open transaction is left alone while its lease runs, and ``own`` for longer. With ``open_too``
    all of them are undone. One that is held is always left alone.
    """
    privileged.require()
    if open_too:
        lease.end_all(runner, look(runner, layout))
    privileged.release()  # said nowhere: every private mount is part of a transaction told below
    done: list[str] = []
    state = look(runner, layout)
    if needs_protection(state):
        done += privileged.protect_parent(state)
    if state.record is not None:
        txn_id = state.record.txn_id
        state = commit.switch(runner, privileged, state, state.record)
        done.append(f"finished transaction {txn_id}")
    left_alone = lease.spared(state, own)
    for name in sorted(state.work):
        if state.kind_of(name) in (INIT, STAGE) and name not in left_alone:
            done.append(_undo(runner, state, name))
    if state.live is not None and state.live.mark:
        lease.end(runner, layout.live, held=bool(state.live.held))
        done.append(f"closed transaction {state.live.txn}, which is committed")
    done += _settle(runner, state)
    if is_hidden(state):
        privileged.publish(state)
        done.append(f"mounted {layout.live} at {state.path}")
    return done


def is_hidden(state: State) -> bool:
    """Tell whether there is a repository that is not mounted at its path."""
    return state.live is not None and mounts.mounted_at(state.path) != state.layout.live


def _undo(runner: Runner, state: State, name: str) -> str:
    _kind, txn_id = state.layout.parse_work(name) or ("", "")
    try:
        commit.discard(runner, name)
    except ZfsError as exc:
        return commit.put_off(f"undoing transaction {txn_id} ({name})", exc)
    return f"undid transaction {txn_id}: destroyed {name}"


def _settle(runner: Runner, state: State) -> list[str]:
    if not state.olds:
        return []
    waiting = commit.settle(runner, state)
    left = set(look(runner, state.layout).olds)
    return waiting + [f"destroyed {name}" for name in state.olds if name not in left]
