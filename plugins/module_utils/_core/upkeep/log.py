# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was published when, by whom, and what for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Optional

from ..backends.base import LocalRepository
from ..manifest.delta import Step
from ..manifest.entry import DIRECTORY, Entry
from ..manifest.header import Header
from .criteria import Authors, Paths, Period, user_of
from .history import History, newest_header

ADDED, CHANGED, DELETED = "added", "changed", "deleted"


def log(
    repository: LocalRepository,
    *,
    since: str = "",
    until: str = "",
    author: str = "",
    paths: Sequence[str] = (),
    limit: int = 0,
    counts: bool = True,
    with_paths: bool = False,
) -> dict[str, Any]:
    """Return the steps of the history that are asked for, the newest first.

    ``since``, ``until``, ``author`` and ``paths`` are as in :mod:`.criteria`; ``limit`` is how many
    steps are wanted (0: all). The answer has ``snapshot`` (the newest one), ``steps``, and
    ``truncated``: whether the limit left older ones out. A step has ``snapshot``, ``created_at``,
    ``created_by``, ``message``, ``txn``, ``manifest_digest``, ``kept`` (whether its tree is there to be
    read and restored), ``files`` and ``bytes`` of the whole tree; with ``counts`` also ``added``,
    ``changed``, ``deleted`` (numbers of paths) and ``written_bytes`` (of the files put); with
    ``with_paths`` also ``paths``: those of its paths that ``paths`` selects, each with ``path``,
    ``change``, ``size`` and ``user``.

    The history is read and checked from its newest step back as far as the answer needs it. Raises
    :class:`ManifestError` that names the step where that is not possible, and :class:`ArgumentError`.
    """
    period = Period(since, until)
    newest = newest_header(repository)
    period.require_known(newest.snapshot)
    kept = set(repository.snapshots())
    log = _Log(period, Authors(author), Paths(paths), limit, counts, with_paths)
    log.read(History(repository.tree(), newest))
    for row in log.rows:
        row["kept"] = row["snapshot"] in kept
    return {"snapshot": newest.snapshot, "steps": log.rows, "truncated": log.truncated}


class _Log:
    """The answer as it grows, from the newest step to older ones."""

    def __init__(
        self,
        period: Period,
        authors: Authors,
        paths: Paths,
        limit: int,
        counts: bool,
        with_paths: bool,
    ) -> None:
        self._period = period
        self._authors = authors
        self._paths = paths
        self._limit = limit
        self._counts = counts
        self._with_paths = with_paths
        self._totals = {0: 0}  # snapshot: entries in its tree
        # Whether what was put is new is told by the step before that has the path.
        self._undecided: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.truncated = False

    def read(self, history: History) -> None:
        """Read as far back as there is something to learn."""
        for step in self._steps(history):
            self._totals[step.header.snapshot] = step.header.total
            if not self._is_done(step.header.snapshot):
                self._take(step)
            if self._is_done(step.header.snapshot):
                break  # the step before may be damaged without anybody's needing it
        for change in self._undecided.values():
            change["change"] = ADDED
        if self._counts:
            for row in self.rows:
                self._split_puts(row)

    def _steps(self, history: History) -> Iterator[Step]:
        if self._counts or self._with_paths or self._paths:
            return history.steps()
        return (Step(header, b"", 0, "") for header in history.headers())

    def _is_done(self, number: int) -> bool:
        """Tell whether this step and older ones add nothing; the counts need one more than is shown."""
        return (self.truncated or number < self._period.first) and not self._undecided

    def _take(self, step: Step) -> None:
        is_wanted = self._period.holds(step.header) and self._authors.match(step.header.created_by)
        if not is_wanted and not self._undecided:
            return
        touched: list[_Touched] = []
        if self._paths or self._with_paths:
            touched = self._touched(step)
            self._decide(touched)
            is_wanted = is_wanted and (bool(touched) or not self._paths)
        if not is_wanted:
            return
        if self._limit and len(self.rows) >= self._limit:
            self.truncated = True
            return
        self.rows.append(self._row(step, touched))

    def _touched(self, step: Step) -> list[_Touched]:
        """Return the paths that a step changed and that are asked for."""
        if not self._paths.may_be_in(step.body):
            return []
        puts, deletes = step.changes()
        found: list[_Touched] = [
            (one.path, one) for one in puts if self._paths.match(one.path, one.kind == DIRECTORY)
        ]
        found += [(path, None) for path in deletes if self._paths.match(path)]
        return sorted(found, key=_path_of)

    def _decide(self, touched: Sequence[_Touched]) -> None:
        if not self._undecided:
            return
        for path, entry in touched:
            change = self._undecided.pop(path, None)
            if change is not None:
                change["change"] = ADDED if entry is None else CHANGED

    def _row(self, step: Step, touched: Sequence[_Touched]) -> dict[str, Any]:
        row = _facts(step.header)
        if self._counts:
            row["added"], row["deleted"], row["written_bytes"] = step.counts()
        if self._with_paths:
            row["paths"] = [self._change(step.header, *one) for one in touched]
        return row

    def _change(self, header: Header, path: str, entry: Entry | None) -> dict[str, Any]:
        if entry is None:
            user = user_of(header.created_by)
            return {"path": path, "change": DELETED, "size": 0, "user": user}
        change = {"path": path, "change": "", "size": entry.size, "user": entry.user}
        self._undecided[path] = change
        return change

    def _split_puts(self, row: dict[str, Any]) -> None:
        """Tell what was put into new paths and changed ones: by how much the tree grew."""
        number, puts = row["snapshot"], row["added"]
        grown = self._totals[number] - self._totals[number - 1]
        row["added"] = grown + row["deleted"]
        row["changed"] = puts - row["added"]


_Touched = tuple[str, Optional[Entry]]
_path_of = itemgetter(0)


def _facts(header: Header) -> dict[str, Any]:
    return {
        "snapshot": header.snapshot,
        "created_at": header.created_at,
        "created_by": header.created_by,
        "message": header.message,
        "txn": header.txn,
        "manifest_digest": header.digest,
        "files": header.files,
        "bytes": header.bytes,
    }
