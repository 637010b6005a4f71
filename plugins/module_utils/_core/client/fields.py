# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a field of a record below ``.dsg`` may be, before it becomes a part of a path or of a question.

Records are read as if they came from anybody: who contributes content may have put them there. Each
function returns the value, or raises ``ValueError``.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ..manifest.header import is_integer
from .working_copy import METADATA

NAMES_FILE = r"[0-9]{8,}-[0-9A-Za-z-]{1,64}\.json"
"""What the record of one transaction's renamings is called."""

_TXN = re.compile(r"[0-9A-Za-z-]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAMES_RECORD = re.compile(rf"{re.escape(METADATA)}/names/{NAMES_FILE}")
_NO_NAMES = ("", ".", "..")


def text(value: Any) -> str:
    """Check a text that is only compared or shown."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    return value


def number(value: Any, least: int = 0) -> int:
    """Check a number."""
    if not is_integer(value) or value < least:
        raise ValueError(value)
    return int(value)


def txn_id(value: Any) -> str:
    """Check the id of a transaction: its staging area is called so."""
    if not _TXN.fullmatch(text(value)):
        raise ValueError(value)
    return str(value)


def key(value: Any) -> str:
    """Check the name under which a repository is recorded."""
    if not _KEY.fullmatch(text(value)):
        raise ValueError(value)
    return str(value)


def one_of(value: Any, allowed: tuple[str, ...]) -> str:
    """Check a word."""
    if value not in allowed:
        raise ValueError(value)
    return str(value)


def backend(value: Any) -> dict[str, object]:
    """Check that a backend has options; which they may be is known where it is opened."""
    if not isinstance(value, dict):
        raise ValueError(value)
    return {option: given if given is None else text(given) for option, given in value.items()}


def name(value: Any) -> str:
    """Check the name of something in a directory."""
    if text(value) in _NO_NAMES or "/" in value:
        raise ValueError(value)
    return str(value)


def content_path(value: Any) -> str:
    """Check a path within the tree, in whatever characters; what is below ``.dsg`` is no content."""
    os.fsencode(text(value))  # not every text can be a name
    components = str(value).split("/")
    if any(one in _NO_NAMES for one in components) or components[0] == METADATA:
        raise ValueError(value)
    return str(value)


def changed_path(value: Any) -> str:
    """Check a path that a transaction changes: content, or the record of what it renamed."""
    return str(value) if _NAMES_RECORD.fullmatch(text(value)) else content_path(value)
