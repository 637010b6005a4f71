# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults at every call of a fetch: what the user had is at the destination, or moved aside as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from .calls import changing, unknown
from .fetches import CASES
from .lab import Ended, Lab, watch
from .sweep import Operation, Point, every_error, every_kill

Row = Callable[[Operation, str], None]
State = dict[str, Any]
_UNCHANGED = "The repository and the destination are unchanged."
_PLACED = "The repository is unchanged. All of it is at dest"


class FetchOperation(Operation):
    """A fetch that is swept."""

    def prepare(self) -> None:
        """Learn the states before and after, and the calls between."""
        lab = self.lab
        self.old = lab.do("fetches_build", case=self.scenario, root=lab.root, keep=lab.keep)
        traced = self.attempt(watch())
        assert traced.outcome is not None and "result" in traced.outcome, traced.outcome
        self.new = lab.do("fetches_aftermath", root=lab.root)["at_once"]
        assert self.new["out"] != self.old["out"]
        assert not self.lost(self.new) and self.arrived(self.new), self.new
        self.calls = changing(traced.calls)
        assert not unknown(self.attempt(["-e", "trace=all"]).calls)

    def attempt(self, options: list[str]) -> Ended:
        lab = self.lab
        return lab.trace(
            "fetches_attempt", options, case=self.scenario, root=lab.root, keep=lab.keep
        )

    def side(self, seen: State) -> str:
        for name, state in (("old", self.old), ("new", self.new)):
            if seen["out"] == state["out"]:
                return name
        return ""

    def lost(self, seen: State) -> bool:
        """Tell whether what the user had is neither at the destination nor moved aside."""
        mine = self.old["out"]
        return bool(mine) and mine != seen["out"] and mine not in seen["aside"].values()

    def arrived(self, seen: State) -> bool:
        """Tell whether all is in place, and nothing is beside it but what the user had."""
        mine = [self.old["out"]] if self.old["out"] else []
        return (
            seen["out"] == self.new["out"]
            and list(seen["aside"].values()) == mine
            and seen["left"] == []
        )

    def strike(self, points: Iterable[Point], judge: Callable[[Ended, State], list[str]]) -> None:
        """Strike at every point; collect what is wrong afterwards."""
        for point in points:
            ended = self.attempt(point.options)
            seen = self.lab.do("fetches_aftermath", root=self.lab.root)
            self.tally["points"] += 1
            self.tally[self.side(seen["at_once"]) or "neither"] += 1
            found = judge(ended, seen["at_once"]) + self.objections(seen)
            self.failures += [f"{point.name}: {line}" for line in found]

    def objections(self, seen: State) -> list[str]:
        """Return what is wrong behind it: something lost, a mixture, a next run that fails."""
        found = []
        for when in ("at_once", "then"):
            if self.lost(seen[when]):
                found.append(f"what the user had is lost ({when}): {seen[when]}")
            if seen[when]["base"] != self.old["base"]:
                found.append(f"the repository changed ({when})")
        if not self.side(seen["at_once"]):
            found.append(f"the destination is a mixture: {seen['at_once']['out']}")
        if "result" not in seen["next"] or not self.arrived(seen["then"]):
            found.append(f"the next fetch did not arrive: {seen['next']} {seen['then']}")
        return found

    def told(self, ended: Ended, at_once: State) -> list[str]:
        """Judge what was said of a fault: one of our errors, and nothing that is untrue."""
        outcome = ended.outcome or {}
        if "result" in outcome:
            told = outcome["result"]["backup"]
            right = self.side(at_once) == "new"
            right = right and (not told or at_once["aside"].get(told) == self.old["out"])
            return [] if right else [f"said it worked: {outcome}"]
        if "error" not in outcome:
            return [f"no error of ours: {ended.status} {outcome}"]
        said = outcome["error"]["unchanged"]
        if said.startswith(_PLACED):
            names = all(path in said for path in at_once["aside"])
            return [] if self.side(at_once) == "new" and names else [f"not true: {outcome}"]
        before = "new" if self.scenario.endswith("behind") else "old"
        right = said == _UNCHANGED and self.side(at_once) == before
        return [] if right else [f"not unchanged, but the error says so: {outcome}"]


def _killed(ended: Ended, _at_once: State) -> list[str]:
    return [] if ended.signal == 9 else [f"was not killed: {ended.status} {ended.outcome}"]


def _interrupted(ended: Ended, _at_once: State) -> list[str]:
    return [] if (ended.outcome or {}).get("interrupted") else [f"went on: {ended.outcome}"]


@pytest.mark.parametrize("case", CASES)
def test_kill_at_every_call(lab: Lab, row: Row, case: str) -> None:
    """The next fetch arrives, and takes nothing for its own that is not."""
    operation = FetchOperation(lab, case)
    operation.strike(every_kill(operation.calls), _killed)
    row(operation, "SIGKILL")
    operation.check()


@pytest.mark.parametrize("case", CASES)
def test_interruption_at_every_call(lab: Lab, row: Row, case: str) -> None:
    operation = FetchOperation(lab, case)
    operation.strike(every_kill(operation.calls[:-1], "SIGINT"), _interrupted)
    row(operation, "SIGINT")
    operation.check()


@pytest.mark.parametrize("errno_name", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("case", CASES)
def test_error_from_every_call(lab: Lab, row: Row, case: str, errno_name: str) -> None:
    """The user gets one of our errors, which says what is true."""
    operation = FetchOperation(lab, case)
    operation.strike(every_error(operation.calls, errno_name), operation.told)
    row(operation, errno_name)
    operation.check()
