# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Laboratories for the crash tests, and the table of what the sweeps found.

These tests mount file systems and trace processes: they need root, and fail without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .lab import Lab
from .sweep import Operation

_ROOT = Path(__file__).resolve().parent.parent.parent
_TABLE = _ROOT / ".cache" / "crash-table.txt"
_HEAD = ("operation", "fault", "calls", "points", "old", "new", "failures")
_ROW, _NOTE = "crash-row", "crash-note"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Return a laboratory on a tmpfs: fast, and nothing is left of it."""
    made = Lab(tmp_path, [["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(tmp_path / "fs")]])
    yield made
    made.close()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[Operation, str], None]:
    """Return a function that puts what a sweep did into the table."""

    def put(operation: Operation, fault: str) -> None:
        tally = operation.tally
        figures = (len(operation.calls), tally["points"], tally["old"], tally["new"])
        texts = [operation.scenario, fault, *figures, len(operation.failures)]
        request.node.user_properties.append((_ROW, [str(text) for text in texts]))

    return put


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that puts a line of figures below the table."""

    def put(line: str) -> None:
        request.node.user_properties.append((_NOTE, line))

    return put


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and keep it."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
    ]
    found = [item for report in reports for item in report.user_properties]
    rows = [value for key, value in found if key == _ROW]
    lines = [value for key, value in found if key == _NOTE]
    if rows:
        lines = _aligned([_HEAD, *sorted(rows, key=lambda texts: (texts[1], texts[0]))]) + lines
    if not lines:
        return
    terminalreporter.section("crash sweeps")
    for line in lines:
        terminalreporter.write_line(line)
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
