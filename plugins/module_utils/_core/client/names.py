# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sync renamed in a working copy, kept in ``.dsg/names/<txn>.json`` so that it can be undone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import WorkingCopyError
from ..manifest.portable import Rename, Retarget
from .working_copy import METADATA, WorkingCopy

FORMAT = 1
_ENDING = ".json"


class Record(NamedTuple):
    """One transaction's renamings, in their order, and the links that followed them."""

    txn_id: str
    renames: Sequence[Rename]
    retargets: Sequence[Retarget]


def path_of(txn_id: str) -> str:
    """Return where a record is, relative to the working copy."""
    return f"{METADATA}/names/{txn_id}{_ENDING}"


def encode(renames: Sequence[Rename], retargets: Sequence[Retarget]) -> bytes:
    """Return the bytes of a record; names that are not UTF-8 are kept as they are."""
    content = {"format": FORMAT, "renames": list(renames), "links": list(retargets)}
    return json.dumps(content, indent=1).encode() + b"\n"


def newest(working_copy: WorkingCopy) -> Record | None:
    """Return the newest record, None where there is none; a damaged one is an error."""
    try:
        found = sorted(name for name in os.listdir(working_copy.names) if name.endswith(_ENDING))
    except FileNotFoundError:
        return None
    if not found:
        return None
    path = os.path.join(working_copy.names, found[-1])
    with open(path, "rb") as stream:
        content = stream.read()
    try:
        return _decode(found[-1][: -len(_ENDING)], content)
    except (ValueError, TypeError, KeyError):
        raise WorkingCopyError(
            "the record of renamed names is damaged, or of another version",
            object=path,
            next_step="Restore it from a backup of the working copy, or move it away.",
        ) from None


def _decode(txn_id: str, content: bytes) -> Record:
    data = json.loads(content)
    if data["format"] != FORMAT:
        raise ValueError("format")
    return Record(
        txn_id,
        [Rename(*one) for one in data["renames"]],
        [Retarget(*one) for one in data["links"]],
    )
