# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that really run full in the middle of a sync, at every amount of room that is too little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .calls import Call
from .lab import Ended, Lab
from .sweep import Operation, Point, failed, settled

Row = Callable[[Operation, str], None]

_BLOCK = 4096
_COMMANDS = {
    "tmpfs": [["mount", "-t", "tmpfs", "-o", "size=4m", "none", "{small}"]],
    "ext4": [
        ["truncate", "--size", "16M", "{small}.img"],
        ["mkfs.ext4", "-q", "-b", "4096", "{small}.img"],
        ["mount", "-o", "loop", "{small}.img", "{small}"],
    ],
    "xfs": [
        ["truncate", "--size", "320M", "{small}.img"],
        ["mkfs.xfs", "-q", "{small}.img"],
        ["mount", "-o", "loop", "{small}.img", "{small}"],
    ],
}


@pytest.fixture(params=list(_COMMANDS))
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Lab, str]]:
    """Return a laboratory whose working copy and repository share a small disk, and its type."""
    fs = tmp_path / "fs"
    commands = [
        ["mount", "-t", "tmpfs", "-o", "size=512m", "none", str(fs)],
        ["mkdir", str(fs / "small")],
        *(
            [word.format(small=fs / "small") for word in command]
            for command in _COMMANDS[request.param]
        ),
    ]
    made = Lab(tmp_path, commands, root="small/run")
    yield made, request.param
    made.close()


def test_disk_full(small: tuple[Lab, str], row: Row) -> None:
    """Whatever the disk has room for: the whole sync, or nothing of it and a clear error."""
    lab, kind = small
    operation = Operation(lab, "sync")
    place = str(lab.place / "fs" / "small")
    for blocks in range(1000):
        lab.do("restore", root=lab.root, keep=lab.keep)
        lab.do("fill", place=place, leave=blocks * _BLOCK)
        outcome = lab.do("whole", scenario="sync", root=lab.root)
        lab.do("fill", place=place, leave=-1)
        seen = operation.aftermath()
        point = Point(Call("", 0, ""), f"ENOSPC with room for {blocks} blocks", [])
        found = failed(operation, point, Ended(0, outcome, []), seen) + settled(operation, seen)
        operation.failures += [f"{point.name}: {line}" for line in found]
        operation.tally["points"] += 1
        operation.tally[operation.side(seen["first_state"]) or "neither"] += 1
        if "result" in outcome:
            break
    row(operation, f"{kind} full")
    operation.check()
    assert operation.tally["old"] >= 10 and operation.tally["new"] >= 1
