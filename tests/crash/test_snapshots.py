# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults at every call of restoring and pruning: each snapshot is whole, or it is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from .calls import changing, looking
from .lab import Ended, Lab, inject, watch
from .snapshots import CASES
from .state import difference
from .sweep import Operation, Point, every_error, every_kill

Row = Callable[[Operation, str], None]
State = dict[str, Any]
_ALL_AS_BEFORE = ("No snapshot was removed.", "The published tree is unchanged.")


class SnapshotOperation(Operation):
    """A restoring or a pruning that is swept."""

    def prepare(self) -> None:
        """Learn the states before and after, and the calls between."""
        lab = self.lab
        self.old = self.sides(lab.do("snapshots_build", root=lab.root, keep=lab.keep))
        done = lab.do("snapshots_attempt", case=self.scenario, root=lab.root, keep=lab.keep)
        assert "result" in done, done
        self.new = self.sides(lab.do("look", root=lab.root))
        assert self.new != self.old
        traced = self.attempt(watch())
        assert traced.outcome is not None, "it was killed without a fault"
        assert "result" in traced.outcome, traced.outcome
        self.calls = changing(traced.calls)

    def attempt(self, options: list[str]) -> Ended:
        lab = self.lab
        return lab.trace(
            "snapshots_attempt", options, case=self.scenario, root=lab.root, keep=lab.keep
        )

    def side(self, seen: State) -> str:
        """Return old or new; of a pruning also between, where some snapshots are gone as a whole."""
        found = {side: seen[side] for side in ("client", "repository")}
        for name, wanted in (("old", self.old), ("new", self.new)):
            if found == wanted:
                return name
        return "between" if self.scenario == "prune" and self.is_between(found) else ""

    def is_between(self, found: State) -> bool:
        before, now, after = (_by_snapshot(sides) for sides in (self.old, found, self.new))
        whole = all(before.get(name) == tree for name, tree in now.items())
        return (
            whole
            and after.keys() <= now.keys()
            and _but_snapshots(found) == _but_snapshots(self.old)
        )

    def strike(self, points: Iterable[Point], *, kills: bool) -> None:
        """Strike at every point; collect what is wrong afterwards."""
        for point in points:
            ended = self.attempt(point.options)
            seen = self.lab.do("snapshots_aftermath", case=self.scenario, root=self.lab.root)
            self.tally["points"] += 1
            self.tally[self.side(seen["first_state"]) or "neither"] += 1
            found = self.killed(ended) if kills else self.told(ended, seen)
            self.failures += [f"{point.name}: {line}" for line in found + self.objections(seen)]

    def killed(self, ended: Ended) -> list[str]:
        """Judge how a run ended that was to be killed."""
        return [] if ended.signal == 9 else [f"was not killed: {ended.status} {ended.outcome}"]

    def told(self, ended: Ended, seen: State) -> list[str]:
        """Judge what was said of a fault: one of our errors, and nothing that is untrue."""
        outcome = ended.outcome or {}
        at_once = self.side(seen["at_once"])
        if "error" in outcome:
            if outcome["error"]["unchanged"] in _ALL_AS_BEFORE and at_once != "old":
                return [f"not unchanged, but the error says so: {outcome['error']}"]
            return []
        if "result" not in outcome:
            return [f"no error of ours: {ended.status} {outcome}"]
        if at_once == "new" or outcome["result"]["pending_cleanup"]:
            return []
        return [f"said it worked: {outcome}"]

    def objections(self, seen: State) -> list[str]:
        """Return what is wrong behind it: mixtures, leftovers, and a next run that does not arrive."""
        found = []
        live = seen["at_once"]["repository"]["live"]
        if live not in [state["repository"]["live"] for state in (self.old, self.new)]:
            found.append("the published tree was a mixture")
        if "result" not in seen["first"]:
            found.append(f"recovery failed: {seen['first']}")
        if seen["second"] != {"result": []} or seen["second_state"] != seen["first_state"]:
            found.append(f"the second recovery was not idle: {seen['second']}")
        if bool(seen["status"].get("result")) != bool(seen["first"].get("result")):
            found.append(f"announced {seen['status']}, recovery did {seen['first']}")
        if seen["first_state"]["left"]:
            found.append(f"left behind: {seen['first_state']['left']}")
        if not self.side(seen["first_state"]):
            lines = [difference(wanted, seen["first_state"]) for wanted in (self.old, self.new)]
            found.append(f"not one state: {min(lines, key=len)[:6]}")
        if "result" not in seen["next"] or self.side(seen["next_state"]) != "new":
            lines = [difference(self.new, seen["next_state"])]
            found.append(f"the next run did not arrive: {seen['next']} {lines[0][:6]}")
        if seen["next_state"]["left"] or seen["sound"] != {"result": True}:
            found.append(f"afterwards: {seen['next_state']['left']}, sound {seen['sound']}")
        return found


def _by_snapshot(sides: State) -> dict[str, dict[str, object]]:
    """Return name of the snapshot → path → what is there."""
    found: dict[str, dict[str, object]] = {}
    for path, seen in sides["repository"]["snapshots"].items():
        name, _unused, inside = path.partition("/")
        if name:
            found.setdefault(name, {})[inside] = seen
    return found


def _but_snapshots(sides: State) -> State:
    return {**sides, "repository": {**sides["repository"], "snapshots": {}}}


@pytest.mark.parametrize("case", CASES)
def test_kill_at_every_call(lab: Lab, row: Row, case: str) -> None:
    """A second recovery does nothing, nothing is left, and the next run arrives."""
    operation = SnapshotOperation(lab, case)
    operation.strike(every_kill(operation.calls), kills=True)
    row(operation, "SIGKILL")
    operation.check()
    ends = {"old", "new"} | ({"between"} if case == "prune" else set())
    assert operation.tally.keys() - {"points"} == ends


@pytest.mark.parametrize("case", CASES)
def test_the_next_run_recovers_by_itself(lab: Lab, row: Row, case: str) -> None:
    operation = SnapshotOperation(lab, case)
    for point in every_kill(operation.calls):
        operation.attempt(point.options)
        seen = lab.do("snapshots_rerun", case=case, root=lab.root)
        side = operation.side(seen["state"])
        operation.tally["points"] += 1
        operation.tally[side] += 1
        if "result" not in seen["outcome"] or side != "new" or seen["state"]["left"]:
            operation.failures.append(f"{point.name}: {seen['outcome']} {seen['state']['left']}")
    row(operation, "SIGKILL, then again")
    operation.check()


@pytest.mark.parametrize("errno_name", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("case", CASES)
def test_error_from_every_call(lab: Lab, row: Row, case: str, errno_name: str) -> None:
    """The user gets one of our errors, which says what is true."""
    operation = SnapshotOperation(lab, case)
    operation.strike(every_error(operation.calls, errno_name), kills=False)
    row(operation, errno_name)
    operation.check()


@pytest.mark.parametrize("case", CASES)
def test_error_from_every_look(lab: Lab, row: Row, case: str) -> None:
    """What cannot be read is an error: nothing is removed or replaced for it."""
    operation = SnapshotOperation(lab, case)
    calls = looking(operation.attempt(["-e", "trace=all"]).calls)
    points = (
        Point(call, f"EIO at {call}", ["-e", "trace=all", *inject(call, "error=EIO")])
        for call in calls
    )
    operation.strike(points, kills=False)
    row(operation, "EIO from looking")
    operation.check()
