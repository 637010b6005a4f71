# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remove snapshots that no rule keeps; what cannot be read, or is not ours, is never removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from ..backends import published
from ..backends.base import LocalRepository, Stored
from ..errors import DriftError, DsgError, ManifestError, capped, telling
from ..manifest.header import Header
from .retention import Candidate, Keep, reasons
from .settled import settled

KEPT, REMOVED, WAITS, FOREIGN = "kept", "removed", "waits", "foreign"
_UNCHANGED = "No snapshot was removed."


class Fate(NamedTuple):
    """What becomes of a snapshot: ``action`` is kept, removed, waits or foreign; ``reasons`` why.

    A foreign one has no number (0) and nothing else that could be known.
    """

    name: str
    number: int
    created_at: str
    created_by: str
    message: str
    action: str
    reasons: list[str]


@dataclass
class PruneResult:
    """Fates in the order of the snapshots; who is removed; what was done first, and what has to wait."""

    fates: list[Fate] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    pending_cleanup: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Tell whether anything was (in a dry run: would be) done."""
        return bool(self.recovered or self.removed)


def prune(
    repository: LocalRepository, keep: Keep, *, lock_timeout: float = 60.0, check: bool = False
) -> PruneResult:
    """Remove what no rule keeps; with ``check`` only tell, exactly, what would be done.

    Each removal is one step of its own: whatever ends the run, a snapshot is there or it is not.
    """
    result = PruneResult()
    with telling("pruning", _UNCHANGED, lambda error: _tell(error, result)):
        keep.check()
        with settled(repository, lock_timeout, check=check) as result.recovered:
            result.fates = _fates(repository, keep)
            if not check:
                result.fates = [_carry_out(repository, fate, result) for fate in result.fates]
            else:
                result.removed = [fate.name for fate in result.fates if fate.action == REMOVED]
    return result


def _tell(error: DsgError, result: PruneResult) -> None:
    """Say what is true: removals before the failing one stay done."""
    if result.removed and error.unchanged == DsgError.unchanged:
        error.unchanged = f"{', '.join(result.removed)} removed; all else is unchanged."
    error.changed = error.changed or bool(result.removed)


def _fates(repository: LocalRepository, keep: Keep) -> list[Fate]:
    """Decide upon everything that is there, or raise: from a list that is not whole nothing follows."""
    newest = repository.manifest().header
    problems = repository.chain_problems()
    if problems:
        raise ManifestError(
            "the history is damaged, so nobody can tell which snapshots are ours",
            object=repository.location,
            details=capped(problems),
        )
    shelf = repository.shelf()
    headers = _headers(repository, newest, shelf.stored)
    proved = [one for one in shelf.stored if _is_proved(one, headers)]
    if newest.snapshot not in {one.number for one in proved}:
        raise DriftError(
            f"the newest snapshot s{newest.snapshot} is not there, or not ours",
            object=repository.location,
        )
    bases = _bases(repository)
    candidates = [Candidate(n, h.created_at, h.message) for n, h in headers.items()]
    numbers = {one.number for one in proved}
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    kept = reasons([one for one in candidates if one.number in numbers], keep, now)
    fates = [_fate(one, headers[one.number], kept[one.number], bases) for one in proved]
    foreign = [*(f"s{one.number}" for one in shelf.stored if one not in proved), *shelf.foreign]
    why = ["not made by this repository's transactions"]
    return fates + [Fate(name, 0, "", "", "", FOREIGN, why) for name in foreign]


def _headers(
    repository: LocalRepository, newest: Header, stored: Sequence[Stored]
) -> dict[int, Header]:
    root = repository.tree()
    numbers = [one.number for one in stored if one.number <= newest.snapshot]
    return {number: published.read_history_header(root, number) for number in numbers}


def _is_proved(one: Stored, headers: dict[int, Header]) -> bool:
    header = headers.get(one.number)
    return header is not None and header.id == one.manifest_id


def _bases(repository: LocalRepository) -> dict[int, str]:
    return {
        held.base: f"transaction {held.txn_id} is held upon it"
        for held in repository.held()
        if held.base
    }


def _fate(one: Stored, header: Header, kept: list[str], bases: dict[int, str]) -> Fate:
    why = kept + [bases[one.number]] if one.number in bases else kept
    action = KEPT if why else WAITS if one.in_use else REMOVED
    return Fate(
        f"s{one.number}",
        one.number,
        header.created_at,
        header.created_by,
        header.message,
        action,
        why or [one.in_use or "no rule keeps it"],
    )


def _carry_out(repository: LocalRepository, fate: Fate, result: PruneResult) -> Fate:
    if fate.action == WAITS:
        result.pending_cleanup.append(f"{fate.name} is to be removed: {fate.reasons[0]}")
    if fate.action != REMOVED:
        return fate
    removal = repository.remove_snapshot(fate.number)
    if removal.gone:
        result.removed.append(fate.name)
    if not removal.waiting:
        return fate
    result.pending_cleanup.append(removal.waiting)
    return fate._replace(action=WAITS, reasons=[removal.waiting])
