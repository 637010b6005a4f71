# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A warm process that forks one child for each run, so that a run costs milliseconds.

It lives in a mount namespace of its own, where it mounts what the runs work on; all of it is gone
with the process. Commands and answers are lines of JSON on stdin and stdout.

``start`` forks a child that prepares a job and then waits; whoever wants to trace it attaches now.
``go`` lets it work and answers with how it ended: ``status`` as of waitpid(2), ``outcome`` what the
job returned (None if it was killed); or with ``stopped`` if a signal stopped it, and then ``go``
continues it. Children are told apart by their ``pid``.
"""

from __future__ import annotations

import codecs
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import traceback
from typing import NoReturn

import _core

from tests.crash import fetches, fleets, jobs, snapshots

# The faults are for the calls of the work, not for those of an import that is put off.
for _found in pkgutil.walk_packages(_core.__path__, f"{_core.__name__}."):
    importlib.import_module(_found.name)
# Codecs are modules too: one that another process compiles meanwhile takes a call less.
for _codec in ("ascii", "latin-1", "utf-8"):
    codecs.lookup(_codec)

_JOBS = {**jobs.JOBS, **fetches.JOBS, **fleets.JOBS, **snapshots.JOBS}


class Child:
    """The process of one job, seen from its parent."""

    def __init__(self, name: str, arguments: dict[str, object]) -> None:
        ready, says_ready = os.pipe()
        gate, self.gate = os.pipe()
        self.outcome, says_outcome = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.gate)
            _live(name, arguments, says_ready, gate, says_outcome)
        for fd in (says_ready, gate, says_outcome):
            os.close(fd)
        self.said = os.read(ready, 65536)
        os.close(ready)
        self.text = b""

    def go(self) -> dict[str, object]:
        """Let the child work until it ends or stops."""
        if self.gate >= 0:
            os.close(self.gate)
            self.gate = -1
        else:
            os.kill(self.pid, signal.SIGCONT)
        os.set_blocking(self.outcome, False)
        status = self._wait()
        if os.WIFSTOPPED(status):
            return {"stopped": True}
        self._drain()
        os.close(self.outcome)
        outcome = json.loads(self.text) if self.text else None
        return {"stopped": False, "status": status, "outcome": outcome}

    def _wait(self) -> int:
        """Wait for the child, and take what it says, lest its pipe runs full."""
        poll = select.poll()
        poll.register(self.outcome, select.POLLIN)
        watched = os.pidfd_open(self.pid)
        poll.register(watched, select.POLLIN)
        try:
            while True:
                pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
                if pid:
                    return status
                poll.poll(2)  # a stop does not wake a pidfd
                self._drain()
        finally:
            os.close(watched)

    def _drain(self) -> None:
        try:
            while block := os.read(self.outcome, 1 << 20):
                self.text += block
        except BlockingIOError:
            return


def _live(name: str, arguments: dict[str, object], ready: int, gate: int, outcome: int) -> NoReturn:
    """The child's whole life."""
    status = 1
    try:
        work = _JOBS[name](**arguments)
        os.write(ready, b"ready")
        os.close(ready)
        waiting = (
            select.poll()
        )  # by a call that nobody counts: it may be under way when strace comes
        waiting.register(gate, select.POLLHUP)
        waiting.poll()
        said = json.dumps(work()).encode()
        os.set_blocking(outcome, True)
        while said:
            said = said[os.write(outcome, said) :]
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def serve() -> None:
    """Answer commands until stdin ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    children: dict[int, Child] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            child = Child(command["job"], command["arguments"])
            children[child.pid] = child
            answer: dict[str, object] = {"pid": child.pid, "ready": child.said == b"ready"}
        else:
            answer = children[command["pid"]].go()
            if not answer["stopped"]:
                del children[command["pid"]]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
