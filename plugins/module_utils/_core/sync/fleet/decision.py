# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one decision of a fleet transaction: from what, and how it is made."""

from __future__ import annotations

from collections.abc import Collection

from ...client.fleet import (
    COMMIT,
    DECISIONS,
    PREPARED,
    ROLLBACK,
    WITHDRAWN,
    FleetRecord,
)
from ...client.working_copy import WorkingCopy
from ...errors import ArgumentError, RepositoryError, from_oserror
from ...posix import durable


def decision(
    prepared: Collection[str],
    failed: Collection[str],
    max_fail_percentage: float = 0,
    canaries: Collection[str] = (),
) -> str:
    """Return commit or rollback, from the hosts that are ready and those that are not.

    Ready are those that prepared, and those that had nothing to do. It is commit if no canary failed
    and no larger share of all hosts than ``max_fail_percentage`` (0 to 100), unless all failed.
    """
    if not 0 <= max_fail_percentage <= 100:
        raise ArgumentError("max_fail_percentage must be 0 to 100")
    everyone = len(set(prepared) | set(failed))
    too_many = 100 * len(set(failed)) > max_fail_percentage * everyone
    if too_many or set(failed) & set(canaries) or not set(prepared) - set(failed):
        return ROLLBACK
    return COMMIT


def decide(src: str, fleet: str, wanted: str, expected: Collection[str] = ()) -> str:
    """Decide durably; return the decision that stands, which another one may have made first.

    ``expected`` are the transactions that are prepared as far as the caller knows: where the record does
    not know them all as prepared, it is rollback. So it is where there is no record (any more).
    """
    if wanted not in DECISIONS:
        raise ArgumentError(f"a decision is one of {', '.join(DECISIONS)}, not {wanted!r}")
    try:
        record = FleetRecord(WorkingCopy(src), fleet)
        if record.head() is None:
            return ROLLBACK
        standing = record.decision()
        if standing:  # who made it may not have had it on disk yet
            durable.sync_directory(record.root)
            return standing
        # Only who may be the first one reads what all hosts have prepared.
        ready = {one.txn_id for one in record.participants() if one.state == PREPARED}
        return record.decide(wanted if set(expected) <= ready else ROLLBACK)
    except FileNotFoundError:
        return ROLLBACK  # ended by somebody else just now, which only a decision allows
    except OSError as exc:
        raise from_oserror(exc, "recording the decision") from exc


def withdraw(src: str, fleet: str, txn_id: str) -> None:
    """Take a part out of what is to be decided, durably and before any host is asked.

    Its host may be away: recovery rolls the part back, and commits the others. May be repeated.
    """
    record = FleetRecord(WorkingCopy(src), fleet)
    part = record.part_of(txn_id)
    if part is None or part.state == WITHDRAWN:
        return
    if record.decision() == COMMIT:
        raise decided_otherwise(fleet, COMMIT, part.repository)
    try:
        record.mark_withdrawn(part)
    except OSError as exc:
        raise from_oserror(exc, "withdrawing from the fleet transaction") from exc


def decided_otherwise(fleet: str, decision: str, where: str) -> RepositoryError:
    """Return that somebody asks for what cannot be any more."""
    return RepositoryError(
        f"fleet transaction {fleet} was decided otherwise: {decision}",
        object=where,
        next_step="Run `dsg.storage.recover`, which carries that out, then sync again.",
    )
