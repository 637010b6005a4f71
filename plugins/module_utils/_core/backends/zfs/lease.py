# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mark of an open transaction: a work dataset that no process holds, and that is to stay.

It is one property of the work dataset, ``dsg:open``, set as the last step of beginning. Recovery leaves
such a dataset alone until its lease ends; but not where the host went down before it was prepared, as
nobody knows then which of the tasks' writes have reached the disk. One that is held (:mod:`.held`) has
no lease: it stays until it is decided.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from ...errors import ManifestError
from ...posix.process import boot_id
from ...zfs.command import Runner
from . import places
from .layout import HELD, INIT, OPEN, STAGE
from .state import Dataset, State

DURABLE = "-"
_SEPARATOR = ";"
_NUMBER = re.compile(r"[0-9]{1,15}")


class Mark(NamedTuple):
    """What an open transaction was built upon; the last four are '' for a first publication.

    ``ends`` is in seconds since the epoch; ``boot`` the boot that the work tree depends on
    (:data:`DURABLE` once it is prepared); ``number`` the repository's snapshot number (0: absent),
    ``guid`` the published dataset's; the rest is as in :class:`.transaction.Base`.
    """

    ends: int
    boot: str
    number: int
    guid: str
    snapshot_guid: str
    written: str
    snapshot: str


def this_boot() -> str:
    """Return what tells this boot of the host from any other."""
    return boot_id()


def write(runner: Runner, dataset: str, mark: Mark) -> None:
    """Set the mark, new or another one."""
    runner.zfs("set", f"{OPEN}={_SEPARATOR.join(map(str, mark))}", dataset)


def write_held(runner: Runner, dataset: str, mark: Mark, held: str) -> None:
    """Set both marks of a held transaction, in one step."""
    text = _SEPARATOR.join(map(str, mark))
    runner.zfs("set", f"{OPEN}={text}", f"{HELD}={held}", dataset)


def end(runner: Runner, dataset: str, *, held: bool = False) -> None:
    """Take the mark away: what is left is a dead transaction's, for any recovery to undo.

    A held one's own mark goes first: the other has no lease that would keep it from being undone.
    """
    if held:
        runner.zfs("inherit", HELD, dataset)
    runner.zfs("inherit", OPEN, dataset)


def end_all(runner: Runner, state: State) -> None:
    """Take every mark away, but for those that are held, and root's own from a service user."""
    for name in sorted(state.work.keys() - roots(state)):
        if state.work[name].mark and not state.work[name].held:
            end(runner, name)


def read(dataset: Dataset) -> Mark:
    """Return the mark of a work dataset; one that cannot be read is an error."""
    mark = _parse(dataset)
    if mark is None:
        raise ManifestError(
            f"the mark {OPEN} is {dataset.mark!r}",
            object=dataset.name,
            unchanged="The published tree is unchanged.",
            next_step="Restore the property from `zpool history -i`, or roll the transaction back.",
        )
    return mark


def _parse(dataset: Dataset) -> Mark | None:
    parts = dataset.mark.split(_SEPARATOR, len(Mark._fields) - 1)
    numbers = (parts[0], *parts[2:3])
    if len(parts) != len(Mark._fields) or not all(map(_NUMBER.fullmatch, numbers)):
        return None
    return Mark(int(parts[0]), parts[1], int(parts[2]), *parts[3:])


def spared(state: State, own: str = "") -> set[str]:
    """Return the work datasets that recovery leaves alone.

    The lease of transaction ``own`` may have ended. A mark that cannot be read is left alone, too.
    """
    return roots(state) | {name for name in state.work if _is_spared(state, name, own)}


def roots(state: State) -> set[str]:
    """Return the work datasets that root has mounted for itself: none of a service user's business.

    Root's run may be at work there, or be dead: nobody but root can tell. Root itself is told of none.
    """
    if os.geteuid() == 0:
        return set()
    unfinished = {name for name in state.work if state.kind_of(name) in (INIT, STAGE)}
    return {name for name in unfinished if places.is_roots(_directory(state, name))}


def _directory(state: State, name: str) -> str:
    _kind, txn_id = state.layout.parse_work(name) or ("", "")
    return state.layout.mount(txn_id)


def _is_spared(state: State, name: str, own: str) -> bool:
    dataset = state.work[name]
    if not dataset.mark:
        return False
    if dataset.held:
        return True
    mark = _parse(dataset)
    if mark is None:
        return True
    mine = own != "" and (state.layout.parse_work(name) or ("", ""))[1] == own
    return mark.boot in (DURABLE, this_boot()) and (mine or mark.ends > time.time())


def mounted(state: State) -> set[str]:
    """Return where open transactions are, or would be, mounted; nobody works in what is prepared."""
    marks = {name: _parse(state.work[name]) for name in spared(state)}
    prepared = {name for name, mark in marks.items() if mark is not None and mark.boot == DURABLE}
    return {_directory(state, name) for name in marks.keys() - prepared}


def describe(state: State) -> list[str]:
    """Tell of the open transactions that recovery leaves alone, one sentence each."""
    said, of_root = [], roots(state)
    for name in sorted(spared(state)):
        if state.work[name].held:
            continue
        _kind, txn_id = state.layout.parse_work(name) or ("", "")
        until = _until(state.work[name])
        if name in of_root and not _is_spared(state, name, ""):
            until = "root's run ends, or `dsg.storage.recover` is run as root"
        said.append(f"transaction {txn_id} is open, {name} is left alone until {until}")
    return said


def _until(dataset: Dataset) -> str:
    mark = _parse(dataset)
    return "it is rolled back" if mark is None else _utc(mark.ends)


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
