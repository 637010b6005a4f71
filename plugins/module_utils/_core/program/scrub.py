# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scrub pools, unless somebody (a distribution's own timer) did it lately; tell of what was found."""

from __future__ import annotations

import re
import time

from ..errors import DsgError, capped
from ..zfs.command import Runner
from .report import FINDING, Result, failed

SCRUB = "scrub"

_ENDED = re.compile(
    r"scan: scrub repaired .* with (\d+) errors on (\w{3} +\w{3} +\d+ [\d:]+ \d{4})$"
)
_RUNS = re.compile(r"scan: scrub in progress")
_DAY = 86400.0
_LISTED = 40


def run(pool: str, after_days: float) -> Result:
    """Scrub a pool and wait for the end; with one that ended less than that many days ago, only look."""
    runner = Runner()
    try:
        done = _scrub(runner, pool, after_days)
        status = runner.run("zpool", "status", "-v", pool)
    except (DsgError, OSError) as exc:
        return failed(pool, exc)
    findings = problems(status)
    return Result(pool, FINDING if findings else 0, [done], findings)


def _scrub(runner: Runner, pool: str, after_days: float) -> str:
    status = runner.run("zpool", "status", pool)
    age = ended_ago(status, time.time())
    # One that ended in the future, by a clock that was ahead, tells nothing of how old it is.
    if age is not None and 0 <= age < after_days * _DAY:
        return f"not scrubbed, as the last scrub ended {age / _DAY:.1f} days ago"
    if is_running(status):
        runner.run("zpool", "wait", "-t", "scrub", pool)
        return "waited for a scrub that was running"
    runner.run("zpool", "scrub", "-w", pool)
    return "scrubbed"


def is_running(status: str) -> bool:
    """Tell from ``zpool status`` whether a scrub runs."""
    return any(_RUNS.match(line.strip()) for line in status.splitlines())


def ended_ago(status: str, now: float) -> float | None:
    """Return how many seconds ago ``zpool status`` says that the last scrub ended, None if none did."""
    for line in status.splitlines():
        found = _ENDED.match(line.strip())
        if found:
            ended = time.mktime(time.strptime(" ".join(found[2].split()), "%a %b %d %H:%M:%S %Y"))
            return now - ended
    return None


def problems(status: str) -> list[str]:
    """Return the lines of ``zpool status`` if the pool is not in perfect health, else nothing."""
    lines = [line.strip() for line in status.splitlines() if line.strip()]
    words = dict(line.split(": ", 1) for line in lines if ": " in line)
    ended = [_ENDED.match(line) for line in lines]
    errors = any(found is not None and found[1] != "0" for found in ended)
    healthy = words.get("state") == "ONLINE" and words.get("errors") == "No known data errors"
    # "status:" tells of anything else, be it only errors that were repaired; features are no error.
    said = words.get("status", "")
    upgrade = "features" in said or "feature" in said
    if healthy and not errors and (not said or upgrade):
        return []
    return capped(lines, _LISTED)
