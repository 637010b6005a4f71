# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the crash matrix: step, fault and outcome; a build artifact, and a page of the docs.

A run that makes only a part of it leaves the table of a whole run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "crash-table.md"
_ARTIFACT = "zfs-crash-table"
MATRIX = (
    *("test_every_point[init-kill]", "test_every_point[init-error]"),
    *("test_every_point[sync-kill]", "test_every_point[sync-error]"),
    *("test_every_point_of_the_service_user[init]", "test_every_point_of_the_service_user[sync]"),
    *("test_every_point_within_the_helper[init]", "test_every_point_within_the_helper[sync]"),
    *("test_every_recovery", "test_the_next_sync_recovers_by_itself"),
    *("test_what_others_do_meanwhile", "test_power_cuts"),
)
"""The tests whose rows make the whole table, in its order."""

_HEAD = ["operation", "step", "what happens there", "how the run ends", "published in the end"]
_FAULTS = {
    "killed before": "killed before",
    "killed behind": "killed behind",
    "fails": "fails",
    "done, but reported as failed": "reported as failed",
    "power cut before": "power cut before",
    "power cut behind": "power cut behind",
    "meanwhile": "meanwhile",
}

_Point = tuple[str, str, str, str]  # operation, step, fault, cell

INTRODUCTION = """# What a fault does to a transaction on OpenZFS

Written by `tests/zfs` (`make test-zfs`, which leaves it as `build/zfs-crash-table.md`; one line for each point in
`build/zfs-crash-table.txt`). A whole run that sees anything else than this page shows fails, and a part of one that
sees what this page does not show. The rows are the commands and mount calls of a run in their order, the columns what
happens there, the cells what is published once recovery has run twice: the `old` tree or the `new` one, bit for bit,
never anything else. In brackets is how the run itself ends where it is not killed.

Behind every point: nothing is left over (dataset, clone, snapshot, hold, mount, record), the manifest verifies, the
working copy is what its user made of it, and the next sync works. Where the tree is the old one, everything else is as
it was, too, down to GUIDs and the working copy's records.

Before a look at things is the same moment as behind it. From the commit record on a run does nothing but these calls:
before one of them is the same moment as behind the one above. `power cut` are pulled plugs of the host, once more in the
middle of the recovery behind the first. `Within the helper` are the calls of the program that does root's part for a
service user: it dies, and the run goes on to an end of its own. `Sync beside others` is what other programs do to the
pool or the repository at the same time.
"""

Row = list[str]


class Table:
    """Rows of the table by test: operation, step, fault, end of the run, published tree.

    ``part`` says which part of the whole it is, '' where it is all. ``stride``: the sweeps took every
    so manieth point.
    """

    def __init__(self, found: dict[str, list[Row]], stride: int = 1) -> None:
        strange = set(found) - set(MATRIX)
        assert not strange, f"{strange} are not in MATRIX ({__file__})"
        self.rows = [row for test in MATRIX for row in found.get(test, [])]
        self.part = _part([test for test in MATRIX if not found.get(test)], stride)

    def text(self) -> str:
        """Return the table as text, one line for every point."""
        lines = [_HEAD, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        shown = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)) for line in lines]
        shown.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in shown) + "\n"

    def page(self) -> str:
        """Return the table for readers: one line for each step, equal neighbours together."""
        parts = [INTRODUCTION]
        if self.part:
            parts.append(f"{self.part}\n")
        for operation in dict.fromkeys(row[0] for row in self.rows):
            parts.append(_section(operation, [row[1:] for row in self.rows if row[0] == operation]))
        return "\n".join(parts)

    def save(self, folder: Path) -> Path:
        """Write both where build artifacts are kept, a part under a name of its own; return the page."""
        folder.mkdir(exist_ok=True)
        name = f"{_ARTIFACT}-part" if self.part else _ARTIFACT
        (folder / f"{name}.txt").write_text(self.text(), encoding="utf-8")
        page = folder / f"{name}.md"
        page.write_text(self.page(), encoding="utf-8")
        return page


def _part(lacking: list[str], stride: int) -> str:
    told = [f"only one point in {stride} was tried"] if stride > 1 else []
    told += [f"nothing was told by {', '.join(lacking)}"] if lacking else []
    return f"Only a part: {'; '.join(told)}." if told else ""


def differences(published: str, made: str) -> list[str]:
    """Return in what a page that was published differs from one that was made; the order is free."""
    old, new = _points(published), _points(made)
    lines = [f"only in the docs: {', '.join(point)}" for point in sorted(old - new)]
    return lines + unknown(published, made)


def unknown(published: str, made: str) -> list[str]:
    """Return what the page that was made has beyond the published one; it may be a part."""
    beyond = _points(made) - _points(published)
    return [f"only in this run: {', '.join(point)}" for point in sorted(beyond)]


def _points(page: str) -> set[_Point]:
    found: set[_Point] = set()
    operation, faults = "", [""]
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            operation = line[3:]
        elif line.startswith("| step |"):
            faults = cells[1:]
        elif line.startswith("| `"):
            for step in cells[0].strip("`").split("`, `"):
                found |= {(operation, step, *at) for at in zip(faults, cells[1:]) if at[1]}
    return found


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
