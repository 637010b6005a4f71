# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be seen of both sides, as plain data that compares bit for bit."""

from __future__ import annotations

import hashlib
import os
import stat

from .scenarios import REPOSITORY

Listing = dict[str, list[object]]

_RECORDS = (".dsg/repositories", ".dsg/names")
_CLIENT_KEEPS = {"lock", "fleet.lock", "scan.lock", "index", "staging", "repositories", "backup"}
_CLIENT_KEEPS |= {"names"}
_CONTAINER_KEEPS = {"format.json", f"{REPOSITORY}.lock", REPOSITORY}


def state(root: str, client: str = "wc") -> dict[str, object]:
    """Return both sides: content, modes, link targets, times of files, records; and what is left.

    ``client`` is working copy, last-sync record and kept losers of conflicts; ``repository`` the
    published tree with manifest and history, and the older snapshots. ``left`` names everything that
    has no business there once no run is under way.
    """
    copy = os.path.join(root, client)
    base = os.path.join(root, "base")
    content = listing(copy, without=".dsg")
    content.pop("", None)  # an empty root that a clone made is as good as none
    return {
        "client": {
            "content": content,
            "cache": _inside(os.path.join(copy, ".dsg", "repositories")),
            "backup": _inside(os.path.join(copy, ".dsg", "backup")),
            "names": _inside(os.path.join(copy, ".dsg", "names")),
        },
        "repository": {
            "live": listing(os.path.join(base, REPOSITORY)),
            "snapshots": listing(os.path.join(base, ".dsg", REPOSITORY)),
        },
        "left": _left(copy, base),
    }


def listing(root: str, without: str = "") -> Listing:
    """Return path → what is there, '' being the root; empty where the root is absent."""
    found: Listing = {}
    if os.path.lexists(root):
        _collect(root, "", without, found)
    return found


def _collect(root: str, path: str, without: str, found: Listing) -> None:
    full = os.path.join(root, path) if path else root
    seen = os.lstat(full)
    mode = stat.S_IMODE(seen.st_mode)
    if stat.S_ISLNK(seen.st_mode):
        found[path] = ["link", os.readlink(full)]
    elif stat.S_ISDIR(seen.st_mode):
        found[path] = ["directory", mode]
        for name in sorted(os.listdir(full)):
            if path or name != without:
                _collect(root, f"{path}/{name}" if path else name, without, found)
    else:
        with open(full, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        # When a record was written is no part of what it says; a file's time is content.
        is_record = root.endswith(_RECORDS) or "/.dsg/" in f"/{path}"
        time = 0 if is_record else seen.st_mtime_ns
        found[path] = ["file", mode, time, seen.st_size, digest]


def _inside(root: str) -> Listing:
    found = listing(root)
    found.pop("", None)
    return found


def _left(copy: str, base: str) -> list[str]:
    metadata, container = os.path.join(copy, ".dsg"), os.path.join(base, ".dsg")
    found = [f"wc/.dsg/{name}" for name in _names(metadata) if name not in _CLIENT_KEEPS]
    found += [f"wc/.dsg/staging/{name}" for name in _names(os.path.join(metadata, "staging"))]
    found += [f"base/.dsg/{name}" for name in _names(container) if name not in _CONTAINER_KEEPS]
    found += [f"base/{name}" for name in _names(base) if name not in (".dsg", REPOSITORY)]
    return found


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def difference(wanted: object, found: object, where: str = "") -> list[str]:
    """Return where two states differ, one line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted(wanted.keys() | found.keys())
            for line in difference(wanted.get(key), found.get(key), f"{where}/{key}")
        ]
    return [] if wanted == found else [f"{where}: {wanted!r} became {found!r}"]
