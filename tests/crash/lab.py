# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs under strace: one child of the warm process each, killed or failed where it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .calls import CHANGING, Call, parse

_ROOT = Path(__file__).resolve().parent.parent.parent
_CALLS = ",".join(f"?{name}" for name in CHANGING)


class Ended(NamedTuple):
    """How a child ended: ``status`` as of waitpid(2), ``outcome`` None if it was killed."""

    status: int
    outcome: dict[str, Any] | None
    calls: list[Call]

    @property
    def signal(self) -> int:
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0


class Traced(NamedTuple):
    """A child that waits for its start, and the strace that watches it."""

    pid: int
    strace: subprocess.Popen[str]


class Lab:
    """The warm process, and a place that only it and its children see.

    ``root`` is where scenarios live, ``keep`` where their state before is kept.
    """

    def __init__(self, place: Path, mounts: Sequence[list[str]] = (), root: str = "run") -> None:
        assert os.geteuid() == 0, "the crash tests mount file systems: run them as root"
        self.place = place
        self.root, self.keep = str(place / "fs" / root), str(place / "fs" / "keep")
        (place / "fs").mkdir()
        self.log = place / "strace.log"
        path = os.pathsep.join((str(_ROOT), str(_ROOT / "plugins" / "module_utils")))
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private",
             sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=place,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        if mounts:
            # Mounted by a child, seen by all: they share the warm process's mount namespace.
            self.do("mount", argv=list(mounts))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def ask(self, **command: object) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def do(self, job: str, **arguments: object) -> Any:
        """Do a job without watching it; return what it returned."""
        started = self.ask(do="start", job=job, arguments=arguments)
        answer = self.ask(do="go", pid=started["pid"])
        assert started["ready"] and answer["status"] == 0, f"{job} {arguments}: {answer}"
        return answer["outcome"]

    def start(self, job: str, options: Sequence[str], **arguments: object) -> Traced:
        """Prepare a job and attach strace; :meth:`go` lets it work."""
        started = self.ask(do="start", job=job, arguments=arguments)
        assert started["ready"], f"{job} {arguments} could not be prepared"
        pid = started["pid"]
        strace = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), "-o", str(self.log), *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert strace.stderr is not None
        said = strace.stderr.readline()
        assert "attached" in said, f"strace: {said}"
        return Traced(pid, strace)

    def go(self, traced: Traced) -> Ended | None:
        """Let a child work until it ends; None if it was stopped meanwhile: go on by ``go``."""
        answer = self.ask(do="go", pid=traced.pid)
        if answer["stopped"]:
            return None
        traced.strace.communicate(timeout=60)
        return Ended(answer["status"], answer["outcome"], self.calls())

    def calls(self) -> list[Call]:
        """Return the traced calls so far."""
        return parse(self.log.read_text(encoding="utf-8", errors="replace"))

    def trace(self, job: str, options: Sequence[str] = (), **arguments: object) -> Ended:
        """Do a job under strace; ``options`` choose calls and add faults."""
        ended = self.go(self.start(job, options or ["-e", "trace=all"], **arguments))
        assert ended is not None
        return ended


def watch(*faults: list[str]) -> list[str]:
    """Return strace's options that show every changing call, with the faults."""
    return ["-e", f"trace={_CALLS}", *(option for fault in faults for option in fault)]


def inject(call: Call, fault: str, *, onwards: bool = False) -> list[str]:
    """Return strace's options for a fault at one call, or at all of its name from there on.

    ``signal=...`` arrives when the call is entered; SIGKILL then ends the process before the call is
    carried out. ``error=...`` fails the call without carrying it out.
    """
    when = f"{call.nth}+" if onwards else str(call.nth)
    return ["-e", f"inject={call.name}:{fault}:when={when}"]
