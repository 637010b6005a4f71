# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run whole commands in turn and compare their medians."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, NamedTuple


class Options(NamedTuple):
    """``quick`` asks for small corpora; ``rounds`` is how often each command runs."""

    base: Path
    quick: bool
    rounds: int


class Run(NamedTuple):
    """Wall and processor time in seconds, peak memory in MiB (of the largest process).

    Processor time tells how we compare where the machine has other things to do as well.
    """

    seconds: float
    cpu: float
    mib: float


class Command(NamedTuple):
    """A command to measure; ``before`` runs ahead of every round and is not measured."""

    argv: Sequence[str]
    cwd: Path | None = None
    before: Callable[[], object] | None = None


def run(command: Command) -> Run:
    """Run once, its output thrown away; a failing command is an error."""
    if command.before is not None:
        command.before()
    start = time.perf_counter()
    process = subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _unused, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command.argv} ended with {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(title: str, commands: Mapping[str, Command], rounds: int) -> dict[str, Run]:
    """Measure all commands in turn, round by round, print a table, return the medians.

    The first command is ours; the others' column ``ours/peer`` says how we compare. A warm-up
    round is not counted. A peer that is not installed is listed as such.
    """
    present = {name: c for name, c in commands.items() if shutil.which(c.argv[0])}
    for command in present.values():
        run(command)
    runs: dict[str, list[Run]] = {name: [] for name in present}
    for _unused in range(rounds):
        for name, command in present.items():
            runs[name].append(run(command))
    medians = {
        name: Run(
            statistics.median(r.seconds for r in all_runs),
            statistics.median(r.cpu for r in all_runs),
            max(r.mib for r in all_runs),
        )
        for name, all_runs in runs.items()
    }
    _print(title, commands, medians, rounds)
    return medians


def _print(
    title: str, commands: Mapping[str, Command], medians: Mapping[str, Run], rounds: int
) -> None:
    ours = next(iter(medians.values()))
    print(f"\n{title} (median of {rounds})")
    print(f"  {'':34}{'seconds':>9}{'ours/peer':>11}{'CPU s':>8}{'MiB':>6}")
    for name in commands:
        if name not in medians:
            print(f"  {name:34}  not installed")
            continue
        found = medians[name]
        ratio = "" if found is ours else f"{ours.seconds / found.seconds:.2f}"
        print(
            f"  {name:34}{found.seconds:9.3f}{ratio:>11}{found.cpu:8.2f}{found.mib:6.0f}",
            flush=True,
        )
