# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A table of plain text, aligned as a terminal shows it.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from .._terminal import harmless

_GAP = "  "
_MORE = "…"


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    width: int = 0,
    flexible: Mapping[str, int] | None = None,
) -> list[str]:
    """Return a header line, a rule and one line for each row; ``columns`` is key to title.

    Where that is wider than ``width`` (0: as it comes), the columns in ``flexible`` are cut, the widest
    first, down to the number given there.
    """
    cells = [[str(title) for title in columns.values()]]
    cells += [[text(row.get(key)) for key in columns] for row in rows]
    widths = [max(map(columns_of, column)) for column in zip(*cells)]
    if width:
        _fit(widths, list(columns), width, flexible or {})
    cells.insert(1, ["-" * one for one in widths])
    return [_line(row, widths) for row in cells]


def _fit(widths: list[int], names: Sequence[str], width: int, flexible: Mapping[str, int]) -> None:
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        loose = [n for n, name in enumerate(names) if widths[n] > flexible.get(name, widths[n])]
        if not loose:
            return
        widths[max(loose, key=lambda number: widths[number])] -= 1


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    cut = [_cut(cell, width) for cell, width in zip(cells, widths)]
    padded = [cell + " " * (width - columns_of(cell)) for cell, width in zip(cut, widths)]
    return _GAP.join(padded).rstrip()


def _cut(cell: str, width: int) -> str:
    if columns_of(cell) <= width:
        return cell
    while cell and columns_of(cell) >= width:
        cell = cell[:-1]
    return cell + _MORE


def text(value: Any) -> str:
    """Return a cell's text on one line; what is unknown is a dash, truth is yes or no."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or "-"
    return harmless(" ".join(str(value).split()))


def columns_of(said: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in said
    )
