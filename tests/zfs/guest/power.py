# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Power cuts: many repositories, each stopped at another point, and one plug for all of them."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from typing import Any

from guest.crash import DECISIVE, NEW, OLD, Row, lab_of, provision_place
from guest.lab import Lab, in_parallel, sh
from guest.points import edit, points, recorded
from guest.tape import STOP_AFTER, Fault
from host import _program

PROGRAM = "/usr/local/sbin/dsg-storage"
UNIT = "dsg-recover.service"
_PLACE = "/root/cuts"


def first(workers: int, stride: int = 1) -> dict[str, Any]:
    """Bring a repository to each (``stride``-th) of the points of init and sync, and leave it there."""
    began = time.monotonic()
    provision_place(0)
    os.makedirs(_PLACE)
    steps = recorded(lambda: lab_of("watched", 0))
    jobs = [(scenario, fault) for scenario in steps for fault in points(steps[scenario], "power")]
    jobs = [*jobs[::stride], ("steady", Fault("nothing", STOP_AFTER))]

    def share(worker: int) -> dict[str, Any]:
        # The decisive points come last: what was written there has the least time to reach the disk.
        mine = list(enumerate(jobs))[worker::workers]
        mine.sort(key=lambda job: job[1][1].label in {fault.label for fault in DECISIVE.values()})
        for number, (scenario, fault) in mine:
            # Who is stopped while it holds the lock of its parent needs one of its own.
            alone = scenario == "init" and fault.label.endswith(("live", "parent", "published"))
            place = 100 + number if alone else worker
            provision_place(place)
            _bring(f"cut{number}", worker, place, scenario, fault)
        return {}

    in_parallel(workers, share)
    return {"points": len(jobs), "seconds": round(time.monotonic() - began, 1)}


def _bring(name: str, worker: int, place: int, scenario: str, fault: Fault) -> None:
    lab = lab_of(name, place)
    edit(lab, 1)
    if scenario != "init":
        lab.sync()
        lab.mark()
        edit(lab, 2)
    told = {
        "name": name,
        "worker": worker,
        "place": place,
        "scenario": scenario,
        "step": fault.label,
    }
    _save(name, {**told, "fault": fault.kind, "old": lab.published(), "new": lab.local()})
    os.sync()  # the user's own files are not what this is about
    if scenario != "steady":
        died = lab.attempt(lab.sync, fault)
        assert died.end == "stopped", died


def _save(name: str, told: dict[str, Any]) -> None:
    with open(f"{_PLACE}/{name}.json", "w", encoding="utf-8") as stream:
        json.dump(told, stream)
        stream.flush()
        os.fsync(stream.fileno())


def _load() -> list[dict[str, Any]]:
    found = []
    for name in sorted(os.listdir(_PLACE)):
        with open(f"{_PLACE}/{name}", encoding="utf-8") as stream:
            found.append(json.load(stream))
    return found


def second(workers: int, unit: str) -> dict[str, Any]:
    """After the boot: look at what is published; recover each up to another step, and stop there.

    The next boot is to recover by itself: ``unit`` is what the role installs.
    """
    began = time.monotonic()
    with open("/proc/mounts", encoding="utf-8") as mounts:
        assert not [line for line in mounts if " /run/dsg/" in line], "nothing private is mounted"
    _install(unit)
    cuts = _load()

    def share(worker: int) -> dict[str, Any]:
        stopped = 0
        failures = []
        for number, cut in enumerate(cuts):
            if cut["worker"] != worker:
                continue
            lab = reopen(cut["name"], cut["place"])
            try:
                at_boot = lab.published()
                assert at_boot in (cut["old"], cut["new"], {}), at_boot
                cut["at boot"] = _name(at_boot, cut)
                if cut["scenario"] == "steady":
                    assert at_boot == cut["old"], "mounted by its name alone"
                end = lab.attempt(lab.recover, Fault("", STOP_AFTER, number % 4))
                assert end.end in ("stopped", "done"), end
                stopped += end.end == "stopped"
                _save(cut["name"], cut)
            except Exception:
                failures.append(f"{cut['scenario']}, {cut['step']}: {traceback.format_exc()}")
        return {"failures": failures, "stopped": stopped}

    parts = in_parallel(workers, share)
    return {
        "failures": [line for part in parts for line in part["failures"]],
        "stopped": sum(part["stopped"] for part in parts),
        "seconds": round(time.monotonic() - began, 1),
    }


def _install(unit: str) -> None:
    with open(PROGRAM, "wb") as stream:
        stream.write(_program.build("/usr/bin/python3"))
    os.chmod(PROGRAM, 0o755)
    with open(f"/etc/systemd/system/{UNIT}", "w", encoding="utf-8") as stream:
        stream.write(unit)
    sh("systemctl", "enable", UNIT)
    os.sync()


def _name(tree: dict[str, Any], cut: dict[str, Any]) -> str:
    if not tree:
        return "nothing"
    return OLD if tree == cut["old"] else NEW


def third(workers: int) -> dict[str, Any]:
    """After the second boot: recover everything twice, compare, look for leaks, sync again."""
    began = time.monotonic()
    state = set(sh("systemctl", "show", "-p", "Result,ActiveState", UNIT).split())
    said = sh("systemctl", "status", UNIT, check=False)
    assert state == {"Result=success", "ActiveState=active"}, said
    cuts = [cut for cut in _load() if cut["scenario"] != "steady"]

    def share(worker: int) -> dict[str, Any]:
        rows: list[Row] = []
        failures = []
        for cut in cuts:
            if cut["worker"] != worker:
                continue
            try:
                side = _finish(reopen(cut["name"], cut["place"]), cut)
                shown = f"shows {cut['at boot']} after the boot"
                rows.append([cut["scenario"], cut["step"], cut["fault"], shown, side])
            except Exception:
                failures.append(f"{cut['scenario']}, {cut['step']}: {traceback.format_exc()}")
        return {"rows": rows, "failures": failures}

    parts = in_parallel(workers, share)
    return {
        "rows": [row for part in parts for row in part["rows"]],
        "failures": [line for part in parts for line in part["failures"]],
        "seconds": round(time.monotonic() - began, 1),
    }


def _finish(lab: Lab, cut: dict[str, Any]) -> str:
    at_boot = lab.published()
    assert at_boot in (cut["old"], cut["new"]), {**cut, "at boot": at_boot}
    assert lab.left() == [], f"the boot recovered this host: {lab.left()}"
    lab.recover()
    again = lab.recover()
    assert again == [], again
    now = lab.published()
    assert now in (cut["old"], cut["new"]), {**cut, "now": now}
    assert lab.local() == cut["new"], "the working copy is what the user made of it"
    assert lab.left() == [], lab.left()
    side = NEW if now == cut["new"] else OLD
    done = lab.sync()
    assert done.changed == (side == OLD), (side, done.plan.counts())
    assert lab.published() == cut["new"]
    lab.clean()
    assert now == at_boot
    assert lab.is_marked() or cut["scenario"] == "init"
    return side


def before_the_reboot() -> None:
    """Publish something twice."""
    lab = Lab("rebooted")
    for generation in (1, 2):
        edit(lab, generation)
        lab.sync()


def behind_the_reboot() -> None:
    """It is there, read-only; nothing private is; the next sync works."""
    lab = Lab("rebooted")
    edit(lab, 2)
    assert lab.published().keys() == lab.local().keys()
    with open("/proc/mounts", encoding="utf-8") as mounts:
        assert not [line for line in mounts if " /run/dsg/" in line], "nothing private is mounted"
    lab.clean()
    shutil.rmtree(lab.copy("wc"))
    assert lab.sync().operation == "clone"
    edit(lab, 3)
    assert lab.sync().snapshot == 3
    lab.clean()
    lab.destroy()


def reopen(name: str, place: int) -> Lab:
    """Return a lab as it is, with what is in its working copies."""
    home = os.path.join("/root/cases", name)
    os.rename(home, f"{home}.kept")
    lab = lab_of(name, place)
    shutil.rmtree(home)
    os.rename(f"{home}.kept", home)
    return lab
