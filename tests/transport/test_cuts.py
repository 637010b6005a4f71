# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection cut at every boundary of frames: both sides old or both new, and the next run works."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _core.errors import DsgError
from _core.sync.engine import run
from _core.sync.recovery import recover
from _core.sync.request import SyncRequest
from _core.sync.verify import verify_repository
from _core.transport.destination import Destination

from tests.crash import jobs, scenarios
from tests.crash.state import difference, state
from tests.integration.children import in_child
from tests.tools.sshd import Sshd, sshd
from tests.transport.cuts import Boundaries, cut_link, switch_off
from tests.transport.remote_site import destination_of

TOLD = ("DSG-CONNECTION", "DSG-CONNECT", "DSG-UNFINISHED")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server whose connections are cut."""
    with sshd(tmp_path_factory.mktemp("fragile")) as running:
        yield running


class Operation:
    """A scenario's run over ssh, repeated from the same state before; ``calm`` looks after it."""

    def __init__(self, place: Path, scenario: str, fragile: Sshd, calm: Destination) -> None:
        self.root, self.keep = str(place / "run"), str(place / "keep")
        self.scenario = scenario
        self.calm = calm
        self.torn = destination_of(fragile)
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        with _reached(calm):
            self.old = self.sides(jobs.build(scenario=scenario, root=self.root, keep=self.keep)())
        with Boundaries().watched() as counted:
            self.run(self.torn)
        self.boundaries = counted.count
        self.new = self.sides(state(self.root))

    def sides(self, seen: Any) -> dict[str, Any]:
        """Return both sides of a state in which nothing is left over."""
        assert seen["left"] == [], seen["left"]
        return {side: seen[side] for side in ("client", "repository")}

    def request(self, destination: Destination) -> SyncRequest:
        """Return the scenario's request."""
        asked = scenarios.SCENARIOS[self.scenario]
        made = scenarios.request(self.root, asked.operation, asked.policy)
        return made._replace(destination=destination, lock_timeout=30.0)

    def run(self, destination: Destination) -> None:
        """Do the scenario's run."""
        with scenarios.pinned(jobs.OURS):
            run(self.request(destination))

    def sweep(self, points: Iterable[int], attempt: Callable[[Operation, int], str]) -> None:
        """Do the run once for each point, which ``attempt`` lets go wrong; judge what comes of it."""
        for point in points:
            jobs.restore(root=self.root, keep=self.keep)()
            told = attempt(self, point)
            self.failures += [f"boundary {point}, {told}: {line}" for line in self.after(told)]
            self.tally["points"] += 1
        assert self.tally["points"] > 0
        assert not self.failures, "\n".join(self.failures)

    def after(self, told: str) -> list[str]:
        """Recover, look, and let the next run work; return what is wrong."""
        found = []
        asked = self.request(self.calm)
        arguments = (asked.src, asked.repository, asked.backend, 30.0, self.calm)
        recover(*arguments)
        seen: Any = state(self.root)
        both = {side: seen[side] for side in ("client", "repository")}
        end = "old" if both == self.old else "new" if both == self.new else "neither"
        self.tally[end] += 1
        if end == "neither":
            found += difference(self.old, both)[:3] + difference(self.new, both)[:3]
        if seen["left"]:
            found.append(f"left behind: {seen['left']}")
        if told not in (*TOLD, "", "interrupted", "ended"):
            found.append("this is not how it should be told")
        if told == "" and end != "new":
            found.append("the run did not fail, and did not arrive")
        self.run(self.calm)
        seen = state(self.root)
        if {side: seen[side] for side in ("client", "repository")} != self.new or seen["left"]:
            found.append("the next run did not arrive")
        if not verify_repository(asked.repository, asked.backend).sound:
            found.append("the repository is not sound")
        return found


@contextmanager
def _reached(destination: Destination) -> Iterator[None]:
    """Let the runs that make the state before go to the host as well."""
    real = scenarios.request

    def request(*arguments: Any) -> SyncRequest:
        return real(*arguments)._replace(destination=destination)

    scenarios.request = request
    try:
        yield
    finally:
        scenarios.request = real


def _broken(strike: Callable[[], None]) -> Callable[[Operation, int], str]:
    def attempt(operation: Operation, point: int) -> str:
        try:
            with Boundaries(point, strike).watched():
                operation.run(operation.torn)
        except DsgError as exc:
            assert exc.next_step
            return exc.code
        return ""

    return attempt


def _signalled(number: int) -> Callable[[Operation, int], str]:
    def attempt(operation: Operation, point: int) -> str:
        def work() -> str:
            try:
                with Boundaries(point, lambda: os.kill(os.getpid(), number)).watched():
                    operation.run(operation.torn)
            except KeyboardInterrupt:
                return "interrupted"
            except DsgError as exc:
                return exc.code
            return ""

        try:
            told: str = in_child(work)
        except Exception:
            return "ended"
        return told

    return attempt


FEW = 5
"""Every which boundary is enough where others stand for its neighbours; ``long`` takes them all."""


def _some(step: int) -> list[Any]:
    return [pytest.param(step, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)]


@pytest.mark.parametrize("step", _some(FEW))
@pytest.mark.parametrize("scenario", ["init", "clone"])
def test_a_link_that_is_cut(tmp_path, fragile, shared, scenario, step):
    operation = Operation(tmp_path, scenario, fragile, shared)
    operation.sweep(range(0, operation.boundaries, step), _broken(lambda: cut_link(fragile)))


@pytest.mark.parametrize("step", _some(2))
def test_a_link_that_is_cut_in_a_sync(tmp_path, fragile, shared, step):
    operation = Operation(tmp_path, "sync", fragile, shared)
    operation.sweep(range(0, operation.boundaries, step), _broken(lambda: cut_link(fragile)))
    assert operation.tally["old"] and operation.tally["new"]


@pytest.mark.parametrize("step", _some(FEW))
def test_a_host_that_goes_down(tmp_path, fragile, shared, step):
    operation = Operation(tmp_path, "sync", fragile, shared)
    operation.sweep(range(1, operation.boundaries, step), _broken(lambda: switch_off(fragile)))


@pytest.mark.parametrize("step", _some(FEW))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_client_that_is_stopped(tmp_path, fragile, shared, number, step):
    operation = Operation(tmp_path, "sync", fragile, shared)
    operation.sweep(range(2, operation.boundaries, step), _signalled(number))
