# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL before and after every call that changes something: the old state or the new one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .lab import Lab
from .scenarios import RECOVERIES, RUNS
from .sweep import Operation, difference, every_kill, killed

Row = Callable[[Operation, str], None]


@pytest.mark.parametrize(
    "scenario", [*RUNS, *(each for each in RECOVERIES if each != "recover exchanged")]
)
def test_kill_at_every_call(lab: Lab, row: Row, scenario: str) -> None:
    """Recovery leads to one of two states, and a second one does nothing."""
    operation = Operation(lab, scenario)
    operation.sweep(every_kill(operation.calls), killed)
    row(operation, "SIGKILL")
    operation.check()
    assert {end for end in ("old", "new") if operation.tally[end]} == set(operation.ends)


def test_the_next_run_recovers_by_itself(lab: Lab, row: Row) -> None:
    """Nobody has to call recovery: the next sync arrives from wherever the last one died."""
    operation = Operation(lab, "sync")
    for point in every_kill(operation.calls):
        operation.attempt(point.options)
        seen = lab.do("rerun", scenario="sync", root=lab.root)
        side = operation.side(seen["state"])
        operation.tally["points"] += 1
        operation.tally[side] += 1
        wrong = difference(operation.new, {key: seen["state"][key] for key in operation.new})
        wrong += seen["state"]["left"]
        if wrong or "result" not in seen["outcome"] or seen["sound"] != {"result": True}:
            operation.failures.append(f"{point.name}: {seen['outcome']} {wrong[:3]}")
    row(operation, "SIGKILL, then sync")
    operation.check()
