# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGINT and SIGTERM in the middle of a sync, at every changing call."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .calls import Call
from .lab import Ended, Lab, inject, watch
from .sweep import Operation, Point, State, every_kill, killed

Row = Callable[[Operation, str], None]


def test_sigterm(lab: Lab, row: Row) -> None:
    """The process ends at once, as by SIGKILL at the same place: some places will do here."""
    operation = Operation(lab, "sync")
    operation.sweep(every_kill(operation.calls[::6], "SIGTERM"), killed)
    row(operation, "SIGTERM")
    operation.check()


def test_sigint(lab: Lab, row: Row) -> None:
    """Ctrl-C rolls everything back at once; behind the commit, recovery carries it forward."""
    operation = Operation(lab, "sync")
    operation.sweep(_every_interrupt(operation.calls), interrupted)
    row(operation, "SIGINT")
    operation.check()
    assert operation.tally["old"] and operation.tally["new"]


def _every_interrupt(calls: list[Call]) -> Iterator[Point]:
    for call in calls[:-1]:
        yield Point(call, f"SIGINT at {call}", watch(inject(call, "signal=SIGINT")))


def interrupted(operation: Operation, point: Point, ended: Ended, seen: State) -> list[str]:
    """Judge a run that was interrupted once: what was undone is undone without any recovery."""
    outcome = ended.outcome or {}
    unfinished = outcome.get("error", {}).get("code") == "DSG-UNFINISHED"
    if not (outcome.get("interrupted") or unfinished):
        return [f"neither interrupted nor unfinished: {ended.status} {outcome}"]
    if operation.side(seen["first_state"]) == "new":
        return []
    at_once = seen["at_once"]
    whole = operation.side(at_once) == "old" and not at_once["left"]
    return [] if whole and not unfinished else [f"not rolled back: {at_once['left']} {outcome}"]
