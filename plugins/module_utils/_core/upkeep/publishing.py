# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction that publishes a tree of the storage host itself: staged, prepared, committed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..backends.base import Land, LocalRepository, Transaction, Upload
from ..backends.origin import new_txn_id, utc_now
from ..backends.outcome import require_not_committed, tidy
from ..errors import DsgError
from ..manifest import codec
from ..manifest.codec import Manifest
from ..manifest.entry import Entry


class Change(NamedTuple):
    """What is to be published upon ``base``: ``entries`` are all of the new tree's, as planned.

    ``source`` is the root of the tree that the uploads are in; ``land`` brings them (None: by copying).
    """

    base: Manifest
    source: str
    uploads: Sequence[Upload]
    deletes: set[str]
    entries: Sequence[Entry]
    land: Land | None = None


def publish(
    repository: LocalRepository, change: Change, *, message: str, user: str
) -> tuple[Manifest, list[str]]:
    """Publish; return the new manifest, and what has to wait, one sentence each. The lock is held.

    Any failure before the commit undoes everything.
    """
    txn_id = new_txn_id()
    transaction = repository.begin(txn_id, change.base)
    try:
        landed = transaction.stage(change.source, change.uploads, change.deletes, change.land)
        manifest = _manifest(repository, change, landed, txn_id, message, user)
        transaction.prepare(manifest)
    except BaseException:
        _roll_back(transaction)
        raise
    try:
        transaction.commit()
    except BaseException as exc:
        _settle(repository, transaction, change.base, txn_id, exc)
        raise
    return manifest, tidy(transaction)


def _manifest(
    repository: LocalRepository,
    change: Change,
    landed: Sequence[Entry],
    txn_id: str,
    message: str,
    user: str,
) -> Manifest:
    head = change.base.header
    entries = {entry.path: entry for entry in change.entries}
    entries.update({entry.path: entry for entry in landed})
    return codec.build(
        entries.values(),
        repository_id=head.repository_id,
        repository=repository.name,
        snapshot=head.snapshot + 1,
        parent=head.id,
        txn=txn_id,
        created_at=utc_now(),
        created_by=f"{user}@{os.uname().nodename}",
        message=message,
    )


def _roll_back(transaction: Transaction) -> None:
    """Undo; what cannot be undone now is found by the next recovery."""
    try:
        transaction.rollback()
    except (DsgError, OSError):
        return


def _settle(
    repository: LocalRepository,
    transaction: Transaction,
    base: Manifest,
    txn_id: str,
    cause: BaseException,
) -> None:
    """Undo after a failed commit, unless the repository has the transaction all the same."""
    require_not_committed(repository, txn_id, base.header.snapshot, cause, "Nothing was removed.")
    _roll_back(transaction)
