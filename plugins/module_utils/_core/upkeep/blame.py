# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who changed a path last, and every version that it ever had."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from ..backends.base import LocalRepository
from ..errors import RepositoryError
from ..manifest.delta import Step
from ..manifest.entry import DIRECTORY, Entry
from ..manifest.header import Header
from ..manifest.paths import check_paths
from .criteria import Authors, Paths, Period, needle, user_of
from .history import History, newest_header
from .log import ADDED, CHANGED, DELETED


def blame(
    repository: LocalRepository,
    *,
    paths: Sequence[str] = (),
    deleted: bool = False,
    since: str = "",
    until: str = "",
    author: str = "",
    limit: int = 0,
) -> dict[str, Any]:
    """Return for each path when it was changed last, sorted by path.

    ``paths`` are as in :mod:`.criteria` (none: the whole tree); with ``deleted`` those that are gone
    are there as well. ``since``, ``until`` and ``author`` select by that last change, the author by who
    changed the path. ``limit`` is how many paths are wanted (0: all). The answer has ``snapshot`` (the
    newest one), ``total`` (paths found) and ``paths``, each with ``path``, ``change`` (added, changed,
    deleted), ``snapshot``, ``created_at``, ``user`` (who changed it), ``created_by`` (who published
    that), ``message`` and ``size``. The author may be asked for as ``user@host`` where the same one
    changed and published it: nothing tells the host of another one.

    Raises :class:`ManifestError` that names the step where the history cannot be read, and
    :class:`ArgumentError`.
    """
    selected, period, authors = Paths(paths), Period(since, until), Authors(author)
    newest = newest_header(repository)
    period.require_known(newest.snapshot)
    found = [
        last
        for last in _last_changes(History(repository.tree(), newest), selected)
        if (deleted or last.entry is not None)
        and period.holds(last.header)
        and authors.match(_who(last.header, last.entry))
    ]
    found.sort(key=lambda last: last.path)
    shown = found[:limit] if limit else found
    return {
        "snapshot": newest.snapshot,
        "total": len(found),
        "paths": [last.as_dict() for last in shown],
    }


class _Last:
    """The newest change of a path; ``entry`` is what was put there, None for a deletion.

    ``kind`` is that of what was put or deleted; the latter only the step that had put it tells.
    """

    __slots__ = ("change", "entry", "header", "kind", "path")

    def __init__(self, path: str, entry: Entry | None, header: Header) -> None:
        self.path = path
        self.entry = entry
        self.header = header
        self.kind = "" if entry is None else entry.kind
        self.change = DELETED if entry is None else ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "change": self.change or ADDED,
            "snapshot": self.header.snapshot,
            "created_at": self.header.created_at,
            "user": _user(self.header, self.entry),
            "created_by": self.header.created_by,
            "message": self.header.message,
            "size": 0 if self.entry is None else self.entry.size,
        }


def _user(header: Header, entry: Entry | None) -> str:
    """Return who changed a path; a deletion is of who published it."""
    return user_of(header.created_by) if entry is None else entry.user


def _who(header: Header, entry: Entry | None) -> str:
    """Return who changed a path as ``user@host``, or the user alone where another one published it."""
    user = _user(header, entry)
    return header.created_by if user == user_of(header.created_by) else user


def _last_changes(history: History, selected: Paths) -> list[_Last]:
    """Return the newest change of each path. All of the history is read: a path may be as old as that.

    What a path is by its newest change decides whether it is selected, not what it was before.
    """
    found: dict[str, _Last] = {}
    for step in history.steps():
        if selected.may_be_in(step.body):
            _take(step, selected, found)
    return [last for last in found.values() if selected.match(last.path, last.kind == DIRECTORY)]


def _take(step: Step, selected: Paths, found: dict[str, _Last]) -> None:
    puts, deletes = step.changes()
    for entry in puts:
        last = found.get(entry.path)
        if last is not None:
            last.change = last.change or CHANGED
            last.kind = last.kind or entry.kind
        elif selected.may_match(entry.path):
            found[entry.path] = _Last(entry.path, entry, step.header)
    for path in deletes:
        last = found.get(path)
        if last is not None:
            last.change = last.change or ADDED
        elif selected.may_match(path):
            found[path] = _Last(path, None, step.header)


def versions(
    repository: LocalRepository, *, path: str, since: str = "", until: str = "", author: str = ""
) -> dict[str, Any]:
    """Return every version of one path, the newest first.

    ``since``, ``until`` and ``author`` select versions by when they were published and by who changed the
    path. The answer has ``snapshot`` (the newest one) and ``versions``, each with ``snapshot``,
    ``created_at``, ``created_by``, ``message``, ``user``, ``change`` (added, changed, deleted), ``type``
    ('' for a deletion, as the rest), ``size``, ``sha256``, ``mode`` (octal text), ``target``; ``until``
    (the last snapshot that had this version), ``kept`` (whether this very snapshot's tree is there) and
    ``restorable_from`` (the newest snapshot with this version whose tree is there, 0 for none).

    Raises :class:`RepositoryError` for a path that was never published.
    """
    check_paths([path])
    period, authors = Period(since, until), Authors(author)
    newest = newest_header(repository)
    period.require_known(newest.snapshot)
    found = list(_changes_of(History(repository.tree(), newest), path))
    if not found:
        raise RepositoryError(
            "this path was never published",
            object=path,
            next_step="Correct it; a blame of the whole tree, deleted paths included, names all.",
        )
    told = _versions(found, newest.snapshot, repository.snapshots())
    shown = [
        version
        for (header, entry), version in zip(found, told)
        if period.holds(header) and authors.match(_who(header, entry))
    ]
    return {"snapshot": newest.snapshot, "versions": shown}


def _versions(
    changes: Sequence[tuple[Header, Entry | None]], newest: int, kept: Sequence[int]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    last = newest
    for header, entry in changes:
        if found and not found[-1]["change"]:
            found[-1]["change"] = ADDED if entry is None else CHANGED
        found.append(_version(header, entry, last, kept))
        last = header.snapshot - 1
    found[-1]["change"] = found[-1]["change"] or ADDED
    return found


def _changes_of(history: History, path: str) -> Iterator[tuple[Header, Entry | None]]:
    spelled = needle(path.encode())
    for step in history.steps():
        if spelled not in step.body:
            continue
        puts, deletes = step.changes()
        for entry in puts:
            if entry.path == path:
                yield step.header, entry
        if path in deletes:
            yield step.header, None


def _version(
    header: Header, entry: Entry | None, until: int, kept: Sequence[int]
) -> dict[str, Any]:
    at = bisect_right(kept, until)
    last_kept = kept[at - 1] if at else 0
    is_there = entry is not None and last_kept >= header.snapshot
    version: dict[str, Any] = {
        "snapshot": header.snapshot,
        "created_at": header.created_at,
        "created_by": header.created_by,
        "message": header.message,
        "user": _user(header, entry),
        "change": DELETED if entry is None else "",
        "until": until,
        "kept": header.snapshot in kept,
        "restorable_from": last_kept if is_there else 0,
    }
    wanted = entry or Entry("", "", 0, 0, 0, "", "", "")
    mode = f"{wanted.mode:04o}" if wanted.sha256 else ""
    return {
        **version,
        "type": wanted.kind,
        "size": wanted.size,
        "sha256": wanted.sha256,
        "mode": mode,
        "target": wanted.target,
    }
