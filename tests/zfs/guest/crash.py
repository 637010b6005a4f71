# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The crash matrix: what may happen at every command and mount call of init, sync and recovery."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from typing import Any, NamedTuple

from guest import delegation
from guest.lab import PARENT, Lab, acting, in_parallel, provision
from guest.points import FAULTS, edit, points, recorded
from guest.tape import ERROR, FALSE_ERROR, KILL_AFTER, Fault, Outcome

Row = list[str]
OLD, NEW = "old", "new"
UNFINISHED = "DSG-UNFINISHED"


def provision_workers(workers: int) -> None:
    """Make a publish parent for each worker."""
    for number in range(workers):
        provision_place(number)
    if acting:
        crash = [f"tank/crash{number}" for number in range(workers)]
        delegation.provision_user([PARENT, *crash])


def provision_place(number: int) -> None:
    """Make a publish parent, unless it is there."""
    if not os.path.isdir(f"/srv/crash{number}"):
        provision(f"tank/crash{number}", f"/srv/crash{number}")


def lab_of(name: str, place: int) -> Lab:
    """Return an empty laboratory below a worker's parent."""
    return Lab(name, f"tank/crash{place}", f"/srv/crash{place}")


def told(rows: list[Row], failures: list[str], began: float) -> dict[str, Any]:
    """Return what a matrix found, and what it cost in seconds."""
    seconds = round(time.monotonic() - began, 1)
    return {"rows": rows, "failures": failures, "seconds": seconds}


# --- init and sync


def matrix(scenario: str, faults: str, workers: int, stride: int = 1) -> dict[str, Any]:
    """Go through every point of a scenario, or every ``stride``-th one, in order.

    Return rows of the table, and what went wrong.
    """
    began = time.monotonic()
    provision_workers(workers)
    steps = recorded(lambda: lab_of("watched", 0))[scenario]
    every = list(enumerate(points(steps, faults)))[::stride]
    half = -(-len(every) // workers)  # neighbours together: most of a half has the same outcome
    parts = in_parallel(
        workers,
        lambda worker: walk_through(
            Walk, scenario, every[worker * half : (worker + 1) * half], worker
        ),
    )
    rows = [row for part in parts for row in part["rows"]]
    failures = [line for part in parts for line in part["failures"]]
    sides = [row[4] for row in rows]
    if faults != "error" and sides != sorted(sides, key=(OLD, NEW).index):
        failures.append(f"{scenario}: not one commit point: {sides}")
    return told(rows, failures, began)


def walk_through(
    walks: type[Walk], scenario: str, every: list[tuple[int, Fault]], worker: int
) -> dict[str, Any]:
    """Go through some of the points, numbered, in one worker's place."""
    rows: list[Row] = []
    failures: list[str] = []
    walk: Walk | None = None
    for number, fault in every:
        try:
            if walk is None:
                name = f"{scenario}-{fault.kind.split()[0].strip(',')}-{number}"
                walk = walks(lab_of(name, worker), scenario == "sync")
            row = walk.meet(fault)
            if row:
                rows.append([walk.title(scenario), *row])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
            if row[-1:] == [NEW] and scenario == "init":
                walk.lab.destroy()
                walk = None
        except Exception:
            failures.append(f"{scenario}, {fault}: {traceback.format_exc()}")
            walk = None  # what is left there is evidence
            if len(failures) > 2:
                break
    if walk is not None:
        walk.end()
    return {"rows": rows, "failures": failures}


class Before(NamedTuple):
    """What there was before a fault: both trees, and what identifies everything."""

    old: dict[str, Any]
    new: dict[str, Any]
    identity: dict[str, Any]


class Walk:
    """One repository that goes from point to point; the next sync is that of the next point.

    Where the fault leaves the old state, that is the very state from before, down to GUIDs and the
    records of the working copy, and the next sync has the same edits to publish. Where it leaves the
    new one, the next one publishes others: its own fault comes behind the commit as well.
    """

    def __init__(self, lab: Lab, published: bool) -> None:
        self.lab = lab
        self.generation = 1
        edit(lab, 1)
        self.marked = published
        if published:
            lab.sync()
            lab.mark()
            self._edit()
        self.before = self._look()

    def title(self, scenario: str) -> str:
        """Return what the table calls the operation."""
        return scenario + (" by the service user" if acting else "")

    def end(self) -> None:
        """Publish what is to be published, and remove the repository."""
        self.lab.sync()
        self.lab.clean()
        self.lab.destroy()

    def _edit(self) -> None:
        self.generation += 1
        edit(self.lab, self.generation)

    def _look(self) -> Before:
        return Before(self.lab.published(), self.lab.local(), self.lab.identity())

    def meet(self, fault: Fault) -> Row:
        """Let it happen, recover twice, look, and go on; return the end of a row."""
        if fault.label == "helper locks":
            self.lab.forget_lock()
        end = self.strike(fault)
        if end.end == "done" and not end.hit:
            assert "zfs diff" in fault.label, f"{fault} was not met"
            self._edit()
            self.before = self._look()
            return []  # not every run needs a `zfs diff`
        self.check_end(fault, end)
        self.lab.recover()
        again = self.lab.recover()
        assert again == [], again
        return [end.hit, fault.kind, end.end, self.settle()]

    def strike(self, fault: Fault) -> Outcome:
        """Run the next sync with the fault."""
        return self.lab.attempt(self.lab.sync, fault)

    def check_end(self, fault: Fault, end: Outcome) -> None:
        """Assert that the run ended as it had to."""
        if fault.kind in FAULTS["kill"]:
            assert end.end == "killed", end
        else:
            self.check_told(end)

    def check_told(self, end: Outcome) -> None:
        """Assert that a run that lives on tells the truth."""
        assert end.end not in ("crashed", "killed"), end
        if end.end not in ("done", UNFINISHED):
            assert self.lab.published() == self.before.old, f"{end.end} says that nothing changed"
        elif end.end == UNFINISHED:
            assert "record are unchanged" not in end.text, end.text

    def settle(self) -> str:
        """Assert that it is all old or all new, with nothing left; where it is new, edit again."""
        lab, (old, new, identity) = self.lab, self.before
        now = lab.published()
        assert now in (old, new), {"old": old, "new": new, "now": now}
        assert lab.local() == new, "the working copy is what the user made of it"
        if now == old:
            after = lab.identity()
            assert after == identity, {"before": identity, "after": after}
            if not self.marked:  # an empty `.dsg` spares the next first run one look
                shutil.rmtree(os.path.join(lab.copy("wc"), ".dsg"), ignore_errors=True)
            return OLD
        lab.clean()
        assert lab.is_marked() or not self.marked
        self._edit()
        if not self.marked:
            done = lab.sync()
            assert (done.operation, done.changed) == ("sync", True)
            lab.clean()
        self.before = self._look()
        return NEW


# --- recoveries: each goes one step further than the one before

DECISIVE = {
    "cloned": Fault("zfs clone live@sN stage", KILL_AFTER),
    "staged": Fault("make_writable(2) stage work", KILL_AFTER),
    "prepared": Fault("zfs snapshot stage@sN", KILL_AFTER),
    "committed": Fault("zfs set commit record", KILL_AFTER),
    "renamed once": Fault("zfs rename live old", KILL_AFTER),
    "renamed twice": Fault("zfs rename stage live", KILL_AFTER),
    "mounted": Fault("put_beneath(2) work published", KILL_AFTER),
    "lifted off": Fault("unmount(2) published", KILL_AFTER),
    "switched": Fault("zfs inherit commit record", KILL_AFTER),
    "promoted": Fault("zfs promote live", KILL_AFTER),
}
INIT_DECISIVE = {
    "created": Fault("zfs create init", KILL_AFTER),
    "prepared": Fault("zfs snapshot init@sN", KILL_AFTER),
    "named": Fault("zfs rename init live", KILL_AFTER),
    "writable": Fault("mount remount,rw parent", KILL_AFTER),
}


_BY_THE_HELPER = {
    "staged": Fault("helper mount", KILL_AFTER),
    "mounted": Fault("helper publish", KILL_AFTER),
}
"""Where a service user's run dies instead; what is in between is the helper's own (`helper_crash`)."""
_WITHIN_THE_HELPER = ("lifted off", "writable")


def _decisive(of_root: dict[str, Fault]) -> dict[str, Fault]:
    """Return where a run can die, whoever it is."""
    if not acting:
        return of_root
    mine = {title: _BY_THE_HELPER.get(title, crash) for title, crash in of_root.items()}
    return {title: crash for title, crash in mine.items() if title not in _WITHIN_THE_HELPER}


def recoveries(workers: int) -> dict[str, Any]:
    """For every place where a run can die: recoveries that die or fail in turn at each step."""
    began = time.monotonic()
    provision_workers(workers)
    jobs = [("sync", *item) for item in _decisive(DECISIVE).items()]
    jobs += [("init", *item) for item in _decisive(INIT_DECISIVE).items()]
    parts = in_parallel(workers, lambda worker: _recover_share(jobs[worker::workers], worker))
    order = [f"recovery of {scenario}, {title}" for scenario, title, _crash in jobs]
    rows = sorted(
        (row for part in parts for row in part["rows"]), key=lambda row: order.index(row[0])
    )
    return told(rows, [line for part in parts for line in part["failures"]], began)


def _recover_share(jobs: list[tuple[str, str, Fault]], worker: int) -> dict[str, Any]:
    rows: list[Row] = []
    failures: list[str] = []
    walk: Walk | None = None
    tried = 0
    for scenario, title, crash in jobs:
        for kind in (KILL_AFTER, ERROR, FALSE_ERROR):
            try:
                if walk is None or scenario == "init":
                    tried += 1
                    name = f"recovered{''.join(acting)}{worker}-{tried}"
                    walk = Walk(lab_of(name, worker), scenario == "sync")
                title_of = f"recovery of {scenario}, {title}"
                rows += [[title_of, *row] for row in _chain(walk, crash, kind)]
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
                if scenario == "init":
                    walk.end()
            except Exception:
                failures.append(f"{scenario}, {title}, {kind}: {traceback.format_exc()}")
                walk = None
                if len(failures) > 2:
                    return {"rows": rows, "failures": failures}
    return {"rows": rows, "failures": failures}


def _chain(walk: Walk, crash: Fault, kind: str) -> list[Row]:
    """Crash; then recover again and again, each time up to a step that none before came to."""
    lab, (old, new, _identity) = walk.lab, walk.before
    died = lab.attempt(lab.sync, crash)
    assert died.end == "killed", died
    met: list[Outcome] = []
    tree = old
    while True:
        known = frozenset(one.hit for one in met)
        end = lab.attempt(lab.recover, Fault("", kind, known=known))
        assert end.end != "crashed" and "record are unchanged" not in end.text, end
        seen = lab.published()
        assert seen or not walk.marked, "a tree that is published is never away"
        now = seen or tree  # a first one may not be mounted yet
        assert now in (new, tree), {"old": old, "new": new, "now": now}
        tree = now
        if not end.hit:
            break
        met.append(end)
        assert len(met) < 20, met
    assert end.end == "done", end
    again = lab.recover()
    assert again == [], again
    side = walk.settle()
    return [[end.hit, kind, end.end, side] for end in met]


def alone(workers: int, stride: int = 1) -> dict[str, Any]:
    """Nobody has to call recovery: the next sync does it by itself, at every (``stride``-th) place."""
    began = time.monotonic()
    provision_workers(workers)
    jobs = list(DECISIVE.items())[::stride]

    def share(worker: int) -> dict[str, Any]:
        rows, failures = [], []
        walk = Walk(lab_of(f"alone{worker}", worker), True)
        for title, crash in jobs[worker::workers]:
            try:
                died = walk.lab.attempt(walk.lab.sync, crash)
                assert died.end == "killed", died
                done = walk.lab.sync()
                assert done.recovered, "it says what it recovered"
                assert walk.settle() == NEW
                rows.append(["next sync", title, KILL_AFTER, "done", NEW])
            except Exception:
                failures.append(f"{title}: {traceback.format_exc()}")
                walk = Walk(lab_of(f"alone-{title.replace(' ', '-')}", worker), True)
        walk.end()
        return {"rows": rows, "failures": failures}

    parts = in_parallel(workers, share)
    rows = [row for part in parts for row in part["rows"]]
    return told(rows, [line for part in parts for line in part["failures"]], began)
