# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task of the program found: told on the terminal, kept for who is to be alerted."""

from __future__ import annotations

import calendar
import json
import math
import os
import stat
import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import DsgError, LockedError, capped, from_oserror
from ..posix import durable

SOUND, FINDING, FAILED = 0, 1, 2
"""Exit statuses: all is well; something was found; it could not be looked at, or not understood."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_BUSY_HOURS = 20
"""Twice in a row at a time of the day when somebody always works on it is too often."""

_SOUND_RUNS = "sound_runs"
_LARGEST = 4 << 20
_LISTED = 100


@dataclass
class Result:
    """One repository or pool: ``status`` is an exit status, ``done`` what was done about it."""

    subject: str
    status: int = SOUND
    done: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    error: dict[str, object] | None = None
    busy_since: str = ""
    """Since when somebody else worked on it at every run, '' where it could be looked at."""

    def lines(self) -> list[str]:
        """Return it for a person."""
        shown = [f"{self.subject}: {line}" for line in [*self.done, *self.findings]]
        if self.error is not None:
            shown += self._error_lines(self.error)
        return shown or [f"{self.subject}: nothing to report"]

    def _error_lines(self, error: dict[str, object]) -> list[str]:
        """Return what happened to what, what is unchanged, and what to do next."""
        concerned = str(error["object"] or "")
        about = f"{concerned}: " if concerned not in self.subject else ""
        details = error["details"] if isinstance(error["details"], (list, tuple)) else ()
        more = [str(line) for line in (*details, error["unchanged"], error["next_step"]) if line]
        return [
            f"{self.subject}: {about}{error['message']} [{error['code']}]",
            *(f"  {line}" for line in more),
        ]


@dataclass
class Report:
    """One run of a task. ``invocation`` is systemd's name for the run, '' outside of it."""

    task: str
    host: str
    time: str
    invocation: str
    results: list[Result] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The worst of all."""
        return max((one.status for one in self.results), default=SOUND)

    def plain(self) -> dict[str, Any]:
        """Return it as plain data; long lists are cut, and say so."""
        return {
            "format": 1,
            "task": self.task,
            "host": self.host,
            "time": self.time,
            "invocation": self.invocation,
            "status": self.status,
            "results": [_plain(one) for one in self.results],
        }


def _plain(result: Result) -> dict[str, Any]:
    return {
        "subject": result.subject,
        "status": result.status,
        "done": capped(result.done, _LISTED),
        "findings": capped(result.findings, _LISTED),
        "error": result.error,
        "busy_since": result.busy_since,
    }


def begin(task: str) -> Report:
    """Return an empty report of a run that begins now."""
    now = time.strftime(_TIME, time.gmtime())
    return Report(task, os.uname().nodename, now, os.environ.get("INVOCATION_ID", ""))


def failed(subject: str, error: DsgError | OSError) -> Result:
    """Return the result of what could not be looked at."""
    told = error if isinstance(error, DsgError) else from_oserror(error, "looking")
    return Result(subject, FAILED, error=told.as_dict())


def busy(subject: str, error: LockedError, directory: str) -> Result:
    """Return the result of what somebody works on: it is for the next run, unless it was so for long.

    ``directory`` is where the report of the last run is; a person who runs it ('') is told at once.
    """
    if not directory:
        return failed(subject, error)
    now = time.strftime(_TIME, time.gmtime())
    since = _busy_before(subject, directory) or now
    told = [f"left for the next run: {error.message}"]
    if hours_since(since) < _BUSY_HOURS:
        return Result(subject, SOUND, told, busy_since=since)
    found = [f"somebody has worked on it at every run since {since}"]
    return Result(subject, FINDING, told, found, busy_since=since)


def _busy_before(subject: str, directory: str) -> str:
    for one in (kept(directory) or {}).get("results", []):
        if one.get("subject") == subject:
            return str(one.get("busy_since") or "")
    return ""


def hours_since(when: str) -> float:
    """Return how long ago a time was; one that is none was for ever."""
    try:
        return (time.time() - calendar.timegm(time.strptime(when, _TIME))) / 3600
    except (ValueError, OverflowError):
        return math.inf


def keep(report: Report, directory: str) -> None:
    """Keep the report in the state directory that systemd gave to the unit ('': none).

    With it goes how many runs found all well so far: who alerts is not started behind those.
    """
    if directory:
        is_sound = report.status == SOUND and not any(one.busy_since for one in report.results)
        runs = sound_runs(kept(directory)) + is_sound
        text = json.dumps({**report.plain(), _SOUND_RUNS: runs}, indent=1) + "\n"
        durable.replace(_path(directory), [text.encode()], mode=0o640)


def sound_runs(report: dict[str, Any] | None) -> int:
    """Return how many of a unit's runs had found all well when it kept a report."""
    found = (report or {}).get(_SOUND_RUNS)
    return found if isinstance(found, int) else 0


def kept(directory: str) -> dict[str, Any] | None:
    """Return the report that a unit kept, None where there is none that makes sense.

    The directory may belong to a service user: what is in it is data, and is only read if it is a file.
    """
    try:
        found = json.loads(_content(_path(directory)))
    except (OSError, ValueError, RecursionError):
        return None
    return found if _makes_sense(found) else None


def _content(path: str) -> bytes:
    """Return what a file holds, nothing where it is none: a pipe may say anything, or not end."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, _LARGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def is_unreadable(directory: str) -> bool:
    """Tell whether there is something in the place of a report that is none."""
    return kept(directory) is None and os.path.lexists(_path(directory))


def _path(directory: str) -> str:
    return os.path.join(directory, "report.json")


def _makes_sense(found: object) -> bool:
    if not isinstance(found, dict):
        return False
    words = all(isinstance(found.get(key), str) for key in ("task", "host", "time"))
    results = found.get("results")
    return words and isinstance(results, list) and all(isinstance(one, dict) for one in results)
