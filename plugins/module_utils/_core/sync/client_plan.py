# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a plan to the journal's operations on the working copy."""

from __future__ import annotations

from collections.abc import Iterable

from ..client.journal import INSTALL, MKDIR, REMOVE, RMDIR, Operation, Seen
from ..client.transaction import ClientTransaction
from ..manifest.entry import DIRECTORY
from ..plan.plan import Plan, Step
from ..plan.policy import REMOTE
from ..plan.states import DELETE_LOCAL, DOWNLOAD
from ..plan.structure import ancestors
from .view import View


def operations_of(plan: Plan, view: View, client: ClientTransaction) -> list[Operation]:
    """Return the operations in an order that can be carried out: free names, then fill them."""
    downloads, deletes = plan.of(DOWNLOAD), plan.of(DELETE_LOCAL)
    if not downloads and not deletes:
        return []
    making_way = [
        (slot, step)
        for slot, step in enumerate(downloads)
        if step.remote is not None and step.remote.kind == DIRECTORY
    ]
    leaving = list(enumerate(deletes, len(downloads)))
    return [
        *_removals(making_way + leaving, view),
        *_vacated(downloads, deletes, view),
        *_arrivals(downloads, view, client),
    ]


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
    size, mtime_ns, _ctime_ns, ino = view.scan.identity(step.path)
    return Seen(size, mtime_ns, ino)
