# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mark of a held transaction: a small file beside its work area.

Recovery leaves a marked work area alone, unless its name is already that of the old tree, exchanged
out. The mark is the last to be made, and the first to go in a rollback; behind a commit, the last.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ...errors import ManifestError
from ...posix import durable
from ..base import Held
from .layout import Layout

_FORMAT = 1


class Mark(NamedTuple):
    """What is held, and the ``id`` of the manifest it was prepared upon ('': a first publication)."""

    held: Held
    base_id: str


def write(layout: Layout, mark: Mark) -> None:
    """Hold a transaction, durably."""
    fields = {"format": _FORMAT, **mark.held._asdict(), "base_id": mark.base_id}
    durable.replace(layout.mark(mark.held.txn_id), [json.dumps(fields).encode() + b"\n"])


def drop(layout: Layout, txn_id: str) -> None:
    """Let go of a transaction, durably: what is left of it is for any recovery."""
    durable.discard(layout.mark(txn_id))
    durable.sync_directory(layout.container)


def read(layout: Layout, txn_id: str) -> Mark | None:
    """Return a transaction's mark, None where it is not held; one that cannot be read is an error."""
    path = layout.mark(txn_id)
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(content)
        if fields.pop("format") != _FORMAT or fields["txn_id"] != txn_id:
            raise ValueError("format")
        base_id = fields.pop("base_id")
        return Mark(Held(**fields), base_id)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ManifestError(
            f"the mark of the held transaction {txn_id} is damaged, or of another version",
            object=path,
            unchanged="The published tree is unchanged.",
            next_step="Restore it from a backup, or remove it to have the transaction rolled back.",
        ) from None
