# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commit record: one property whose setting decides a transaction."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import ManifestError
from ...zfs.command import Runner
from ...zfs.datasets import LOCAL, Value
from .layout import RECORD_HEX, RECORD_PLAIN, Layout


class Record(NamedTuple):
    """A committed transaction whose names or mounts are not all switched yet."""

    txn_id: str
    stage_guid: str
    old_guid: str


def parse(layout: Layout, found: Value) -> Record | None:
    """Return the record, None where there is none; one that cannot be read is an error."""
    if found.source != LOCAL:
        return None
    parts = found.value.split(";")
    if len(parts) != 3 or not all(parts):
        raise ManifestError(
            f"the commit record {layout.record} is {found.value!r}",
            object=layout.container,
            next_step="Nothing was touched. Restore the property from `zpool history -i`.",
        )
    return Record(*parts)


def name_of(key: str) -> str:
    """Return the repository that a property of the container is the record of, '' for others."""
    if key.startswith(RECORD_PLAIN):
        return key[len(RECORD_PLAIN) :]
    if not key.startswith(RECORD_HEX):
        return ""
    try:
        return bytes.fromhex(key[len(RECORD_HEX) :]).decode()
    except ValueError:  # nothing that we wrote
        return ""


def write(runner: Runner, layout: Layout, record: Record) -> None:
    """Commit: from here on recovery carries the transaction forward."""
    runner.zfs("set", f"{layout.record}={';'.join(record)}", layout.container)


def clear(runner: Runner, layout: Layout) -> None:
    """Remove the record, once everything is switched."""
    runner.zfs("inherit", layout.record, layout.container)
