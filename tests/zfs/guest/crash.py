# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The crash matrix: every command and mount call of init, sync and recovery, and what may happen."""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from guest.lab import Lab, provision
from guest.tape import (
    ERROR,
    FALSE_ERROR,
    KILL_AFTER,
    KILL_BEFORE,
    STOP_AFTER,
    STOP_BEFORE,
    Fault,
    Outcome,
    attempt,
)

Row = list[str]
OLD, NEW = "old", "new"
FAULTS = {"kill": (KILL_BEFORE, KILL_AFTER), "error": (ERROR, FALSE_ERROR)}
UNFINISHED = "DSG-UNFINISHED"


def matrix(scenario: str, faults: str, workers: int) -> dict[str, Any]:
    """Go through every point of a scenario; return rows of the table, and what went wrong."""
    _provision(workers)
    points = list(_points(scenario, faults))
    parts = _in_parallel(workers, lambda number: _share(scenario, points, number, workers))
    rows = sorted((row for part in parts for row in part["rows"]), key=lambda row: int(row[0]))
    failures = [line for part in parts for line in part["failures"]]
    if not failures and faults == "kill":
        failures = _order(rows)
    return {"rows": [row[1:] for row in rows], "failures": failures}


def _provision(workers: int) -> None:
    for number in range(workers):
        if not os.path.isdir(f"/srv/crash{number}"):
            provision(f"tank/crash{number}", f"/srv/crash{number}")


def _lab(name: str, worker: int) -> Lab:
    return Lab(name, f"tank/crash{worker}", f"/srv/crash{worker}")


def _order(rows: list[Row]) -> list[str]:
    """There is one commit point: before it everything is old, behind it everything is new."""
    found = []
    for scenario in dict.fromkeys(row[1] for row in rows):
        sides = [row[5] for row in rows if row[1] == scenario]
        if sides != sorted(sides, key=(OLD, NEW).index):
            found.append(f"{scenario}: not one commit point: {sides}")
    return found


# --- points


def _points(scenario: str, faults: str) -> Iterator[tuple[str, str, Fault, Fault | None]]:
    """Yield (row's scenario, step, fault, where the sync died before a recovery)."""
    for title, steps, crash in _recorded(scenario):
        for index, (label, changes) in enumerate(steps):
            for kind in FAULTS[faults]:
                if _differs(kind, label, changes, crash is not None):
                    yield title, label, Fault(index, kind), crash


def _differs(kind: str, label: str, changes: bool, recovering: bool) -> bool:
    """Leave out what is the same moment as another one.

    Behind a look at things everything is as before it; a recovery does nothing between two calls, so
    that before the next one is behind the last one.
    """
    if recovering:
        return changes and kind in (KILL_AFTER, ERROR)
    if kind == FALSE_ERROR:
        return changes and label.startswith("zfs")
    return changes or kind in (KILL_BEFORE, ERROR)


def _recorded(scenario: str) -> Iterator[tuple[str, list[tuple[str, bool]], Fault | None]]:
    """Run a scenario without a fault, to know its calls."""
    lab = _lab(f"rec-{scenario}", 0)
    _edit(lab, 1)
    first = attempt(lab.name, lab.sync, None)
    assert first.end == "done", first
    _edit(lab, 2)
    if scenario == "init":
        yield "init", first.steps, None
    elif scenario == "sync":
        lab.sync()
        _edit(lab, 3)
        done = attempt(lab.name, lab.sync, None)
        assert done.end == "done", done
        yield "sync", done.steps, None
    else:
        yield from _recoveries(lab)
    lab.clean()
    lab.destroy()


DECISIVE = {
    "staged": ("snapshot stage@", KILL_AFTER),
    "committed": ("set commit record", KILL_AFTER),
    "renamed once": ("rename live old", KILL_AFTER),
    "renamed twice": ("rename stage live", KILL_AFTER),
    "mounted": ("put_beneath", KILL_AFTER),
    "promoted": ("promote live", KILL_AFTER),
}


def _recoveries(lab: Lab) -> Iterator[tuple[str, list[tuple[str, bool]], Fault | None]]:
    lab.sync()
    for number, (title, (label, kind)) in enumerate(DECISIVE.items()):
        crash = Fault(label, kind)
        _edit(lab, 3 + number)
        died = attempt(lab.name, lab.sync, crash)
        assert died.end == "killed", died
        done = attempt(lab.name, lab.recover, None)
        assert done.end == "done", done
        yield f"recovery, {title}", done.steps, crash


def _edit(lab: Lab, generation: int) -> None:
    """Change, add and remove files, so that old and new cannot be mistaken for one another."""
    here = lab.copy("wc")
    if generation == 1:
        lab.put("always", "x")
    lab.put("edited", "e" * generation)
    lab.put(f"only/in-{generation}", "o")
    for name in os.listdir(f"{here}/only"):
        if name != f"in-{generation}":
            os.unlink(f"{here}/only/{name}")
    if os.path.lexists(f"{here}/link"):
        os.unlink(f"{here}/link")
    os.symlink(f"only/in-{generation}", f"{here}/link")


# --- going through them


def _share(scenario: str, points: list[Any], worker: int, workers: int) -> dict[str, Any]:
    """Go through this worker's share of the points."""
    rows: list[Row] = []
    failures: list[str] = []
    lab: Lab | None = None
    for number, (title, label, fault, crash) in enumerate(points):
        if number % workers != worker:
            continue
        try:
            if scenario == "init" or lab is None:
                lab = _lab(f"{scenario}{number}", worker)
                _edit(lab, 1)
                if scenario != "init":
                    lab.sync()
            row = _point(lab, fault, crash, number + 2)
            if row:
                rows.append([str(number), title, *row])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
            if scenario == "init":
                lab.destroy()
        except Exception:
            failures.append(f"{title}, {label}, {fault.kind}: {traceback.format_exc()}")
            lab = None  # what is left there is evidence
            if len(failures) > 2:
                break
    if lab is not None and scenario != "init":
        lab.destroy()
    return {"rows": rows, "failures": failures}


def _point(lab: Lab, fault: Fault, crash: Fault | None, generation: int) -> Row:
    """Let it happen, recover twice, look, and go on; return the end of a row."""
    if os.path.exists(lab.path):
        _edit(lab, generation)
    old = lab.published()
    new = lab.local()
    alone = False
    if crash is None:
        end = attempt(lab.name, lab.sync, fault)
        if end.end == "done" and not end.hit:
            return []  # whether a `zfs diff` is needed differs from run to run
        _check_end(lab, fault, end, old)
    else:
        died = attempt(lab.name, lab.sync, crash)
        assert died.end == "killed", died
        recorded = lab.facts()[lab.container][lab.record][1] == "local"
        alone = generation % 2 == 1 and (recorded or lab.published() != old)
        end = attempt(lab.name, lab.recover, fault)
        assert end.hit, "the fault was not met"
    if alone:
        lab.sync()  # nobody has to call recovery: the next sync does it by itself
    side = settle(lab, old, new)
    said = end.end if end.end != "done" else "done, cleanup put off"
    return [end.hit, fault.kind, said, side]


def _check_end(lab: Lab, fault: Fault, end: Outcome, old: dict[str, Any]) -> None:
    assert end.end != "crashed", end
    if fault.kind in FAULTS["kill"]:
        assert end.end == "killed", end
    elif end.end not in ("done", UNFINISHED):
        assert lab.published() == old, f"{end.end} says that everything is as before"


def settle(lab: Lab, old: dict[str, Any], new: dict[str, Any]) -> str:
    """Recover twice; assert that it is all old or all new, with nothing left; sync."""
    lab.recover()
    again = lab.recover()
    assert again == [], again
    now = lab.published()
    assert now in (old, new), {"old": old, "new": new, "now": now}
    side = NEW if now == new else OLD
    assert lab.local() == new, "the working copy is what the user made of it"
    if os.path.exists(f"{lab.path}/.dsg"):
        lab.clean()
    else:
        assert lab.left() == [], lab.left()
    done = lab.sync()
    assert done.changed == (side == OLD), (side, done.plan.counts())
    assert lab.published() == new, {"published": lab.published(), "wanted": new}
    return side


def _in_parallel(workers: int, work: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Do shares of the work in processes of their own."""
    pipes = []
    for number in range(workers):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as stream:
                json.dump(work(number), stream)
            os._exit(0)
        os.close(writing)
        pipes.append(reading)
    answers = []
    for reading in pipes:
        with os.fdopen(reading) as stream:
            answers.append(json.loads(stream.read()))
        os.wait()
    return answers


# --- power cuts: many repositories, each stopped at another point, and one plug for all


CUTS = (
    ("set commit record", STOP_BEFORE),
    ("set commit record", STOP_AFTER),
    ("rename live old", STOP_AFTER),
    ("rename stage live", STOP_AFTER),
    ("put_beneath", STOP_AFTER),
    ("promote live", STOP_BEFORE),
    ("promote live", STOP_AFTER),
)


def before_the_cut() -> None:
    """Bring a repository to each of the points, and leave it there."""
    _provision(1)
    lab = _lab("cut-steady", 0)
    _edit(lab, 1)
    lab.sync()
    _edit(lab, 2)
    lab.sync()
    trees: dict[str, Any] = {"steady": [lab.published(), lab.local()]}
    for number, (label, kind) in enumerate(CUTS):
        lab = _lab(f"cut{number}", 0)
        _edit(lab, 1)
        lab.sync()
        _edit(lab, 2)
        trees[str(number)] = [lab.published(), lab.local()]
        os.sync()  # the user's own files are not what this is about
        died = attempt(lab.name, lab.sync, Fault(label, kind))
        assert died.end == "stopped", died
        if number == 0:
            _save(trees)
    _save(trees)


def _save(trees: dict[str, Any]) -> None:
    with open("/root/trees.json", "w", encoding="utf-8") as stream:
        json.dump(trees, stream)
        stream.flush()
        os.fsync(stream.fileno())


def behind_the_cut() -> dict[str, Any]:
    """After the boot: look at what is published, recover everything, return rows of the table."""
    with open("/root/trees.json", encoding="utf-8") as stream:
        trees = json.load(stream)
    steady = _reopen("cut-steady")
    assert steady.published() == trees["steady"][1], "mounted by its name alone"
    assert not os.path.exists("/run/dsg"), "nothing private is mounted at boot"
    rows, failures = [], []
    for number, (label, kind) in enumerate(CUTS):
        old, new = trees[str(number)]
        try:
            lab = _reopen(f"cut{number}")
            at_boot = lab.published()
            shown = {0: "nothing"}.get(len(at_boot), "old" if at_boot == old else "new")
            assert at_boot in (old, new, {}), at_boot
            side = settle(lab, old, new)
            rows.append(["sync", label, kind, f"shows {shown} at boot", side])
        except Exception:
            failures.append(f"{label}, {kind}: {traceback.format_exc()}")
    steady.clean()
    return {"rows": rows, "failures": failures}


def before_the_reboot() -> None:
    """Publish something twice."""
    lab = Lab("rebooted")
    for generation in (1, 2):
        _edit(lab, generation)
        lab.sync()


def behind_the_reboot() -> None:
    """It is there, read-only; nothing private is; the next sync works."""
    lab = Lab("rebooted")
    _edit(lab, 2)
    assert lab.published().keys() == lab.local().keys()
    assert not os.path.exists("/run/dsg"), "nothing private is mounted at boot"
    lab.clean()
    shutil.rmtree(lab.copy("wc"))
    assert lab.sync().operation == "clone"
    _edit(lab, 3)
    assert lab.sync().snapshot == 3
    lab.clean()
    lab.destroy()


def _reopen(name: str) -> Lab:
    """Return a lab as it is, with what is in its working copies."""
    place = os.path.join("/root/cases", name)
    os.rename(place, f"{place}.kept")
    lab = _lab(name, 0)
    shutil.rmtree(place)
    os.rename(f"{place}.kept", place)
    return lab
