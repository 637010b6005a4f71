# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shapes that answers of a host have: what has another one is believed in nothing.

A shape is a type; a tuple of shapes, one of which it is; ``[shape]``, a list of any length; a
:class:`Row`; or a dictionary of shapes with exactly those keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..manifest.header import is_integer


class Row:
    """A list with one value for each of these shapes."""

    def __init__(self, *shapes: Any) -> None:
        self.shapes = shapes


def fits(value: Any, shape: Any) -> bool:
    """Tell whether a value that JSON gave has a shape; true and false are no integers."""
    if isinstance(shape, tuple):
        return any(fits(value, one) for one in shape)
    if isinstance(shape, Row):
        return _is_row(value, shape.shapes)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(one, shape[0]) for one in value)
    if isinstance(shape, dict):
        is_one = isinstance(value, dict) and value.keys() == shape.keys()
        return is_one and all(fits(value[key], one) for key, one in shape.items())
    return is_integer(value) if shape is int else isinstance(value, shape)


def _is_row(value: Any, shapes: Sequence[Any]) -> bool:
    return isinstance(value, list) and len(value) == len(shapes) and all(map(fits, value, shapes))


_NONE = type(None)
_NAME = (str, int, _NONE)
_NUMBER = (int, _NONE)

ERROR = {
    "code": str,
    "host": str,
    "object": (str, _NONE),
    "message": str,
    "unchanged": str,
    "next_step": str,
    "details": [str],
}
"""An error of ours as plain data."""

_FAILURES = {
    "dsg": Row(str, str, ERROR),
    "os": Row(str, _NUMBER, (str, _NONE), Row(_NAME, _NAME)),
    "other": Row(str, str),
}

HELD = Row(str, str, str, int)
"""The fields of :class:`..backends.base.Held`."""

_HOLDER = {
    **dict.fromkeys(("kind", "command", "user", "place", "tag", "text"), str),
    "pid": int,
}
_SPACE = {
    **dict.fromkeys(("free", "size"), int),
    **dict.fromkeys(("used", "history", "quota"), _NUMBER),
    **dict.fromkeys(("quota_of", "pool", "health"), str),
}
_CLEANUP = {
    **dict.fromkeys(("object", "txn_id", "what", "next_step"), str),
    "holders": [_HOLDER],
}
_PARTS: dict[str, Any] = {
    "snapshots": [int],
    "unfinished": [str],
    "open": [str],
    "running": [_HOLDER],
    "cleanups": [_CLEANUP],
    "users": [{"snapshot": int, **_HOLDER}],
    "space": _SPACE,
    "history": _SPACE,
    "rights": [dict.fromkeys(("message", "object", "next_step"), str)],
    "drift": [str],
}
"""What :mod:`..upkeep.standing` makes of the types in :mod:`..backends.standing`."""


def is_failure(value: Any) -> bool:
    """Tell whether it is what :mod:`..error_codec` makes of an error."""
    return any(fits(value, one) and value[0] == kind for kind, one in _FAILURES.items())


def of_answer(job: str, arguments: Mapping[str, Any]) -> Any:
    """Return the shape of the answer to a job (see :mod:`..upkeep.jobs`)."""
    if job != "standing":
        return (dict, list)
    return {part: ({"found": _PARTS[part]}, {"error": ERROR}) for part in arguments["parts"]}
