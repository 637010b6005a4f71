# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Power cuts: working copy and repository on two XFS images, taken as they are on disk.

The run is stopped behind every changing call, and the images behind the mounted file systems are
copied without writing anything out: what was not made durable by then is lost in the copies. They are
mounted where the run was, and must come up as the old state or the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .calls import CHANGING, Call, changing
from .lab import Lab, watch
from .sweep import Operation, State, settled

Row = Callable[[Operation, str], None]

_SIZE = "320M"


def _machine(place: Path) -> list[list[str]]:
    """Return the commands that mount two XFS images on a tmpfs, working copy and repository."""
    fs = place / "fs"
    commands = [
        ["mount", "-t", "tmpfs", "-o", "size=1g", "none", str(fs)],
        ["mkdir", "-p", str(fs / "shots")],
    ]
    for name in ("wc", "base"):
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


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Lab]:
    """Return a laboratory with two disks that can be cut off from power."""
    made = Lab(tmp_path, _machine(tmp_path))
    yield made
    made.close()


class PowerCut(Operation):
    """One run that is stopped behind every changing call to take pictures of its disks."""

    def __init__(self, lab: Lab, scenario: str, flush: str) -> None:
        self.flush = f"{lab.root}/{flush}" if flush else ""
        self.shots: dict[tuple[int, int], Call] = {}
        super().__init__(lab, scenario)

    def prepare(self) -> None:
        """Do the run, and take the pictures."""
        lab = self.lab
        seen = lab.do("build_here", scenario=self.scenario, root=lab.root)
        self.old = self.sides(seen)
        stop = f"inject={','.join(f'?{name}' for name in CHANGING)}:signal=SIGSTOP"
        traced = lab.start("attempt", watch(["-e", stop]), scenario=self.scenario, root=lab.root)
        while (ended := lab.go(traced)) is None:
            last = lab.calls()[-1]
            if changing([last]):
                self.calls.append(last)
                self._shoot(last)
        assert ended.outcome is not None and "result" in ended.outcome, ended.outcome
        self.new = self.sides(lab.do("look", root=lab.root))

    def _shoot(self, call: Call) -> None:
        written = self._written(list(self.shots)[-1]) if self.shots else {}
        counts = self.lab.do(
            "shoot",
            flush=self.flush,
            written=written,
            devices={self._image(name): self._device(name) for name in ("wc", "base")},
            into=str(self.lab.place / "fs" / "shots"),
        )
        self.shots.setdefault((counts[self._image("wc")], counts[self._image("base")]), call)

    def _image(self, name: str) -> str:
        return str(self.lab.place / "fs" / f"{name}.img")

    def _device(self, name: str) -> str:
        found: str = self.lab.do("device", place=f"{self.lab.root}/{name}")
        return found

    def _written(self, shot: tuple[int, int]) -> dict[str, int]:
        return {self._image("wc"): shot[0], self._image("base"): shot[1]}

    def cut(self) -> None:
        """Come up from every picture in turn."""
        shots = self.lab.place / "fs" / "shots"
        for shot, call in self.shots.items():
            images = {
                f"{self.lab.root}/{name}": str(shots / f"{name}.img.{count}")
                for name, count in zip(("wc", "base"), shot)
            }
            seen: State = self.lab.do(
                "after_cut", scenario=self.scenario, root=self.lab.root, images=images
            )
            self.tally["points"] += 1
            self.tally[self.side(seen["first_state"]) or "neither"] += 1
            self.failures += [f"cut after {call}: {line}" for line in settled(self, seen)]


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
def test_power_cut(machine: Lab, row: Row, scenario: str, flush: str) -> None:
    """Both disks lose what was not made durable; or one of them happens to have written it out."""
    operation = PowerCut(machine, scenario, flush)
    operation.cut()
    row(operation, f"power cut, {flush} written out" if flush else "power cut")
    operation.check()
    assert operation.tally["old"] and operation.tally["new"]
