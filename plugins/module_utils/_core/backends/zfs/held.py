# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that is prepared and waits for a decision that is made elsewhere.

It is an open transaction (:mod:`.opened`) without a lease: ``dsg:held`` is set beside ``dsg:open``, in
one step, and says since when and for whom.
"""

from __future__ import annotations

import json

from ...errors import ManifestError
from ...zfs.command import Runner
from ..base import Held
from . import lease
from .base import Base
from .lease import DURABLE, Mark
from .state import Dataset, State


def write(runner: Runner, dataset: str, held: Held, live: Base) -> None:
    """Hold a transaction, durably; ``live`` is what it was prepared upon."""
    mark = Mark(0, DURABLE, held.base, live.guid, live.snapshot_guid, live.written, live.snapshot)
    lease.write_held(runner, dataset, mark, json.dumps([held.since, held.note]))


def names(state: State) -> set[str]:
    """Return the work datasets that wait for a decision."""
    return {name for name, dataset in state.work.items() if dataset.held and dataset.mark}


def find(state: State) -> list[Held]:
    """Return the transactions that wait for a decision; what is committed waits for none."""
    decided = "" if state.record is None else state.record.txn_id
    return [
        held
        for held in (_parse(state, state.work[name]) for name in sorted(names(state)))
        if held.txn_id != decided
    ]


def _parse(state: State, dataset: Dataset) -> Held:
    _kind, txn_id = state.layout.parse_work(dataset.name) or ("", "")
    base = lease.read(dataset).number
    try:
        since, note = json.loads(dataset.held)
    except (ValueError, TypeError):
        raise ManifestError(
            f"the mark of the held transaction {txn_id} is {dataset.held!r}",
            object=dataset.name,
            unchanged="The published tree is unchanged.",
            next_step="Restore the property from `zpool history -i`.",
        ) from None
    return Held(txn_id, str(since), str(note), base)
