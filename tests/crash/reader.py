# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a published tree over and over; every file of it holds the number of its generation.

Run as a program with the tree as its argument: prints figures as JSON once stdin is closed.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections import Counter

FILES = ("a", "deep/b", "deep/er/c", "moved/by-{generation}", "d")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def paths(generation: int) -> list[str]:
    """Return the paths of a generation's tree; one of them has a name of its own."""
    return [name.format(generation=generation) for name in FILES]


def watch(live: str) -> dict[str, int]:
    """Read until stdin is closed; count what a reader must never see."""
    seen: Counter[str] = Counter()
    last = 0
    stopped = False
    while not stopped:  # once more behind the last commit, too
        stopped = bool(select.select([sys.stdin], [], [], 0)[0])
        generation = _whole_view(live, seen)
        last = max(last, _by_path(live, last, seen), generation)
        seen["rounds"] += 1
    return {**seen, "last": last}


def _whole_view(live: str, seen: Counter[str]) -> int:
    """Read every file by way of one opened directory: all are of one generation."""
    try:
        root = os.open(live, _DIRECTORY)
    except FileNotFoundError:
        seen["gaps"] += 1
        return 0
    try:
        names = os.listdir(f"/proc/self/fd/{root}/moved")
        generation = int(names[0].rpartition("-")[2])
        found = {_read(path, root) for path in paths(generation)}
        seen["reads"] += len(FILES)
        if found != {generation} or len(names) != 1:
            seen["mixtures"] += 1
        return generation
    except FileNotFoundError:
        seen["gaps"] += 1
        return 0
    finally:
        os.close(root)


def _by_path(live: str, last: int, seen: Counter[str]) -> int:
    """Read one file by its whole path: it is always there, and never older than before."""
    try:
        generation = _read(f"{live}/deep/er/c", None)
    except FileNotFoundError:
        seen["gaps"] += 1
        return 0
    seen["reads"] += 1
    if generation < last:
        seen["went back"] += 1
    return generation


def _read(path: str, root: int | None) -> int:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return int(os.read(fd, 100))
    finally:
        os.close(fd)


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1])))
