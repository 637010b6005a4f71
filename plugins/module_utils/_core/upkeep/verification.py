# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One verification of a repository: tree after tree, each beside the history it has to fit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..backends import published
from ..backends.base import LocalRepository
from ..errors import DsgError, ManifestError, RepositoryError, from_oserror
from ..manifest.codec import Manifest
from ..manifest.header import Header
from .chain import Broken, Chain
from .examine import MISSING, UNREADABLE, Known, describe, examine
from .history import read_step
from .records import examine_records

MANIFEST, HISTORY, SNAPSHOT = "manifest", "history", "snapshot"

_MANIFEST = published.manifest_path("")


@contextmanager
def pinned(path: str) -> Iterator[str]:
    """Give a path to this very directory, whatever takes its place: a sync may publish meanwhile."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise from_oserror(exc, "reading a tree") from exc
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class _Tree(NamedTuple):
    """A tree to look at: the published one (``live``), or a snapshot's own."""

    number: int
    live: bool


_Row = dict[str, Any]


class Verification:
    """One run over a repository whose published tree is at ``root``."""

    def __init__(self, repository: LocalRepository, root: str, chosen: set[int] | None) -> None:
        self._repository = repository
        self._root = root
        self._known: Known = {}
        self._header: Header | None = None
        self._chain = Chain(root)
        self._trees: list[_Row] = []
        self._problems: list[dict[str, Any]] = []
        self._newest = self._read_newest()
        self._todo = self._planned(chosen)

    def _read_newest(self) -> int:
        """Return the number of what is published, by the history where the manifest is damaged."""
        try:
            self._header = published.read_header(self._root, self._repository.name)
        except (ManifestError, OSError):
            return max(_steps(self._root), default=0)
        return self._header.snapshot

    def _planned(self, chosen: set[int] | None) -> list[_Tree]:
        live = _Tree(self._newest, True)
        if chosen is not None and chosen <= {self._newest}:
            return [*self._older(sorted(chosen)), live]
        found = self._kept()
        if found is None:
            return [live]
        kept = [number for number in found if number <= self._newest]
        for number in sorted(chosen or ()):
            if number not in (*kept, self._newest):
                raise published.not_kept(number, kept, self._repository.location)
        return [*self._older(kept if chosen is None else sorted(chosen)), live]

    def _kept(self) -> list[int] | None:
        try:
            return self._repository.snapshots()
        except (ManifestError, OSError) as exc:
            detail = f"older snapshots were not looked for, as it is damaged: {_text(exc)}"
            self._add(_Tree(self._newest, True), _MANIFEST, MANIFEST, detail)
            return None

    def _older(self, numbers: Sequence[int]) -> list[_Tree]:
        """Return the snapshots' own trees; the newest one's may be the published tree itself."""
        return [
            _Tree(number, False)
            for number in numbers
            if number != self._newest or self._is_beside_live(number)
        ]

    def _is_beside_live(self, number: int) -> bool:
        try:
            return self._repository.snapshot_tree(number) != self._repository.tree()
        except RepositoryError:
            return False  # :meth:`_check_newest` tells of it

    def run(self) -> Verification:
        """Check every tree, and what is left of the chain."""
        for tree in self._todo:
            self._check(tree)
        self._check_newest()
        newest = self._chain.headers.get(self._newest)
        if self._header is not None and newest is not None and newest.id != self._header.id:
            detail = "it is not the one in the history"
            self._add(_Tree(self._newest, True), _MANIFEST, MANIFEST, detail)
        for broken in self._broken():
            path = published.history_path("", broken.snapshot)
            self._add(_Tree(broken.snapshot, True), path, HISTORY, broken.detail)
        return self

    def _broken(self) -> list[Broken]:
        """Return what is wrong with the history.

        The tree that it is read from may be removed meanwhile, once another one has taken its place: that
        one has the steps as well. One that it lacks is missing indeed.
        """
        found, missing = self._chain.problems, self._chain.missing
        if not missing or not self._is_gone(_Tree(self._newest, True)):
            return found
        return [one for one in found if one.snapshot not in missing or self._is_lacking(one)]

    def _is_lacking(self, broken: Broken) -> bool:
        # While it is looked for another one may be published, and this one removed.
        return not any(self._is_carried_on(broken.snapshot) for _unused in range(2))

    def _is_carried_on(self, number: int) -> bool:
        try:
            return read_step(self._repository.tree(), number).header.snapshot == number
        except ManifestError:
            return False

    def _check(self, tree: _Tree) -> None:
        before = len(self._problems)
        self._chain.go_to(tree.number)
        self._chain.confirm()
        row: _Row = {
            "snapshot": tree.number,
            "live": tree.live,
            "checked": False,
            "gone": False,
            "files": 0,
            "bytes": 0,
            "read_bytes": 0,
        }
        self._trees.append(row)
        try:
            if tree.live:
                self._check_at(self._root, tree, row)
            else:
                with pinned(self._repository.snapshot_tree(tree.number)) as root:
                    self._check_at(root, tree, row)
        except (DsgError, OSError) as exc:
            self._add(tree, "", UNREADABLE, _text(exc))
        if len(self._problems) > before and self._is_gone(tree):
            del self._problems[before:]
            row["gone"] = True
        row["problems"] = len(self._problems) - before
        row["sound"] = not row["problems"]

    def _check_at(self, root: str, tree: _Tree, row: _Row) -> None:
        """Compare the tree at ``root`` with its manifest, or with what the history leads to."""
        for finding in examine_records(root, tree.number):
            if not tree.live or finding.what != MISSING:  # the chain tells of its missing steps
                self._add(tree, *finding)
        recorded = self._header if tree.live else self._chain.headers.get(tree.number)
        manifest = self._read_manifest(root, tree, recorded) or self._chain.manifest()
        if manifest is None:
            return
        row.update(checked=True, files=manifest.header.files, bytes=manifest.header.bytes)
        found = examine(root, manifest.entries, self._known, learn=not tree.live)
        row["read_bytes"] = found.bytes
        for finding in found.findings:
            self._add(tree, *finding)

    def _read_manifest(self, root: str, tree: _Tree, recorded: Header | None) -> Manifest | None:
        """Return a tree's manifest if it is the one that was published."""
        try:
            manifest = published.read_manifest(root, self._repository.name)
        except (DsgError, OSError) as exc:
            self._add(tree, _MANIFEST, MANIFEST, _text(exc))
            return None
        if recorded is not None and manifest.header.id != recorded.id:
            self._add(tree, _MANIFEST, MANIFEST, "it is not the one in the history")
            return None
        if manifest.header.snapshot != tree.number:
            self._add(tree, _MANIFEST, MANIFEST, f"it is of s{manifest.header.snapshot}")
            return None
        return manifest

    def _is_gone(self, tree: _Tree) -> bool:
        """Tell whether a tree was removed while it was read.

        The published one never is by itself: only what took its place lets it go. Somebody may have
        destroyed its snapshot, and damage is damage all the same.
        """
        try:
            if tree.number in self._repository.snapshots():
                return False
            return not tree.live or self._is_replaced()
        except (DsgError, OSError):
            return False  # it is not known, so what was found counts

    def _is_replaced(self) -> bool:
        head = self._repository.head()
        return head is not None and head.snapshot != self._newest

    def _check_newest(self) -> None:
        """Tell where what is published has no snapshot, which only somebody else can have destroyed."""
        # A sync may publish between two looks; then the second one sees that.
        if self._newest and all(self._is_lost() for _unused in range(2)):
            live = _Tree(self._newest, True)
            detail = (
                f"the newest snapshot s{self._newest} is not there, or not ours: nothing can be "
                "published upon it, and it cannot be restored; DSG-VERIFY in docs/errors.md tells "
                "how to take it again"
            )
            self._add(live, "", SNAPSHOT, detail)
            row = next(row for row in self._trees if row["live"])
            row.update(problems=row["problems"] + 1, sound=False)

    def _is_lost(self) -> bool:
        try:
            return self._newest not in self._repository.snapshots() and not self._is_replaced()
        except (DsgError, OSError):
            return False  # it is not known; what keeps it from being read is told where it matters

    def _add(self, tree: _Tree, path: str, what: str, detail: str) -> None:
        self._problems.append(
            {
                "snapshot": tree.number,
                "live": tree.live,
                "path": path,
                "what": what,
                "detail": detail,
            }
        )

    def answer(self, limit: int) -> dict[str, Any]:
        """Return what was found as plain data."""
        header = self._header
        return {
            "sound": not self._problems,
            "snapshot": self._newest,
            "digest": "" if header is None else header.digest,
            "files": 0 if header is None else header.files,
            "bytes": 0 if header is None else header.bytes,
            "trees": self._trees,
            "counts": dict(Counter(problem["what"] for problem in self._problems)),
            "problems": self._problems[:limit] if limit else self._problems,
        }


def _steps(root: str) -> Iterator[int]:
    """Yield the numbers of the steps that a history has files for."""
    try:
        names = os.listdir(os.path.dirname(published.history_path(root, 1)))
    except OSError:
        return
    for name in names:
        number = published.step_number(name)
        if number:
            yield number


def _text(exc: DsgError | OSError) -> str:
    return exc.message if isinstance(exc, DsgError) else describe(exc)
