# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads the published tree while it is replaced, and what a transaction costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from _core.zfs.command import Runner
from guest.lab import PARENT, Lab, sh

FILES = ("a", "deep/b", "deep/er/c", "d")


def poll(path: str, stop: str, files: Sequence[str] = FILES, pause: float = 0.0) -> dict[str, int]:
    """Read files that belong together until ``stop`` exists; count what nobody must ever see.

    ``pause`` are seconds between two rounds.
    """
    seen = dict.fromkeys(("reads", "rounds", "errors", "mixtures", "back"), 0)
    last = 0
    generations = set()
    while not os.path.exists(stop):
        try:
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            seen["errors"] += 1
            continue
        try:
            for _unused in range(20):
                found = {_number(name, root) for name in files}
                seen["reads"] += len(files)
                seen["mixtures"] += len(found) != 1
            by_path = [_number(f"{path}/{name}", None) for name in files]
            seen["reads"] += len(files)
            seen["back"] += by_path != sorted(by_path) or by_path[0] < last
            last = by_path[-1]
            generations.update(by_path)
        except (OSError, ValueError):
            seen["errors"] += 1
        finally:
            os.close(root)
        seen["rounds"] += 1
        time.sleep(pause)
    return {**seen, "last": last, "generations": len(generations)}


def _number(path: str, root: int | None) -> int:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return int(os.read(fd, 100))
    finally:
        os.close(fd)


def _generation(lab: Lab, number: int) -> None:
    for name in FILES:
        lab.put(name, str(number) * 3)


def oracle(commits: int) -> dict[str, int]:
    """Poll through that many commits; return the figures."""
    lab = Lab("polled")
    _generation(lab, 1)
    lab.sync()
    stop = f"{lab.home}/stop"
    code = f"from guest.readers import poll; import json; print(json.dumps(poll({lab.path!r}, {stop!r})))"
    environment = dict(os.environ)  # it knows where our sources are
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    ) as reader:
        for number in range(2, commits + 2):
            _generation(lab, number)
            waiting = lab.sync().pending_cleanup
            # A reader may be in the old tree at that very moment.
            assert all("busy" in line for line in waiting), waiting
        with open(stop, "w", encoding="utf-8"):
            pass
        said, _unused = reader.communicate()
    lab.recover()
    lab.clean()
    lab.destroy()
    return {"commits": commits, **json.loads(said)}


def cost(rounds: int) -> dict[str, object]:
    """Time empty-handed transactions against the bare commands, and count the processes.

    Seconds are medians; ``transaction`` is from begin to commit, ``whole run`` with all around it.
    """
    lab = Lab("cost")
    lab.put("a", "1")
    lab.sync()
    told: dict[str, list[float]] = {"transaction": [], "whole run": [], "bare": []}
    started = 0
    for number in range(rounds):
        spent, started = _measured(lab, "2" * (number + 2))
        told["whole run"].append(spent["all"])
        told["transaction"].append(sum(spent[part] for part in _PARTS))
        told["bare"].append(_bare(number))
    lab.clean()
    lab.destroy()
    figures: dict[str, object] = {key: round(median(found), 2) for key, found in told.items()}
    figures["ratio"] = round(median(told["transaction"]) / median(told["bare"]), 2)
    figures["processes"] = started
    return figures


def commit_of(files: int, rounds: int) -> dict[str, object]:
    """Time the parts of syncs that change one file among many; medians in seconds."""
    lab = Lab(f"many{files}")
    for number in range(files):
        lab.put(f"d{number // 500}/f{number}", str(number))
    lab.sync()
    told: dict[str, list[float]] = {part: [] for part in _PARTS}
    started = 0
    for number in range(rounds):
        spent, started = _measured(lab, "2" * (number + 2))
        for part in _PARTS:
            told[part].append(spent[part])
    lab.destroy()
    figures: dict[str, object] = {part: round(median(found), 2) for part, found in told.items()}
    return {"files": files, **figures, "processes": started}


_PARTS = ("stage", "prepare", "commit", "apply")


def _measured(lab: Lab, content: str) -> tuple[dict[str, float], int]:
    """Sync one changed file; return the seconds of the parts and of all, and how many processes."""
    started = 0
    run = Runner.run

    def counting(runner: Runner, name: str, *arguments: str) -> str:
        nonlocal started
        started += 1
        return run(runner, name, *arguments)

    lab.put("a", content)
    Runner.run = counting  # type: ignore[method-assign]
    began = time.monotonic()
    spent = lab.sync().seconds
    whole = time.monotonic() - began
    Runner.run = run  # type: ignore[method-assign]
    return {**spent, "all": whole}, started


def _bare(number: int) -> float:
    """Return the seconds of the six commands that no transaction can do without."""
    base = f"{PARENT}/.dsg/bare"
    sh("zfs", "create", "-u", f"{base}{number}")
    script = f"""set -e
zfs snapshot {base}{number}@s1
zfs clone {base}{number}@s1 {base}-stage
zfs promote {base}-stage
zfs rename -u {base}{number} {base}-old
zfs rename -u {base}-stage {base}{number}
zfs destroy {base}-old"""
    began = time.monotonic()
    subprocess.run(["sh", "-c", script], check=True)
    spent = time.monotonic() - began
    sh("zfs", "destroy", "-r", f"{base}{number}")
    return spent
