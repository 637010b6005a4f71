# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the crash matrix: step, fault and outcome; a build artifact, and a page of the docs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
ARTIFACT = _ROOT / "build" / "zfs-crash-table.txt"
PAGE = _ROOT / "build" / "zfs-crash-table.md"
_HEAD = ["operation", "step", "what happens there", "how the run ends", "published in the end"]
_FAULTS = {
    "killed before": "killed before",
    "killed behind": "killed behind",
    "fails": "fails",
    "done, but reported as failed": "reported as failed",
    "power cut before": "power cut before",
    "power cut behind": "power cut behind",
}

_INTRODUCTION = """# What a fault does to a transaction on OpenZFS

Written by `tests/zfs` (`make test-zfs`, which leaves it as `build/zfs-crash-table.md`; one line for each point in
`build/zfs-crash-table.txt`). The rows are the commands and mount calls of a run in their order, the columns what happens
there, the cells what is published once recovery has run twice: the `old` tree or the `new` one, bit for bit, never
anything else. In brackets is how the run itself ends where it is not killed.

Behind every point: nothing is left over (dataset, clone, snapshot, hold, mount, record), the manifest verifies, the
working copy is what its user made of it, and the next sync works. Where the tree is the old one, everything else is as
it was, too, down to GUIDs and the working copy's records.

Before a look at things is the same moment as behind it. From the commit record on a run does nothing but these calls:
before one of them is the same moment as behind the one above. `power cut` are pulled plugs of the host, once more in the
middle of the recovery behind the first.
"""

Row = list[str]


class Table:
    """Rows of the table, as they come: operation, step, fault, end of the run, published tree."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def text(self) -> str:
        """Return the table as text, one line for every point."""
        lines = [_HEAD, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        shown = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)) for line in lines]
        shown.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in shown) + "\n"

    def page(self) -> str:
        """Return the table for readers: one line for each step, equal neighbours together."""
        parts = [_INTRODUCTION]
        for operation in dict.fromkeys(row[0] for row in self.rows):
            parts.append(_section(operation, [row[1:] for row in self.rows if row[0] == operation]))
        return "\n".join(parts)

    def save(self) -> None:
        """Write both where build artifacts are kept."""
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(self.text(), encoding="utf-8")
        PAGE.write_text(self.page(), encoding="utf-8")


def _section(operation: str, rows: list[Row]) -> str:
    met: dict[tuple[str, str], int] = {}
    cells: dict[tuple[str, int], dict[str, str]] = {}
    for step, fault, end, side in rows:
        number = met.get((step, fault), 0)
        met[step, fault] = number + 1
        cells.setdefault((step, number), {})[fault] = _cell(end, side)
    faults = [fault for fault in _FAULTS if any(fault in found for found in cells.values())]
    lines = [["step", *(_FAULTS[fault] for fault in faults)], ["---"] * (len(faults) + 1)]
    lines += _grouped(
        [(step, [found.get(f, "") for f in faults]) for (step, _n), found in cells.items()]
    )
    shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {operation[0].upper()}{operation[1:]}\n\n{shown}\n"


def _grouped(lines: list[tuple[str, list[str]]]) -> Iterator[list[str]]:
    for found, group in groupby(lines, key=lambda line: line[1]):
        steps = list(dict.fromkeys(f"`{step}`" for step, _unused in group))
        yield [", ".join(steps), *found]


def _cell(end: str, side: str) -> str:
    if end == "killed" or end.startswith("shows"):
        return side
    return f"{side} ({end})"
