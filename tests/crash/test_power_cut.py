# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Power cuts: working copy and repositories on XFS images, taken as they are on disk.

The run is stopped behind every changing call, and the images behind the mounted file systems are
copied without writing anything out: what was not made durable by then is lost in the copies. They are
mounted where the run was, and must come up as the old state or the new one.

A disk of a machine that keeps its power has everything: it is written out before its picture is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .calls import CHANGING, Call, changing
from .fleets import HOSTS
from .lab import Lab, Traced, watch
from .sweep import Operation, State, settled
from .test_fleet import FleetOperation

Row = Callable[[Operation, str], None]

_SIZE = "320M"
_FLEET = ("wc", *HOSTS)


def _commands(place: Path, disks: Sequence[str]) -> list[list[str]]:
    """Return the commands that mount an XFS image for each disk, all on a tmpfs."""
    fs = place / "fs"
    commands = [
        ["mount", "-t", "tmpfs", "-o", "size=1g", "none", str(fs)],
        ["mkdir", "-p", str(fs / "shots")],
    ]
    for name in disks:
        fresh, image = str(fs / f"{name}.fresh"), str(fs / f"{name}.img")
        commands += [
            ["truncate", "--size", _SIZE, fresh],
            ["mkfs.xfs", "-q", fresh],
            ["cp", "--sparse=always", fresh, image],
            ["rm", fresh],
            ["mkdir", "-p", str(fs / "run" / name)],
            ["mount", "-o", "loop", image, str(fs / "run" / name)],
        ]
    return commands


@contextmanager
def _machine(place: Path, disks: Sequence[str]) -> Iterator[Lab]:
    """Give a laboratory with disks that can be cut off from power."""
    made = Lab(place, _commands(place, disks))
    try:
        yield made
    finally:
        made.close()


class PowerCut(Operation):
    """One run that is stopped behind every changing call to take pictures of its disks."""

    disks: tuple[str, ...] = ("wc", "base")

    def __init__(self, lab: Lab, scenario: str, flush: Sequence[str]) -> None:
        self.flush = [f"{lab.root}/{name}" for name in flush]
        self.shots: dict[tuple[int, ...], Call] = {}
        super().__init__(lab, scenario)

    def prepare(self) -> None:
        """Do the run, and take the pictures."""
        lab = self.lab
        self.old = self.sides(self.build())
        stop = f"inject={','.join(f'?{name}' for name in CHANGING)}:signal=SIGSTOP"
        traced = self.begin(watch(["-e", stop]))
        while (ended := lab.go(traced)) is None:
            last = lab.calls()[-1]
            if changing([last]):
                self.calls.append(last)
                self._shoot(last)
        assert ended.outcome is not None and "result" in ended.outcome, ended.outcome
        self.new = self.sides(self.look())

    def build(self) -> State:
        """Make the state before on the disks."""
        lab = self.lab
        found: State = lab.do("build_here", scenario=self.scenario, root=lab.root)
        return found

    def begin(self, options: list[str]) -> Traced:
        """Return the run, about to start."""
        return self.lab.start("attempt", options, scenario=self.scenario, root=self.lab.root)

    def look(self) -> State:
        """Return the state of all disks as whoever is on the machines sees it."""
        found: State = self.lab.do("look", root=self.lab.root)
        return found

    def come_up(self, images: dict[str, str]) -> State:
        """Return what is there behind a cut, and what recovery and the next run make of it."""
        seen: State = self.lab.do(
            "after_cut", scenario=self.scenario, root=self.lab.root, images=images
        )
        return seen

    def objections(self, seen: State) -> list[str]:
        """Return what is wrong behind the recovery."""
        return settled(self, seen)

    def _shoot(self, call: Call) -> None:
        counts = self.lab.do(
            "shoot",
            flush=self.flush,
            written=self._written(list(self.shots)[-1]) if self.shots else {},
            devices={self._image(name): self._device(name) for name in self.disks},
            into=str(self.lab.place / "fs" / "shots"),
        )
        self.shots.setdefault(tuple(counts[self._image(name)] for name in self.disks), call)

    def _image(self, name: str) -> str:
        return str(self.lab.place / "fs" / f"{name}.img")

    def _device(self, name: str) -> str:
        found: str = self.lab.do("device", place=f"{self.lab.root}/{name}")
        return found

    def _written(self, shot: tuple[int, ...]) -> dict[str, int]:
        return {self._image(name): count for name, count in zip(self.disks, shot)}

    def cut(self) -> None:
        """Come up from every picture in turn."""
        shots = self.lab.place / "fs" / "shots"
        for shot, call in self.shots.items():
            images = {
                f"{self.lab.root}/{name}": str(shots / f"{name}.img.{count}")
                for name, count in zip(self.disks, shot)
            }
            seen = self.come_up(images)
            self.tally["points"] += 1
            self.tally[self.side(seen["first_state"]) or "neither"] += 1
            self.failures += [f"cut after {call}: {line}" for line in self.objections(seen)]


class FleetPowerCut(PowerCut, FleetOperation):
    """The same of a fleet transaction: a disk for the control node, and one for each host."""

    disks = _FLEET

    def build(self) -> State:
        found: State = self.lab.do("fleet_build_here", root=self.lab.root)
        return found

    def begin(self, options: list[str]) -> Traced:
        return self.lab.start("fleet_attempt", options, case=self.scenario, root=self.lab.root)

    def look(self) -> State:
        found: State = self.lab.do("look_at_fleet", root=self.lab.root)
        return found

    def come_up(self, images: dict[str, str]) -> State:
        seen: State = self.lab.do("fleet_after_cut", root=self.lab.root, images=images)
        return seen

    def objections(self, seen: State) -> list[str]:
        return FleetOperation.objections(self, seen)


@pytest.mark.parametrize(
    ("scenario", "flush"),
    [
        ("init", ""),
        ("pull", ""),
        ("sync", ""),
        ("sync", "wc"),
        ("sync", "base"),
        # Killed behind the exchange, recovered, and only then the cut: the recovery must not go
        # forward upon a commit that a cut can still take back.
        ("recover exchanged", "wc"),
    ],
)
def test_power_cut(tmp_path: Path, row: Row, scenario: str, flush: str) -> None:
    """Both disks lose what was not made durable; or one of them happens to have written it out."""
    with _machine(tmp_path, PowerCut.disks) as machine:
        operation = PowerCut(machine, scenario, [flush] if flush else [])
        operation.cut()
        row(operation, f"power cut, {flush} written out" if flush else "power cut")
        operation.check()
        assert operation.tally["old"] and operation.tally["new"]


@pytest.mark.parametrize("dark", [("wc",), ("h2",), HOSTS, _FLEET], ids="-".join)
def test_power_cut_of_a_fleet(tmp_path: Path, row: Row, dark: tuple[str, ...]) -> None:
    """The control node, a host, all hosts or all machines go dark over prepare, decision and commit."""
    with _machine(tmp_path, _FLEET) as machine:
        lit = [name for name in _FLEET if name not in dark]
        operation = FleetPowerCut(machine, "fleet commit", lit)
        operation.cut()
        row(operation, f"power cut of {', '.join(dark)}")
        operation.check()
        assert operation.tally["old"] and operation.tally["new"]
