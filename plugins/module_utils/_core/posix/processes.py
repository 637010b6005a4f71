# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which processes use a tree or hold a lock, as far as /proc shows them to this user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from typing import NamedTuple

MOST = 20
"""So many are named at most: nobody reads more, and each costs a look."""


class User(NamedTuple):
    """A process, and the path that it is in ('' where it has none any more)."""

    pid: int
    command: str
    user: str
    path: str = ""


def describe(pid: int, path: str = "") -> User:
    """Return a process's short name and whose it is; one that ended is called so."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            command = stream.read().strip()
        user = name_of(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return User(pid, "ended", "nobody", path)
    return User(pid, command, user, path)


def name_of(uid: int) -> str:
    """Return a user's name, or the number of one that has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def pids() -> list[int]:
    """Return the numbers of all processes but this one."""
    found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return sorted(pid for pid in found if pid != os.getpid())


def inside(root: str) -> list[User]:
    """Return the processes with their directory, their program or an open file in a tree.

    The kernel tells where a file is now, so a tree that was renamed is found under its new name.
    """
    prefix = root.rstrip("/") + "/"
    return users(lambda link, path: path == root or path.startswith(prefix))


def users(is_meant: Callable[[str, str], bool]) -> list[User]:
    """Return the processes that have a link that is meant, judged by the link and what it shows."""
    found = []
    for pid in pids():
        for link in _links(pid):
            try:
                path = os.readlink(link)
            except OSError:
                continue
            if is_meant(link, path):
                found.append(describe(pid, path))
                break
        if len(found) >= MOST:
            break
    return found


def _links(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}"
    yield from (f"{folder}/cwd", f"{folder}/root", f"{folder}/exe")
    try:
        names = os.listdir(f"{folder}/fd")
    except OSError:  # it ended, or it is not ours to look at
        return
    yield from (f"{folder}/fd/{name}" for name in names)


def lock_holders(path: str, *, shared: bool = False) -> list[User]:
    """Return the processes that hold a lock file exclusively, or at all; nobody waits for anybody by this."""
    kinds = ("WRITE", "READ") if shared else ("WRITE",)
    try:
        wanted = os.stat(path)
        with open("/proc/locks", encoding="ascii", errors="replace") as stream:
            lines = [line.split() for line in stream]
    except OSError:  # nobody ever held it, or the system keeps it to itself
        return []
    held = {
        int(fields[4])
        for fields in lines
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[3] in kinds
        if _is_file(fields[5], wanted)
    }
    return [describe(pid) for pid in sorted(held - {os.getpid()}) if pid > 0]


def _is_file(text: str, wanted: os.stat_result) -> bool:
    """Compare ``fd:01:1234`` with a file; subvolumes show another device number than the kernel's."""
    major, minor, inode = text.split(":")
    if int(inode) != wanted.st_ino:
        return False
    device = os.makedev(int(major, 16), int(minor, 16))
    return device == wanted.st_dev or (os.major(wanted.st_dev) == 0 == int(major, 16))
