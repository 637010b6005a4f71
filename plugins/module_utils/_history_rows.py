# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history as rows of a table.

Private to the collection: it may change at any time. Pure functions over the core's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ._report import shown_path

Row = dict[str, str]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SHORT = 12  # hex digits of a hash that a person compares


def log_rows(repository: str, steps: Iterable[dict[str, Any]], paths_limit: int) -> list[Row]:
    """Return a row for each publication, and below it one for each path that it lists."""
    rows: list[Row] = []
    for step in steps:
        rows.append(
            {
                "repository": repository,
                "snapshot": f"s{step['snapshot']}",
                "published": step["created_at"],
                "by": step["created_by"],
                "changes": f"+{step['added']} ~{step['changed']} -{step['deleted']}",
                "written": size_text(step["written_bytes"]),
                "kept": "yes" if step["kept"] else "no",
                "message": step["message"],
            }
        )
        paths = step.get("paths", ())
        rows += [_path_row(change) for change in paths[:paths_limit]]
        if len(paths) > paths_limit:
            rows.append({"message": f"... and {len(paths) - paths_limit} more"})
    return rows


def _path_row(change: dict[str, Any]) -> Row:
    deleted = change["change"] == "deleted"
    return {
        "by": change["user"],
        "changes": change["change"],
        "written": "" if deleted else size_text(change["size"]),
        "message": shown_path(change["path"]),
    }


def blame_rows(repository: str, paths: Iterable[dict[str, Any]]) -> list[Row]:
    """Return a row for each path."""
    return [
        {
            "repository": repository,
            "path": shown_path(one["path"]),
            "snapshot": f"s{one['snapshot']}",
            "published": one["created_at"],
            "user": one["user"],
            "change": one["change"],
            "message": one["message"],
        }
        for one in paths
    ]


def version_rows(repository: str, path: str, versions: Sequence[dict[str, Any]]) -> list[Row]:
    """Return a row for each version of a path."""
    return [
        {
            "repository": repository,
            "path": shown_path(path),
            "snapshots": _range(one["snapshot"], one["until"]),
            "published": one["created_at"],
            "user": one["user"],
            "change": one["change"],
            "size": size_text(one["size"]) if one["type"] == "file" else "",
            "mode": one["mode"],
            "sha256": one["sha256"][:_SHORT],
            "restore_from": f"s{one['restorable_from']}" if one["restorable_from"] else "",
            "message": one["message"],
        }
        for one in versions
    ]


def left_out(repository: str, limit: int, truncated: bool) -> list[Row]:
    """Return the row that says that the limit left something out, none where it did not."""
    if not truncated:
        return []
    message = f"... and more than these {limit}: a limit of 0 (dsg_limit=0) shows all"
    return [{"repository": repository, "message": message}]


def _range(first: int, last: int) -> str:
    return f"s{first}" if first == last else f"s{first}-s{last}"


def size_text(size: int) -> str:
    """Return a number of bytes with three digits and a binary unit."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {_UNITS[unit]}"
