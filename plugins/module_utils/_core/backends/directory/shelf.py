# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Older snapshots of the directory backend: what there is, who uses it, and how one is removed.

A snapshot that is to go first gets a name that is none (``T.doomed.s<N>``), durably, so that a crash
leaves a whole snapshot or something that any recovery removes; never half a snapshot.
"""

from __future__ import annotations

import os
import stat

from ...errors import RepositoryError, from_oserror
from ...manifest.header import Header
from ...posix import mounted
from ...posix.durable import sync_directory
from ...posix.remove import remove_tree_at
from ...posix.syscalls import rename_noreplace
from .. import published
from ..base import Removal, Shelf, Stored
from ..standing import Holder
from .layout import Layout
from .standing import mounts_of

_AT_CWD = -100


def look(layout: Layout, head: Header) -> Shelf:
    """Return what is kept; a manifest that cannot be read is an error, as is a failing listing."""
    stored, foreign = [], []
    numbers = layout.kept()
    for name in layout.shelved():
        if name not in {f"s{number}" for number in numbers}:
            foreign.append(name)
    places = {number: layout.snapshot(number) for number in numbers}
    if head.txn in layout.staged():  # recovery is going to give it its name
        places[head.snapshot - 1] = layout.stage(head.txn)
    seen = mounted.everywhere() if places else []
    for number, path in sorted(places.items()):
        header = _header(path, layout.name)
        if header is None or header.snapshot != number:
            foreign.append(f"s{number}")
        else:
            in_use = [_said(holder, path) for holder in mounts_of(path, seen)]
            stored.append(Stored(number, header.id, "; ".join(in_use)))
    return Shelf([*stored, Stored(head.snapshot, head.id, "")], sorted(foreign))


def _header(path: str, name: str) -> Header | None:
    """Return a snapshot's header, None for a file, a link, or a directory that is no snapshot."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return None
    try:
        return published.read_header(path, name)
    except RepositoryError:
        return None


def _said(holder: Holder, path: str) -> str:
    is_in_it = not holder.pid and f"{holder.place}/".startswith(f"{os.path.realpath(path)}/")
    return f"{holder.place} is mounted in it" if is_in_it else f"it is {holder}"


def mounted_at(layout: Layout, path: str, numbers: list[int]) -> int | None:
    """Return the number of the snapshot that is mounted at ``path``, None for anything else."""
    seen = os.stat(path)
    for number in numbers:
        place = layout.live if number == numbers[-1] else layout.snapshot(number)
        tree = os.stat(place)
        if (tree.st_dev, tree.st_ino) == (seen.st_dev, seen.st_ino):
            return number
    return None


def remove(layout: Layout, number: int) -> Removal:
    """Remove an older snapshot; what fails behind its renaming is for the next recovery."""
    rename_noreplace(layout.snapshot(number), _AT_CWD, layout.doomed(number), _AT_CWD)
    try:
        _clear(layout, number)
    except OSError as exc:
        error = from_oserror(exc, "removing")
        return Removal(
            True, f"what is left of s{number} waits in {layout.doomed(number)}: {error.message}"
        )
    return Removal(True, "")


def _clear(layout: Layout, number: int) -> None:
    """Remove the tree once its new name is on disk: a power cut must not bring back half of it."""
    sync_directory(layout.snapshots)
    sync_directory(layout.container)
    remove_tree_at(layout.doomed(number))


def collect(layout: Layout) -> list[str]:
    """Remove what dead removals left; return what was done."""
    done = []
    for number in layout.doomed_numbers():
        _clear(layout, number)
        done.append(f"removed the rest of snapshot s{number}, which was pruned")
    return done
