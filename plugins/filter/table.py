# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that turns rows into lines of a table; documented in table.yml."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

_GAP = "  "


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Return a header line, a rule and one line for each row."""
    if isinstance(rows, (str, Mapping)) or not all(isinstance(row, Mapping) for row in rows):
        raise AnsibleFilterError("dsg.storage.table: the input must be a list of dictionaries")
    if not isinstance(columns, Mapping) or not columns:
        raise AnsibleFilterError("dsg.storage.table: columns must be a dictionary, key to title")
    cells = [[str(title) for title in columns.values()]]
    cells += [[_text(row.get(key)) for key in columns] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells)]
    cells.insert(1, ["-" * width for width in widths])
    return [_line(row, widths) for row in cells]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths)]
    return _GAP.join(padded).rstrip()


def _text(value: Any) -> str:
    """Return a cell's text on one line; what is unknown is a dash, truth is yes or no."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "-"
    return " ".join(str(value).split())


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"table": table}
