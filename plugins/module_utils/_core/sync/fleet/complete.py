# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a decision means for one repository: carried out, recorded, forgotten; and again, if need be."""

from __future__ import annotations

from ...backends.base import Prepared, Repository
from ...backends.outcome import behind_commit, require_not_committed, tidy
from ...client.fleet import PREPARED, PREPARING, WITHDRAWN, FleetRecord, Participant
from ...errors import DsgError, RepositoryError

_REASONS = {WITHDRAWN: "it was withdrawn", PREPARING: "it was not prepared to the end"}
DECIDED = (
    "It is decided that the transaction commits, which a recovery carries out: nothing is lost."
)
_STAYS_PREPARED = "The transaction stays prepared, and the decision stands: nothing is lost."


def complete(
    repository: Repository, record: FleetRecord, part: Participant, *, commit: bool
) -> list[str]:
    """Carry the decision out on a repository, whose lock is held; return what was done and what waits.

    It was made without a part that is not recorded as prepared, whether or not the repository holds it.
    Raises :class:`DsgError` with the part still recorded where it could not be, for another time; and
    :class:`RepositoryError` once where a prepared part was rolled back by hand, which cannot be mended.
    """
    done = repository.recover()
    forward = commit and part.state == PREPARED
    return done + (_forward if forward else _back)(repository, record, part)


def _forward(repository: Repository, record: FleetRecord, part: Participant) -> list[str]:
    prepared = repository.resume(part.txn_id)
    waiting = []
    if prepared is not None:
        _commit(repository, prepared, part)
        waiting = tidy(prepared)
    elif repository.committed(part.txn_id, part.base):
        with behind_commit(repository, part.txn_id):
            repository.make_durable()
    else:
        record.remove(part)
        raise RepositoryError(
            f"transaction {part.txn_id} was to be committed, but somebody has rolled it back there",
            object=repository.location,
            unchanged="Other hosts of the fleet are not concerned.",
            next_step="Sync again: what is missing there is published then.",
        )
    _install(repository, record, part)
    return [f"committed transaction {part.txn_id} as s{part.snapshot}", *waiting]


def _install(repository: Repository, record: FleetRecord, part: Participant) -> None:
    """Make C of a committed part the working copy's, and forget the part."""
    with behind_commit(repository, part.txn_id):
        record.install(part)
        record.remove(part)


def _commit(repository: Repository, prepared: Prepared, part: Participant) -> None:
    try:
        prepared.commit()
    except BaseException as exc:
        require_not_committed(repository, part.txn_id, part.base, exc, DECIDED)
        if isinstance(exc, DsgError):
            exc.unchanged = _STAYS_PREPARED
            exc.next_step = f"{exc.next_step} Then run `dsg.storage.recover`."
        raise


def _back(repository: Repository, record: FleetRecord, part: Participant) -> list[str]:
    prepared = repository.resume(part.txn_id)
    if prepared is not None:
        prepared.rollback()
    elif part.state == PREPARED and _was_committed(repository, part):
        _install(repository, record, part)
        return [f"transaction {part.txn_id} was committed as s{part.snapshot} before, and stays so"]
    record.remove(part)
    why = _REASONS.get(part.state, "the fleet did not commit")
    return [f"rolled back transaction {part.txn_id}: {why}"]


def _was_committed(repository: Repository, part: Participant) -> bool:
    """Tell whether it was all the same; one that is lost has nothing to be told wrongly."""
    is_there = not part.base or repository.head() is not None
    return is_there and repository.committed(part.txn_id, part.base)
