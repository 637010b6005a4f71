# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults upon faults: a rollback that fails or dies, and a disk that stays broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from .calls import Call, changing
from .lab import Ended, Lab, inject, watch
from .sweep import Operation, Point, State

Row = Callable[[Operation, str], None]


def erred(operation: Operation, point: Point, ended: Ended, seen: State) -> list[str]:
    """Judge a run that failed twice: one of our errors, or death where death was injected.

    A run whose cleanup alone failed has worked, and tells what is left to do.
    """
    outcome = ended.outcome or {}
    if ended.signal == 9 and "SIGKILL" in point.name:
        return []
    if "result" in outcome and operation.side(seen["first_state"]) == "new":
        left = [name for name in seen["at_once"]["left"] if "index" not in name]
        told = outcome["result"]["pending_cleanup"]
        return [] if len(left) <= len(told) else [f"left {left}, told {told}"]
    return [] if "error" in outcome else [f"no error of ours: {ended.status} {outcome}"]


@pytest.mark.parametrize("fault", ["error=EIO", "signal=SIGKILL"])
def test_second_fault_in_the_rollback(lab: Lab, row: Row, fault: str) -> None:
    """The commit fails, everything staged is rolled back, and that fails or dies at every call."""
    operation = Operation(lab, "sync")
    commit = next(call for call in operation.calls if "RENAME_EXCHANGE" in call.text)
    first = inject(commit, "error=EIO")
    rolling_back = _behind(changing(operation.attempt(watch(first)).calls), commit)
    assert len(rolling_back) > 20, "the rollback has next to nothing to do here"
    points = (
        Point(call, f"EIO at the commit, then {fault} at {call}", watch(first, *_also(call, fault)))
        for call in rolling_back[:-1]
        if call.name != commit.name
    )
    operation.sweep(points, erred)
    row(operation, f"EIO, then {fault.partition('=')[2]}")
    operation.check()
    assert operation.tally["new"] == 0


def test_disk_that_stays_broken(lab: Lab, row: Row) -> None:
    """From some call on every changing call fails; once the disk is well, recovery is enough."""
    operation = Operation(lab, "sync")
    operation.sweep(_broken_from(operation.calls), erred)
    row(operation, "EIO from there on")
    operation.check()


def _behind(calls: list[Call], last: Call) -> list[Call]:
    names = [(call.name, call.nth) for call in calls]
    return calls[names.index((last.name, last.nth)) + 1 :]


def _also(call: Call, fault: str) -> list[list[str]]:
    return [inject(call, fault)]


def _broken_from(calls: list[Call]) -> Iterator[Point]:
    """Return a point for each call: it fails, and so does every changing call behind it."""
    total = Counter(call.name for call in calls)
    past: Counter[str] = Counter()
    for call in calls[:-1]:
        if call.name in ("openat", "write"):
            continue  # opening to read must go on working, and the child's answer is a write
        faults = [
            inject(call._replace(name=name, nth=past[name] + 1), "error=EIO", onwards=True)
            for name in total
            if name not in ("openat", "write")
        ]
        past[call.name] = call.nth
        yield Point(call, f"EIO from {call} on", watch(*faults))
