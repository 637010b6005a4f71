# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at every call of a fleet transaction: all hosts at the old state, or all at the new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .calls import changing
from .fleets import CASES, HOSTS
from .lab import Ended, Lab, watch
from .state import difference
from .sweep import Operation, Point, every_kill

Row = Callable[[Operation, str], None]
State = dict[str, Any]


class FleetOperation(Operation):
    """The steps of a fleet transaction, or the recovery of one, that are swept."""

    def prepare(self) -> None:
        """Learn the states before and after, and the calls between."""
        lab = self.lab
        self.old = self.sides(lab.do("fleet_build", root=lab.root, keep=lab.keep))
        done = lab.do("fleet_attempt", case="fleet commit", root=lab.root, keep=lab.keep)
        assert done["result"]["decision"] == "commit", done
        self.new = self.sides(lab.do("look_at_fleet", root=lab.root))
        traced = self.attempt(watch())
        assert traced.outcome is not None and "result" in traced.outcome, traced.outcome
        self.calls = changing(traced.calls)

    def sides(self, seen: State) -> State:
        assert seen["left"] == [], seen["left"]
        return {side: seen[side] for side in ("client", "repositories")}

    def attempt(self, options: list[str]) -> Ended:
        lab = self.lab
        return lab.trace("fleet_attempt", options, case=self.scenario, root=lab.root, keep=lab.keep)

    def side(self, seen: State) -> str:
        found = {side: seen[side] for side in ("client", "repositories")}
        return "old" if found == self.old else "new" if found == self.new else ""

    def strike(self, point: Point) -> None:
        """Kill one run; see what became of it."""
        ended = self.attempt(point.options)
        seen = self.lab.do("fleet_aftermath", root=self.lab.root)
        self.tally["points"] += 1
        self.tally[self.side(seen["first_state"]) or "neither"] += 1
        found = [] if ended.signal == 9 else [f"was not killed: {ended.status} {ended.outcome}"]
        self.failures += [f"{point.name}: {line}" for line in found + self.objections(seen)]

    def objections(self, seen: State) -> list[str]:
        """Return what is wrong: readers see old or new at once, and recovery leads to one of both."""
        found = [
            f"{host}: the published tree was a mixture when the process died"
            for host in HOSTS
            if seen["at_once"]["repositories"][host]["live"]
            not in [state["repositories"][host]["live"] for state in (self.old, self.new)]
        ]
        if "result" not in seen["first"]:
            found.append(f"recovery failed: {seen['first']}")
        if seen["second"] != {"result": []} or seen["second_state"] != seen["first_state"]:
            found.append(f"the second recovery was not idle: {seen['second']}")
        if bool(seen["status"].get("result")) != bool(seen["first"].get("result")):
            found.append(f"status announced {seen['status']}, recovery did {seen['first']}")
        if seen["first_state"]["left"]:
            found.append(f"left behind: {seen['first_state']['left']}")
        if not self.side(seen["first_state"]):
            lines = [difference(wanted, seen["first_state"]) for wanted in (self.old, self.new)]
            found.append(f"not one state: {min(lines, key=len)[:6]}")
        if "result" not in seen["next"] or self.side(seen["next_state"]) != "new":
            lines = [difference(self.new, seen["next_state"])]
            found.append(f"the next transaction did not arrive: {seen['next']} {lines[0][:6]}")
        if seen["next_state"]["left"] or seen["sound"] != {"result": [True] * len(HOSTS)}:
            found.append(f"afterwards: {seen['next_state']['left']}, sound {seen['sound']}")
        return found


@pytest.mark.parametrize(
    ("case", "ends"),
    [
        ("fleet commit", {"old", "new"}),
        ("fleet rollback", {"old"}),
        ("recover decided fleet", {"new"}),
        ("recover undecided fleet", {"old"}),
    ],
)
def test_kill_at_every_call(lab: Lab, row: Row, case: str, ends: set[str]) -> None:
    """A second recovery does nothing, nothing is left, and the next transaction works."""
    assert case in CASES
    operation = FleetOperation(lab, case)
    for point in every_kill(operation.calls):
        operation.strike(point)
    row(operation, "SIGKILL")
    operation.check()
    assert {end for end in ("old", "new") if operation.tally[end]} == ends


def test_the_next_sync_of_each_host_recovers_by_itself(lab: Lab, row: Row) -> None:
    """Nobody has to call recovery: ordinary syncs arrive from wherever the fleet died."""
    operation = FleetOperation(lab, "fleet commit")
    for point in every_kill(operation.calls):
        operation.attempt(point.options)
        seen = lab.do("fleet_rerun", root=lab.root)
        side = operation.side(seen["state"])
        operation.tally["points"] += 1
        operation.tally[side] += 1
        if "result" not in seen["outcome"] or side != "new" or seen["state"]["left"]:
            lines = difference(operation.new, seen["state"])[:3]
            operation.failures.append(
                f"{point.name}: {seen['outcome']} {seen['state']['left']} {lines}"
            )
    row(operation, "SIGKILL, then sync")
    operation.check()
