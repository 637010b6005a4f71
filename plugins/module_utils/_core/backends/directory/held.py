# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction of the directory backend that another process has prepared."""

from __future__ import annotations

from ...errors import DriftError
from ...posix.present import is_present
from .. import published
from ..base import Held
from . import mark
from .layout import Layout
from .mark import Mark
from .transaction import DirectoryTransaction


class HeldTransaction:
    """A work area and its mark; what it was prepared upon is read when it is to be committed."""

    def __init__(self, layout: Layout, found: Mark) -> None:
        self.layout = layout
        self.found = found
        self.transaction: DirectoryTransaction | None = None

    def commit(self) -> None:
        """Check that the repository is still the base, then publish in one atomic step."""
        self.transaction = self._resumed()
        self.transaction.commit()

    def _resumed(self) -> DirectoryTransaction:
        held = self.found.held
        base = published.read_manifest(self.layout.live, self.layout.name) if held.base else None
        if base is not None and base.header.id != self.found.base_id:
            raise DriftError(
                f"the repository is at s{base.header.snapshot} now, and not the s{held.base} that "
                f"transaction {held.txn_id} was prepared upon",
                object=self.layout.live,
            )
        return DirectoryTransaction(self.layout, held.txn_id, base)

    def finish(self) -> list[str]:
        """Tidy up behind the commit point; return what has to wait, one sentence each."""
        waiting = [] if self.transaction is None else self.transaction.finish()
        if not waiting:
            mark.drop(self.layout, self.found.held.txn_id)
        return waiting

    def rollback(self) -> None:
        """Let go of the work area, then remove it."""
        held = self.found.held
        mark.drop(self.layout, held.txn_id)
        DirectoryTransaction(self.layout, held.txn_id, None).rollback()


def find(layout: Layout) -> list[Held]:
    """Return the transactions that wait for a decision; what is committed waits for none."""
    marked = layout.marked()
    if not marked:
        return []
    found = [mark.read(layout, txn_id) for txn_id in sorted(marked & set(layout.staged()))]
    return [one.held for one in found if one is not None and not _is_committed(layout, one)]


def _is_committed(layout: Layout, found: Mark) -> bool:
    """Tell whether a work area is the old tree, exchanged out; a first publication leaves none."""
    if not found.held.base:
        return False
    if not is_present(layout.live):  # somebody has removed it: the work area tells which tree it is
        stage = layout.stage(found.held.txn_id)
        return published.read_header(stage, layout.name).txn != found.held.txn_id
    return published.read_header(layout.live, layout.name).txn == found.held.txn_id


def resume(layout: Layout, txn_id: str) -> HeldTransaction | None:
    """Return a transaction that waits for a decision, None where there is none."""
    if txn_id not in layout.marked() or txn_id not in layout.staged():
        return None
    found = mark.read(layout, txn_id)
    if found is None or _is_committed(layout, found):
        return None
    return HeldTransaction(layout, found)
