# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a plan to the journal's operations on the working copy."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..client import names as records
from ..client.journal import INSTALL, MKDIR, REMOVE, RENAME, RMDIR, Operation, Seen
from ..client.transaction import ClientTransaction
from ..manifest.entry import DIRECTORY
from ..manifest.scan import Scan
from ..plan.plan import Plan, Step
from ..plan.policy import REMOTE
from ..plan.states import DELETE_LOCAL, DOWNLOAD
from ..plan.structure import ancestors
from .view import View


def operations_of(plan: Plan, view: View, client: ClientTransaction) -> list[Operation]:
    """Return the operations in an order that can be carried out: free names, then fill them.

    Renamings go first: everything else has the new names.
    """
    downloads, deletes = plan.of(DOWNLOAD), plan.of(DELETE_LOCAL)
    renamings = _renamings(plan, view, client, len(downloads) + len(deletes))
    if not downloads and not deletes:
        return renamings
    making_way = [
        (slot, step)
        for slot, step in enumerate(downloads)
        if step.remote is not None and step.remote.kind == DIRECTORY
    ]
    leaving = list(enumerate(deletes, len(downloads)))
    return [
        *renamings,
        *_removals(making_way + leaving, view),
        *_vacated(downloads, deletes, view),
        *_arrivals(downloads, view, client),
    ]


def _renamings(plan: Plan, view: View, client: ClientTransaction, slot: int) -> list[Operation]:
    """Return renamings, links that follow them, and the record of both; slots from ``slot`` on."""
    if not view.names or view.scan is None:
        return []
    replaced = {step.path for step in plan.of(DOWNLOAD, DELETE_LOCAL)}
    links = [one for one in view.names.retargets if one.path not in replaced]
    operations = [
        Operation(RENAME, new, ino=_inode(view, view.scan, old), old=old.rpartition("/")[2])
        for old, new in view.names.renames
    ]
    for one in links:
        ino = client.stage_link(slot, one.new)
        seen = Seen(*_size_mtime_ino(view, one.path))
        operations.append(Operation(INSTALL, one.path, slot=slot, ino=ino, seen=seen))
        slot += 1
    kinds = {new: _kind(view, new) for _old, new in view.names.renames}
    ino = client.stage_names(slot, records.encode(view.names.renames, links, kinds))
    path = records.new_path(view.working_copy, client.txn_id)
    return [*operations, Operation(INSTALL, path, slot=slot, ino=ino)]


def _inode(view: View, scan: Scan, path: str) -> int:
    """Return the inode number of what was scanned: another one is not renamed."""
    try:
        return scan.identity(path).ino
    except KeyError:  # a directory
        return os.lstat(os.path.join(view.working_copy.root, path)).st_ino


def _kind(view: View, path: str) -> str:
    """Return what is renamed; a directory is an entry of its own only where it is empty."""
    entry = view.local.get(path)
    return DIRECTORY if entry is None else entry.kind


def _size_mtime_ino(view: View, path: str) -> tuple[int, int, int]:
    size, mtime_ns, _ctime_ns, ino = view.identity(path)
    return size, mtime_ns, ino


def _removals(steps: Iterable[tuple[int, Step]], view: View) -> list[Operation]:
    """Return removals of local files and links; the slots are where they are moved to."""
    return [
        Operation(REMOVE, step.path, slot=slot, seen=_seen(view, step), backup=step.taken == REMOTE)
        for slot, step in steps
        if step.local is not None and step.local.kind != DIRECTORY
    ]


def _vacated(downloads: list[Step], deletes: list[Step], view: View) -> list[Operation]:
    """Return removals of directories that hold nothing any more, the deepest first."""
    gone = {step.path for step in deletes}
    arriving = [step.remote for step in downloads if step.remote is not None]
    staying = {path for path in view.local if path not in gone}
    needed = ancestors(staying) | ancestors(entry.path for entry in arriving)
    needed |= {entry.path for entry in arriving if entry.kind == DIRECTORY}
    needed |= {p for p in staying if view.local[p].kind == DIRECTORY} - {
        entry.path for entry in arriving if entry.kind != DIRECTORY
    }
    emptied = ancestors(gone) | {
        path
        for path in gone | {entry.path for entry in arriving}
        if path in view.local and view.local[path].kind == DIRECTORY
    }
    return [Operation(RMDIR, path) for path in sorted(emptied - needed, reverse=True)]


def _arrivals(downloads: list[Step], view: View, client: ClientTransaction) -> list[Operation]:
    operations = []
    for slot, step in enumerate(downloads):
        if step.remote is None:
            continue
        if step.remote.kind == DIRECTORY:
            operations.append(Operation(MKDIR, step.path))
            continue
        operations.append(
            Operation(
                INSTALL,
                step.path,
                slot=slot,
                ino=client.staged_inode(slot),
                seen=_seen(view, step),
                backup=step.taken == REMOTE,
            )
        )
    return operations


def _seen(view: View, step: Step) -> Seen | None:
    """Return the version of the local file that the plan was made for."""
    if step.local is None or step.local.kind == DIRECTORY or view.scan is None:
        return None
    return Seen(*_size_mtime_ino(view, step.path))
