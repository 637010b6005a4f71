# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The moments at which something may happen: before and behind every command and mount call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from guest.lab import Lab, acting
from guest.tape import (
    ERROR,
    FALSE_ERROR,
    KILL_AFTER,
    KILL_BEFORE,
    STOP_AFTER,
    STOP_BEFORE,
    Fault,
)

FAULTS = {
    "kill": (KILL_BEFORE, KILL_AFTER),
    "changes": (KILL_BEFORE, KILL_AFTER),
    "error": (ERROR, FALSE_ERROR),
    "power": (STOP_BEFORE, STOP_AFTER),
}
_RECORDED = "/root/steps{user}.json"
_COMMIT = "zfs set commit record"


class Step(NamedTuple):
    """A call of a run without a fault: its label, which of the same label, whether it changes."""

    label: str
    nth: int
    changes: bool


def edit(lab: Lab, generation: int) -> None:
    """Change, add and remove files, so that old and new cannot be mistaken for one another."""
    here = lab.copy("wc")
    if not os.path.exists(f"{here}/always"):
        lab.put("always", "x")
    lab.put("edited", "e" * generation)
    lab.put(f"only/in-{generation}", "o")
    for name in os.listdir(f"{here}/only"):
        if name != f"in-{generation}":
            os.unlink(f"{here}/only/{name}")
    if os.path.lexists(f"{here}/link"):
        os.unlink(f"{here}/link")
    os.symlink(f"only/in-{generation}", f"{here}/link")


def recorded(make: Callable[[], Lab]) -> dict[str, list[Step]]:
    """Return the calls of a first publication and of a sync, of which one is made and watched."""
    place = _RECORDED.format(user="".join(acting))
    if os.path.exists(place):
        with open(place, encoding="utf-8") as stream:
            return {
                key: [Step(*step) for step in steps] for key, steps in json.load(stream).items()
            }
    found = _watched(make())
    with open(place, "w", encoding="utf-8") as stream:
        json.dump(found, stream)
    return found


def _watched(lab: Lab) -> dict[str, list[Step]]:
    runs = []
    for generation in (1, 2, 3):  # whether a `zfs diff` is needed differs from sync to sync
        edit(lab, generation)
        done = lab.attempt(lab.sync, None)
        assert done.end == "done", done
        runs.append(steps_of(done.steps))
        if generation == 1:
            lab.mark()
    lab.clean()
    lab.destroy()
    return {"init": runs[0], "sync": max(runs[1:], key=len)}


def steps_of(labels: list[tuple[str, bool]]) -> list[Step]:
    """Return calls, each with which of its kind it is."""
    met: dict[str, int] = {}
    steps = []
    for label, changes in labels:
        steps.append(Step(label, met.get(label, 0), changes))
        met[label] = met.get(label, 0) + 1
    return steps


def points(steps: list[Step], faults: str) -> Iterator[Fault]:
    """Yield every moment once.

    Behind a look at things everything is as before it. From the commit record on a transaction does
    nothing but these calls: before one of them is behind the last one that changed something.
    """
    committed = False
    for step in steps:
        before, after = FAULTS[faults]
        if step.changes:
            if faults == "error" or not committed:
                yield Fault(step.label, before, step.nth)
            if faults != "error" or step.label.startswith("zfs"):
                yield Fault(step.label, after, step.nth)
        elif faults in ("kill", "error"):
            yield Fault(step.label, before, step.nth)
        committed = committed or step.label == _COMMIT
