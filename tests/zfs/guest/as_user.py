# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a part of a case as an ordinary user, while the case itself stays root."""

from __future__ import annotations

import os
import pickle
import pwd
import subprocess
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from _core.errors import DsgError

Act = Callable[[], object]

_acts: list[Act] = []
_channel: list[int] = []


class Crashed(AssertionError):
    """What ran as the user ended with something that is no error of ours."""


class Refused(DsgError):
    """An error of ours, as it came from the other process."""

    def __init__(self, found: dict[str, Any]) -> None:
        code, host = found.pop("code"), found.pop("host")
        super().__init__(found.pop("message"), **found)
        self.code = code
        self.host = host


def later(act: Act) -> Act:
    """Return a function that has ``act`` done by root, whoever calls it in a process forked later."""
    number = len(_acts)
    _acts.append(act)

    def call() -> None:
        if os.geteuid() == 0:
            act()
            return
        told, reply = _channel
        os.write(told, pickle.dumps(("act", number)))
        os.read(reply, 1)

    return call


def by_root(argv: Sequence[str]) -> tuple[int, str, str]:
    """Have root run a command; return its status and what it said. For what runs as a user."""
    told, reply = _channel
    os.write(told, pickle.dumps(("run", list(argv))))
    with os.fdopen(os.dup(reply), "rb") as stream:  # buffered: a long answer comes in pieces
        said: tuple[int, str, str] = pickle.load(stream)
    return said


def _run(argv: list[str]) -> bytes:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return pickle.dumps((done.returncode, done.stdout, done.stderr))


def as_user(name: str, work: Callable[[], Any]) -> Any:
    """Do the work in a child that is this user; return or raise what it did."""
    told_r, told_w = os.pipe()
    reply_r, reply_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told_r)
        os.close(reply_w)
        _channel[:] = [told_w, reply_r]
        _live(name, work, told_w)
    os.close(told_w)
    os.close(reply_r)
    with os.fdopen(told_r, "rb") as stream, os.fdopen(reply_w, "wb", buffering=0) as reply:
        kind, said = pickle.load(stream)
        while kind in ("act", "run"):
            if kind == "act":
                _acts[said]()
            reply.write(b"." if kind == "act" else _run(said))
            kind, said = pickle.load(stream)
    os.waitpid(pid, 0)
    if kind == "refused":
        raise Refused(said)
    if kind == "crashed":
        raise Crashed(said)
    return said


def _live(name: str, work: Callable[[], Any], told: int) -> None:
    try:
        become(name)
        said = ("done", work())
    except DsgError as exc:
        said = ("refused", exc.as_dict())
    except BaseException:
        said = ("crashed", traceback.format_exc())
    with os.fdopen(told, "wb") as stream:
        pickle.dump(said, stream)
    os._exit(0)


def become(name: str) -> None:
    """Turn this process into the user's, for good."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def give(name: str, place: str) -> None:
    """Let everything at and below a directory belong to the user."""
    user = pwd.getpwnam(name)
    for directory, folders, files in os.walk(place):
        os.chown(directory, user.pw_uid, user.pw_gid)
        for found in (*folders, *files):
            os.lchown(os.path.join(directory, found), user.pw_uid, user.pw_gid)
