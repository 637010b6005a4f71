# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One operation, stopped or failed at every changing call in turn, and what must hold afterwards.

A process that is killed *after* a changing call and before the next one leaves on disk exactly what
one leaves that is killed on entering the next. So "before and after every call" is: killed on entry
of every changing call, and once more on the way out, when the child writes its answer into a pipe.
That no other call changes anything is checked in test_completeness.py.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from _core.errors import UNCHANGED

from .calls import Call, changing
from .lab import Ended, Lab, inject, watch
from .scenarios import SCENARIOS
from .state import difference

State = dict[str, Any]
_SHOWN = 6
_REMOVALS = ("unlink", "unlinkat", "rmdir")


class Point(NamedTuple):
    """One run of a sweep: the call where the fault strikes, its name for people, strace's options."""

    call: Call
    name: str
    options: list[str]


Judge = Callable[["Operation", Point, Ended, State], list[str]]


class Operation:
    """A scenario's run that is swept: its states before and after, and its changing calls."""

    def __init__(self, lab: Lab, scenario: str) -> None:
        self.lab, self.scenario = lab, scenario
        self.ends: tuple[str, ...] = ()
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        self.calls: list[Call] = []
        self.old: State = {}
        self.new: State = {}
        self.prepare()

    def prepare(self) -> None:
        """Learn the states before and after, and the calls between."""
        lab, scenario = self.lab, self.scenario
        self.ends = SCENARIOS[scenario].ends
        self.old = self.sides(lab.do("build", scenario=scenario, root=lab.root, keep=lab.keep))
        done = lab.do("whole", scenario=scenario, root=lab.root)
        assert "result" in done, done
        self.new = self.sides(lab.do("look", root=lab.root))
        traced = self.attempt(watch())
        assert traced.outcome is not None and "result" in traced.outcome, traced.outcome
        self.calls = changing(traced.calls)

    def sides(self, seen: State) -> State:
        """Return both sides of a state in which nothing is left over."""
        assert seen["left"] == [], seen["left"]
        return {side: seen[side] for side in ("client", "repository")}

    def attempt(self, options: list[str]) -> Ended:
        """Do the run from the state before, under strace."""
        lab = self.lab
        return lab.trace("attempt", options, scenario=self.scenario, root=lab.root, keep=lab.keep)

    def aftermath(self) -> State:
        """Recover twice, sync again; return everything seen on the way."""
        seen: State = self.lab.do("aftermath", scenario=self.scenario, root=self.lab.root)
        return seen

    def side(self, seen: State) -> str:
        """Return ``old`` or ``new`` if both sides are in that state bit for bit, else ''."""
        found = {side: seen[side] for side in ("client", "repository")}
        return "old" if found == self.old else "new" if found == self.new else ""

    def sweep(
        self,
        points: Iterable[Point],
        judge: Judge,
    ) -> None:
        """Do the run once for each point; collect what the judge objects to."""
        for point in points:
            ended = self.attempt(point.options)
            seen = self.aftermath()
            self.tally["points"] += 1
            self.tally[self.side(seen["first_state"]) or "neither"] += 1
            found = judge(self, point, ended, seen) + settled(self, seen)
            self.failures += [f"{point.name}: {line}" for line in found]

    def check(self) -> None:
        """Fail with every point that failed."""
        assert self.tally["points"] > 0
        assert not self.failures, "\n".join(
            [f"{len(self.failures)} findings at {self.tally['points']} points:", *self.failures]
        )


def settled(operation: Operation, seen: State) -> list[str]:
    """Return what is wrong after recovery: one of two states, twice the same, and usable."""
    found = []
    if seen["second"] != {"result": []} or seen["second_state"] != seen["first_state"]:
        found.append(f"the second recovery was not idle: {seen['second']}")
    if "result" not in seen["first"]:
        found.append(f"recovery failed: {seen['first']}")
    elif "result" not in seen["status"] or bool(seen["status"]["result"]) != bool(
        seen["first"]["result"]
    ):
        found.append(f"status announced {seen['status']}, recovery did {seen['first']}")
    if seen["first_state"]["left"]:
        found.append(f"left behind: {seen['first_state']['left']}")
    if operation.side(seen["first_state"]) not in operation.ends:
        found += [f"not {operation.ends}: {line}" for line in nearest(operation, seen)]
    if not seen["index"]:
        found.append("the index gives other results than a full scan")
    if "result" not in seen["next"] or operation.side(seen["next_state"]) != "new":
        lines = difference(operation.new, seen["next_state"])[:_SHOWN]
        found.append(f"the next run did not arrive: {seen['next']} {lines}")
    if seen["in_sync"] != {"result": True} or seen["sound"] != {"result": True}:
        found.append(f"afterwards: in sync {seen['in_sync']}, sound {seen['sound']}")
    return found


def nearest(operation: Operation, seen: State) -> list[str]:
    """Return the differences from the state that is nearer."""
    state = {side: seen["first_state"][side] for side in ("client", "repository")}
    both = [difference(wanted, state) for wanted in (operation.old, operation.new)]
    return min(both, key=len)[:_SHOWN]


def killed(operation: Operation, point: Point, ended: Ended, seen: State) -> list[str]:
    """Judge a run that was killed: readers see the old tree or the new one all the time."""
    found = []
    if ended.signal not in (signal.SIGKILL, signal.SIGTERM):
        found.append(f"was not killed: {ended.status} {ended.outcome}")
    live = seen["at_once"]["repository"]["live"]
    if live not in (operation.old["repository"]["live"], operation.new["repository"]["live"]):
        found.append("the published tree was a mixture when the process died")
    return found


def failed(operation: Operation, point: Point, ended: Ended, seen: State) -> list[str]:
    """Judge a run in which one call failed.

    Either nothing happened, at once and without any recovery; or it is committed, and says so.
    """
    outcome = ended.outcome or {}
    at_once = operation.side(seen["at_once"])
    after = operation.side(seen["first_state"])
    if SCENARIOS[operation.scenario].crash:
        return _failed_recovery(operation, outcome, seen)
    if "error" in outcome:
        error = outcome["error"]
        if os.strerror(getattr(errno, point.name.partition(" ")[0])) not in str(error):
            return [f"does not name the cause: {error}"]
        if error["code"] == "DSG-UNFINISHED":
            found = [] if after == "new" else [f"recovery did not carry it forward: {error}"]
            if point.call.name in _REMOVALS and _only_tidying(operation, seen):
                found.append("a failed cleanup made a committed run fail")
            return found
        found = []
        if at_once != "old":
            found.append(f"not unchanged, but the error says so: {error}")
        if seen["at_once"]["left"] and point.call.name not in _REMOVALS:
            found.append(f"the rollback left {seen['at_once']['left']}: {error}")
        return found
    if "result" in outcome:
        waits = outcome["result"]["pending_cleanup"] and after == "new"
        return [] if at_once == "new" or waits else [f"said it worked: {outcome}"]
    return [f"no error of ours: {ended.status} {outcome}"]


def _failed_recovery(operation: Operation, outcome: dict[str, Any], seen: State) -> list[str]:
    if "result" in outcome:
        done = operation.side(seen["at_once"]) in operation.ends and not seen["at_once"]["left"]
        return [] if done else [f"said it had recovered: {outcome}"]
    if "error" not in outcome:
        return [f"no error of ours: {outcome}"]
    untrue = outcome["error"]["unchanged"] == UNCHANGED and operation.side(seen["at_once"]) != "old"
    return [f"says that all is unchanged: {outcome}"] if untrue else []


def _only_tidying(operation: Operation, seen: State) -> bool:
    return operation.side(seen["at_once"]) == "new" and not any(
        line.endswith("/journal") for line in seen["at_once"]["left"]
    )


def every_kill(calls: Iterable[Call], signal_name: str = "SIGKILL") -> Iterable[Point]:
    """Return a point for each call: killed on entering it."""
    for call in calls:
        yield Point(
            call, f"{signal_name} before {call}", watch(inject(call, f"signal={signal_name}"))
        )


def every_error(calls: list[Call], errno_name: str) -> Iterable[Point]:
    """Return a point for each call but the last, which only tells the test how it went."""
    for call in calls[:-1]:
        yield Point(call, f"{errno_name} at {call}", watch(inject(call, f"error={errno_name}")))
