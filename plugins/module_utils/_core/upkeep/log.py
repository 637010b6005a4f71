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
        # And so is what a deleted path was. Till then its row may be one that nobody asks for.
        self._deleted: dict[str, tuple[dict[str, Any], Header]] = {}
        self._sure: set[int] = set()  # snapshots whose rows stay
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
        self._choose()
        if self._counts:
            for row in self.rows:
                self._split_puts(row)

    def _steps(self, history: History) -> Iterator[Step]:
        if self._counts or self._with_paths or self._paths:
            return history.steps()
        return (Step(header, b"", 0, "") for header in history.headers())

    def _is_done(self, number: int) -> bool:
        """Tell whether this step and older ones add nothing; the counts need one more than is shown."""
        return (self.truncated or number < self._period.first) and not self._is_open()

    def _is_open(self) -> bool:
        return bool(self._undecided or self._deleted)

    def _take(self, step: Step) -> None:
        is_wanted = self._period.holds(step.header) and self._authors.match(step.header.created_by)
        if not is_wanted and not self._is_open():
            return
        touched: list[_Touched] = []
        doubtful: list[str] = []
        if (self._paths or self._with_paths) and self._paths.may_be_in(step.body):
            puts, deletes = step.changes()
            self._decide(puts, deletes)
            touched, doubtful = self._touched(puts, deletes), self._doubtful(deletes)
        if is_wanted and not self.truncated and (touched or doubtful or not self._paths):
            self._add(step, touched, doubtful)

    def _add(self, step: Step, touched: Sequence[_Touched], doubtful: Sequence[str]) -> None:
        is_sure = bool(touched) or not self._paths
        if is_sure and self._limit and len(self._sure) >= self._limit:
            self.truncated = True
            return
        row = self._row(step, touched)
        self.rows.append(row)
        if is_sure:
            self._sure.add(step.header.snapshot)
        if self._with_paths or not is_sure:
            self._deleted.update((path, (row, step.header)) for path in doubtful)

    def _touched(self, puts: Sequence[Entry], deletes: Sequence[str]) -> list[_Touched]:
        """Return what of a step's changes is asked for, whatever was deleted."""
        found: list[_Touched] = [
            (one.path, one) for one in puts if self._paths.match(one.path, one.kind == DIRECTORY)
        ]
        found += [(path, None) for path in deletes if self._paths.must_match(path)]
        return sorted(found, key=_path_of)

    def _doubtful(self, deletes: Sequence[str]) -> list[str]:
        """Return the deletions that are asked for if what was deleted is of the right kind."""
        paths = self._paths
        return [path for path in deletes if paths.may_match(path) and not paths.must_match(path)]

    def _decide(self, puts: Sequence[Entry], deletes: Sequence[str]) -> None:
        """Settle what newer steps left open about the paths of this one."""
        if not self._is_open():
            return
        for one in puts:
            change = self._undecided.pop(one.path, None)
            if change is not None:
                change["change"] = CHANGED
            deleted = self._deleted.pop(one.path, None)
            if deleted is not None and self._paths.match(one.path, one.kind == DIRECTORY):
                self._add_deletion(one.path, *deleted)
        for path in deletes:
            change = self._undecided.pop(path, None)
            if change is not None:
                change["change"] = ADDED

    def _add_deletion(self, path: str, row: dict[str, Any], header: Header) -> None:
        self._sure.add(row["snapshot"])
        if self._with_paths:
            row["paths"].append(self._change(header, path, None))
            row["paths"].sort(key=itemgetter("path"))

    def _choose(self) -> None:
        """Leave the rows that are asked for, as far as the limit goes."""
        self.rows = [row for row in self.rows if row["snapshot"] in self._sure]
        if self._limit and len(self.rows) > self._limit:
            self.truncated = True
            del self.rows[self._limit :]

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
