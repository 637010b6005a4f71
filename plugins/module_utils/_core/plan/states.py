# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fifteen states of a path in local (L), cache (C) and remote (R) manifest: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..manifest.entry import Entry

NOTHING = "nothing"
UPLOAD = "upload"
DOWNLOAD = "download"
DELETE_LOCAL = "delete_local"
DELETE_REMOTE = "delete_remote"
UPDATE_CACHE = "update_cache"
DROP_CACHE = "drop_cache"
CONFLICT = "conflict"

STATES: dict[str, str] = {
    "111": NOTHING,
    "111 only R differs": DOWNLOAD,
    "111 only C differs": UPDATE_CACHE,
    "111 only L differs": UPLOAD,
    "111 all differ": CONFLICT,
    "011 C=R": DELETE_REMOTE,
    "011 C≠R": CONFLICT,
    "101 L=R": UPDATE_CACHE,
    "101 L≠R": CONFLICT,
    "110 L=C": DELETE_LOCAL,
    "110 L≠C": CONFLICT,
    "001": DOWNLOAD,
    "010": DROP_CACHE,
    "100": UPLOAD,
    "000": NOTHING,
}
"""Every state and what it asks for; a digit tells whether L, C, R hold the path."""


class PathState(NamedTuple):
    """One path with its three entries and its state (a key of :data:`STATES`)."""

    path: str
    state: str
    local: Entry | None
    cache: Entry | None
    remote: Entry | None


def state_of(local: Entry | None, cache: Entry | None, remote: Entry | None) -> str:
    """Name the state of one path; ``None`` is an absent entry."""
    if local is not None and cache is not None and remote is not None:
        return _all_present(local, cache, remote)
    digits = "".join("0" if entry is None else "1" for entry in (local, cache, remote))
    present = [entry for entry in (local, cache, remote) if entry is not None]
    if len(present) < 2:
        return digits
    names = {"011": "C{}R", "101": "L{}R", "110": "L{}C"}[digits]
    sign = "=" if present[0].same_content(present[1]) else "≠"
    return f"{digits} {names.format(sign)}"


def _all_present(local: Entry, cache: Entry, remote: Entry) -> str:
    local_is_cache = local.same_content(cache)
    cache_is_remote = cache.same_content(remote)
    if local_is_cache and cache_is_remote:
        return "111"
    if local_is_cache:
        return "111 only R differs"
    if cache_is_remote:
        return "111 only L differs"
    return "111 only C differs" if local.same_content(remote) else "111 all differ"


def by_path(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Index entries by path."""
    return {entry.path: entry for entry in entries}


Ignored = Callable[[Entry], bool]


def compare(
    local: Mapping[str, Entry],
    cache: Mapping[str, Entry],
    remote: Mapping[str, Entry],
    ignored: Ignored | None = None,
) -> Iterator[PathState]:
    """Yield every path whose state asks for something, sorted by path.

    Paths that ``ignored`` names are left alone on all sides: a pattern that is added later must not
    look like a deletion.
    """
    for path in sorted(_interesting(local, cache, remote)):
        entries = (local.get(path), cache.get(path), remote.get(path))
        if ignored is not None and any(entry is not None and ignored(entry) for entry in entries):
            continue
        state = state_of(*entries)
        if STATES[state] != NOTHING:
            yield PathState(path, state, *entries)


def _interesting(
    local: Mapping[str, Entry], cache: Mapping[str, Entry], remote: Mapping[str, Entry]
) -> set[str]:
    """Return the paths that are not plainly the same everywhere (cheap, may hold too many)."""
    found: set[str] = set()
    for path, entry in local.items():
        if not (_same(entry, cache.get(path)) and _same(entry, remote.get(path))):
            found.add(path)
    found.update(cache.keys() - local.keys())
    found.update(remote.keys() - local.keys())
    return found


def _same(entry: Entry, other: Entry | None) -> bool:
    return other is not None and (entry is other or entry.same_content(other))


Entries = dict[str, Entry]
