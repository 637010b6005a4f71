# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the crash matrix: step, fault and outcome, kept as a build artifact."""

from __future__ import annotations

from pathlib import Path

ARTIFACT = Path(__file__).resolve().parents[2] / "build" / "zfs-crash-table.txt"
_HEAD = ["operation", "step", "what happens there", "how the run ends", "published in the end"]

Row = list[str]


class Table:
    """Rows of the table, as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def text(self) -> str:
        """Return the table as text."""
        lines = [_HEAD, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        shown = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)) for line in lines]
        shown.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in shown) + "\n"

    def save(self) -> None:
        """Write it where build artifacts are kept."""
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(self.text(), encoding="utf-8")
