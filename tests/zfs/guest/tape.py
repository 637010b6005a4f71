# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs work in a child that dies, or meets an error, at a chosen command or mount call."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from _core.backends.zfs.delegated import Delegated
from _core.errors import DsgError
from _core.zfs import mounts
from _core.zfs.command import CommandFailed, Runner
from guest.as_user import become

KILL_BEFORE, KILL_AFTER = "killed before", "killed behind"
ERROR, FALSE_ERROR = "fails", "done, but reported as failed"
STOP_BEFORE, STOP_AFTER = "power cut before", "power cut behind"
_BEFORE = {KILL_BEFORE: signal.SIGKILL, STOP_BEFORE: signal.SIGSTOP}
_AFTER = {KILL_AFTER: signal.SIGKILL, STOP_AFTER: signal.SIGSTOP}
_CHANGES = {"set", "inherit", "create", "clone", "snapshot", "rename", "promote", "destroy"}
_TXN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")


class Fault(NamedTuple):
    """What is to happen at which call: the ``nth`` (from 0) with that label.

    Without a label it is the nth of those that change something, but for those with ``known`` ones.
    """

    label: str
    kind: str
    nth: int = 0
    known: frozenset[str] = frozenset()

    def meets(self, label: str, changes: bool) -> bool:
        """Tell whether a call is one of those that are counted."""
        if self.label:
            return label == self.label
        return changes and label not in self.known


class Outcome(NamedTuple):
    """``end`` is "done", an error's code, "killed" or "stopped"; ``steps`` all calls, if it ended.

    ``hit`` is the call where the fault happened, '' where the work never came that far.
    """

    end: str
    text: str
    steps: list[tuple[str, bool]]
    hit: str


class Tape:
    """Counts the calls of this process, and lets the fault happen."""

    def __init__(self, name: str, fault: Fault | None, answer: int) -> None:
        self.answer = answer
        self.name = name
        self.fault = fault
        self.steps: list[tuple[str, bool]] = []
        self.waiting = -1 if fault is None else fault.nth

    def install(self) -> None:
        """Put itself between the backend and the system."""
        run = Runner.run

        def recorded(runner: Runner, command: str, *arguments: str) -> str:
            def fail() -> None:
                raise CommandFailed((command, *arguments), 1, "injected")

            changes = command == "mount" or arguments[0] in _CHANGES
            changes = changes or (
                command == "zfs" and arguments[0] == "allow" and len(arguments) > 2
            )
            label = f"{command} {self._command(arguments)}"
            return str(self._step(label, changes, lambda: run(runner, command, *arguments), fail))

        Runner.run = recorded  # type: ignore[method-assign]
        for name in ("mount", "make_writable", "unmount", "put_beneath"):
            setattr(mounts, name, self._call(name, getattr(mounts, name)))
        ask = Delegated._ask

        def asked(user: Delegated, verb: str, **names: str) -> list[str]:
            def fail() -> None:
                raise OSError(errno.EIO, "injected", user.layout.live)

            label = f"helper {verb}"
            done = self._step(label, verb != "hello", lambda: ask(user, verb, **names), fail)
            return [str(sentence) for sentence in done]

        Delegated._ask = asked  # type: ignore[method-assign]

    def _call(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def recorded(*arguments: str, **more: Any) -> None:
            def fail() -> None:
                raise OSError(errno.EIO, "injected", arguments[-1])

            label = f"{name}(2) {' '.join(map(self._short, arguments))}"
            self._step(label, True, lambda: function(*arguments, **more), fail)

        return recorded

    def _step(
        self, label: str, changes: bool, act: Callable[[], Any], fail: Callable[[], None]
    ) -> Any:
        kind = ""
        if self.fault is not None and self.fault.meets(label, changes):
            if self.waiting == 0:
                kind = self.fault.kind
                os.write(self.answer, f"{label}\n".encode())
            self.waiting -= 1
        self.steps.append((label, changes))
        if kind in _BEFORE:
            os.kill(os.getpid(), _BEFORE[kind])
        if kind == ERROR:
            fail()
        try:
            done = act()
        finally:  # an ordinary user's clone is made, and reported as failed
            if kind in _AFTER:
                os.kill(os.getpid(), _AFTER[kind])
        if kind == FALSE_ERROR:
            fail()
        return done

    def _command(self, arguments: tuple[str, ...]) -> str:
        verb, *rest = arguments
        if verb == "get":
            return f"get {'properties' if 'all' in rest else 'state'}"
        if verb in ("set", "inherit"):
            record = any(part.startswith("dsg:commit.") for part in rest)
            mark = any(part.startswith("dsg:open") for part in rest)
            what = "commit record" if record else "mark" if mark else "properties"
            return f"{verb} {what}"
        if verb == "-o":  # of mount
            return f"{' '.join(rest[:1])} {self._short(rest[-1])}"
        names = [self._short(part) for part in rest if "/" in part and "=" not in part]
        return f"{verb} {' '.join(names) or ' '.join(rest[:2])}"

    def _short(self, text: str) -> str:
        text = _TXN.sub("", text)
        for kind in ("init", "stage", "old"):
            text = re.sub(rf"\S*/{re.escape(self.name)}\.{kind}\.", kind, text)
        if text.startswith("/run/"):
            return "private" if text.endswith("publish") else "work"
        text = re.sub(r"\S*/\.dsg$", "container", text)
        text = re.sub(rf"^/\S*/{re.escape(self.name)}$", "published", text)
        text = re.sub(r"^/\S*$", "parent", text)
        text = re.sub(rf"\S*/{re.escape(self.name)}(?=@|$)", "live", text)
        return re.sub(r"(?<=@s)[0-9]+$", "N", text)


def attempt(name: str, work: Callable[[], Any], fault: Fault | None, user: str = "") -> Outcome:
    """Do the work in a child, which is that user ('' for root); a stopped one is left as it is."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _live(name, work, fault, user, writing)
    os.close(writing)
    # What it says fits into the pipe, so it can be waited for first.
    _unused, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.close(reading)
        return Outcome("stopped", "", [], "")
    with os.fdopen(reading) as stream:
        lines = stream.read().splitlines()
    if os.WIFSIGNALED(status):
        return Outcome("killed", "", [], lines[0])
    end, text, steps = json.loads(lines[-1])
    hit = lines[0] if len(lines) > 1 else ""
    return Outcome(end, text, [tuple(step) for step in steps], hit)


def _live(name: str, work: Callable[[], Any], fault: Fault | None, user: str, answer: int) -> None:
    tape = Tape(name, fault, answer)
    end, text = "done", ""
    try:
        if user:
            become(user)
        tape.install()
        work()
    except DsgError as exc:
        end, text = exc.code, str(exc)
    except BaseException as exc:
        end, text = "crashed", repr(exc)
    with os.fdopen(answer, "w") as stream:
        json.dump([end, text[:4000], tape.steps], stream)
    os._exit(0)
