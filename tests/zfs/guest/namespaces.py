# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers with a mount namespace of their own, as services and containers have: who gets the new tree."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from _core.sync.status import inspect
from guest.lab import MOUNTPOINT, Lab, sh


class Way(NamedTuple):
    """How a namespace gets its mounts, what is mounted in it at ``data``, and where it is read."""

    propagation: str
    mounting: str
    read: str
    follows: bool


WAYS = {
    "as PrivateTmp": Way("slave", "true", "{path}", True),
    "-v /srv/dsg:/data:rslave": Way("slave", "mount --rbind {parent} {data}", "{in_data}", True),
    "-v /srv/dsg:/data": Way(
        "slave",
        "mount --rbind {parent} {data} && mount --make-rprivate {data}",
        "{in_data}",
        False,
    ),
    "-v /srv/dsg/spaced:/data:rslave": Way("slave", "mount --rbind {path} {data}", "{data}", False),
    "private": Way("private", "true", "{path}", False),
}


def readers() -> None:
    """Who follows the host's mounts has the new tree; others keep theirs, and the host names them."""
    lab = Lab("spaced")
    lab.put("a", "1")
    lab.sync()
    data = f"{lab.home}/data"
    os.mkdir(data)
    places = {"path": lab.path, "parent": MOUNTPOINT, "data": data, "in_data": f"{data}/{lab.name}"}
    with ExitStack() as stack:
        pids = {}
        for name, way in WAYS.items():
            pids[name] = stack.enter_context(_reader(way, places))
            assert _read(pids[name], way, places) == "1"
        for content in ("22", "333"):
            lab.put("a", content)
            waiting = lab.sync().pending_cleanup
            found = {name: _read(pids[name], way, places) for name, way in WAYS.items()}
            assert found == {n: content if way.follows else "1" for n, way in WAYS.items()}, found
            assert len(waiting) == 1 and "busy" in waiting[0], waiting
        (cleanup,) = inspect(lab.request()).cleanups
        told = {(holder["kind"], holder["place"]) for holder in cleanup["holders"]}
        assert told == {("mount", place.format(**places)) for place in _KEPT}, cleanup
    assert any("destroyed" in line for line in lab.recover())
    lab.clean()
    lab.destroy()


_KEPT = {way.read for way in WAYS.values() if not way.follows}


@contextmanager
def _reader(way: Way, places: dict[str, str]) -> Iterator[int]:
    """Have a process in a namespace for the length of the block; it says when all is mounted."""
    script = f"{way.mounting.format(**places)} && echo mounted && exec sleep 600"
    argv = ["unshare", "--mount", "--propagation", way.propagation, "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "mounted\n"
            yield process.pid
        finally:
            process.kill()


def _read(pid: int, way: Way, places: dict[str, str]) -> str:
    return sh("cat", f"/proc/{pid}/root{way.read.format(**places)}/a")
