# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleet transactions that a working copy has not ended, as far as they concern one repository."""

from __future__ import annotations

from typing import NamedTuple

from ...backends.base import Repository
from ...client.fleet import (
    COMMIT,
    PREPARED,
    ROLLBACK,
    FleetRecord,
    Head,
    Participant,
    fleets,
    remove_if_empty,
)
from ...client.working_copy import WorkingCopy, repository_key
from ...errors import HeldError
from ...posix.process import is_alive
from .complete import complete


class Pending(NamedTuple):
    """A part that is to be decided: commit, rollback, or '' while its coordinator decides."""

    record: FleetRecord
    part: Participant
    decision: str

    def __str__(self) -> str:
        what = {COMMIT: "is to be committed", ROLLBACK: "is to be rolled back"}
        left_out = self.decision and self.part.state != PREPARED
        said = what.get(
            ROLLBACK if left_out else self.decision,
            "waits for the decision of the playbook that runs",
        )
        return f"transaction {self.part.txn_id} of fleet {self.record.fleet} {said}"


def pending(
    working_copy: WorkingCopy, repository: Repository, *, explicit: bool = False
) -> list[Pending]:
    """Return the parts of one repository; changes nothing.

    Where nothing is decided and the coordinator is gone, it is rollback; where nobody can see from
    here whether it is, only for somebody who asks for a recovery (``explicit``).
    """
    key = repository_key(repository.name, repository.location)
    found = []
    for record in fleets(working_copy):
        part = record.participant(key)
        if part is not None:
            found.append(Pending(record, part, _decision(record, explicit)))
    return found


def _decision(record: FleetRecord, explicit: bool) -> str:
    return record.decision() or ("" if _is_running(record.head(), explicit) else ROLLBACK)


def _is_running(head: Head | None, explicit: bool) -> bool:
    if head is None:
        return False
    alive = None if head.coordinator is None else is_alive(head.coordinator)
    return not explicit if alive is None else alive


def settle(
    working_copy: WorkingCopy,
    repository: Repository,
    timeout: float,
    *,
    explicit: bool = False,
    but: str = "",
) -> list[str]:
    """Carry out what is decided, or can be presumed; return what was done, as sentences.

    The working copy is held, be it shared. Fleet ``but`` is left alone. Raises :class:`HeldError` while
    a coordinator has yet to decide.
    """
    done: list[str] = []
    for one in pending(working_copy, repository, explicit=explicit):
        if one.record.fleet == but:
            continue
        _refuse_running(one)
        decision = one.record.decide(one.decision)
        with repository.lock(timeout):
            part = one.record.participant(one.part.key)  # another one may have been faster
            if part is not None:
                done += complete(repository, one.record, part, commit=decision == COMMIT)
    end_all(working_copy, explicit=explicit, but=but)
    return done


def refuse_running(working_copy: WorkingCopy, repository: Repository) -> None:
    """Raise :class:`HeldError` while a coordinator has yet to decide; changes nothing."""
    for one in pending(working_copy, repository):
        _refuse_running(one)


def _refuse_running(one: Pending) -> None:
    if one.decision:
        return
    head = one.record.head()
    who = None if head is None else head.coordinator
    raise HeldError(
        f"{one}{'' if who is None else f' ({who})'}",
        object=one.record.working_copy.root,
        next_step="Wait until it has ended; if it was killed elsewhere, run `dsg.storage.recover`.",
    )


def end_all(working_copy: WorkingCopy, *, explicit: bool = False, but: str = "") -> None:
    """Remove the records that nobody takes part in any more."""
    for record in fleets(working_copy):
        if record.fleet == but or record.has_participants() or not _decision(record, explicit):
            continue
        record.end()
    remove_if_empty(working_copy)
