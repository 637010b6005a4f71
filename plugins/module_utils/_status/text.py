# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet for a terminal: a table, and below it every problem with its next step.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from .._terminal import harmless
from .fleet import DIFFERS, IN_SYNC, Fleet, Row
from .text_table import columns_of, table

WIDTH = 120
_COLUMNS = {
    "host": "HOST",
    "repository": "REPOSITORY",
    "snapshot": "SNAPSHOT",
    "published": "PUBLISHED (UTC)",
    "by": "BY",
    "state": "STATE",
    "drift": "DRIFT",
    "waiting": "WAITING",
    "history": "HISTORY",
    "free": "FREE",
}
_FLEXIBLE = {"host": 18, "repository": 12, "by": 8, "state": 16}
_MESSAGE, _DIGEST = {"message": "MESSAGE"}, {"digest": "DIGEST"}
_WHERE_IT_FITS: tuple[dict[str, str], ...] = ({**_DIGEST, **_MESSAGE}, _MESSAGE, _DIGEST)
"""Columns that come last, the first of these that the others leave room for."""
_MESSAGE_WIDTH = {"message": 12}
_DIGITS = 8
_ALWAYS = ("host", "repository", "snapshot", "published", "by", "state")


def table_lines(fleet: Fleet) -> list[str]:
    """Return the table; columns that nobody has anything for are left out."""
    rows = [_row(row) for row in fleet.rows]
    columns = {
        key: title
        for key, title in _COLUMNS.items()
        if key in _ALWAYS or any(row.get(key) for row in rows)
    }
    for more in _WHERE_IT_FITS:
        told = {key: title for key, title in more.items() if any(row.get(key) for row in rows)}
        lines = table(rows, {**columns, **told}, WIDTH, _MESSAGE_WIDTH)
        if told and max(map(columns_of, lines)) <= WIDTH:
            return lines
    return table(rows, columns, WIDTH, _FLEXIBLE)


def _row(row: Row) -> dict[str, str]:
    summary = row.summary
    published = summary.get("published", "")
    return {
        **summary,
        "host": row.host,
        "repository": row.repository,
        "published": published[:16].replace("T", " "),
        "by": _short(summary.get("by", "")),
        "digest": summary.get("digest", "")[:_DIGITS],
        "state": _state(row),
        "waiting": row.waiting,
    }


def _short(by: str) -> str:
    """Return ``ann@desk`` of ``ann@desk.example.org``."""
    user, at, host = by.partition("@")
    return f"{user}{at}{host.partition('.')[0]}"


def _state(row: Row) -> str:
    if row.state == DIFFERS:
        return row.summary.get("differences", "") or DIFFERS
    if row.state == IN_SYNC or row.looked_at:
        return row.state
    code = (row.result.get("error") or {}).get("code", "")
    return f"{row.state} ({code})" if code else row.state


def problem_lines(one: Mapping[str, Any]) -> list[str]:
    """Return what is printed of a problem: who is in the way, and what to do next."""
    where = "/".join(name for name in (one["host"], one["repository"]) if name)
    code = f" [{one['code']}]" if one.get("code") else ""
    subject = f" {one['object']}:" if one["object"] and one["object"] not in one["message"] else ""
    said = f"{one['severity']}: {where}:{code}{subject} {one['message']}"
    lines = _wrapped(said, "", "    ")
    for detail in one["details"]:
        lines += _wrapped(str(detail), "    - ", "      ")
    return lines + (_wrapped(one["next_step"], "    > ", "      ") if one["next_step"] else [])


def _wrapped(said: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        harmless(" ".join(said.split())),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def sentence(fleet: Fleet) -> str:
    """Return the totals in words, with the time."""
    return f"{fleet.taken.replace('T', ' ').rstrip('Z')} UTC: {fleet.sentence()}."
