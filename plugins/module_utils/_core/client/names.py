# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sync renamed in a working copy, kept in ``.dsg/names/`` so that it can be undone.

Each transaction's record is ``<number>-<txn>.json``. The number tells the order: two transactions may
start within one second, and clocks are set back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import WorkingCopyError
from ..manifest.portable import Rename, Retarget
from . import fields
from .working_copy import METADATA, WorkingCopy

FORMAT = 1
_FOLDER = f"{METADATA}/names"
_ENDING = ".json"
_NAME = re.compile(fields.NAMES_FILE)


class Record(NamedTuple):
    """One transaction's renamings, in their order, and the links that followed them.

    ``path`` is where the record is, relative to the working copy. ``kinds`` tells what was renamed (file,
    symlink, directory) by its new path; records of before kinds were written down have none.
    """

    path: str
    renames: Sequence[Rename]
    retargets: Sequence[Retarget]
    kinds: Mapping[str, str]


def new_path(working_copy: WorkingCopy, txn_id: str) -> str:
    """Return where the next record goes, relative to the working copy; its lock is held."""
    number = max(map(_number, _found(working_copy)), default=0) + 1
    return f"{_FOLDER}/{number:08d}-{txn_id}{_ENDING}"


def encode(
    renames: Sequence[Rename], retargets: Sequence[Retarget], kinds: Mapping[str, str]
) -> bytes:
    """Return the bytes of a record; names that are not UTF-8 are kept as they are."""
    content = {
        "format": FORMAT,
        "renames": list(renames),
        "links": list(retargets),
        "kinds": dict(kinds),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def newest(working_copy: WorkingCopy) -> Record | None:
    """Return the newest record, None where there is none; a damaged one is an error."""
    name = max(_found(working_copy), key=_number, default="")
    if not name:
        return None
    path = os.path.join(working_copy.names, name)
    with working_copy.open(path) as stream:
        content = stream.read()
    try:
        return _decode(f"{_FOLDER}/{name}", content)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise WorkingCopyError(
            "the record of renamed names is damaged, or of another version",
            object=path,
            next_step="Restore it from a backup of the working copy, or move it away.",
        ) from None


def _found(working_copy: WorkingCopy) -> list[str]:
    try:
        return [name for name in os.listdir(working_copy.names) if _NAME.fullmatch(name)]
    except FileNotFoundError:
        return []


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _decode(path: str, content: bytes) -> Record:
    data = json.loads(content)
    if data["format"] != FORMAT:
        raise ValueError("format")
    return Record(
        path,
        [
            Rename(fields.content_path(old), fields.content_path(new))
            for old, new in data["renames"]
        ],
        [
            Retarget(fields.content_path(link), fields.text(old), fields.text(new))
            for link, old, new in data["links"]
        ],
        dict(data.get("kinds", {})),
    )
