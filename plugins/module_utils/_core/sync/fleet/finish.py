# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second phase of a fleet transaction on one host: what was decided."""

from __future__ import annotations

from ...backends.base import Repository
from ...client.fleet import COMMIT, FleetRecord
from ...client.working_copy import WorkingCopy, repository_key
from ...errors import ArgumentError, from_oserror
from ...transport.connect import repository_at
from ..request import SYNC, SyncRequest, SyncResult
from ..timing import Stopwatch
from .complete import complete
from .pending import end_all


def finish(request: SyncRequest) -> SyncResult:
    """Carry the decision out on one host, which must be the one that the request's phase names.

    A host that takes no part (any more) is left alone. May be repeated, and by several at once.
    """
    request.validate()
    try:
        with repository_at(request.destination, request.backend, request.repository) as repository:
            return _finish(request, repository)
    except OSError as exc:
        raise from_oserror(exc, "finishing the fleet transaction") from exc


def _finish(request: SyncRequest, repository: Repository) -> SyncResult:
    watch = Stopwatch()
    result = SyncResult(operation=SYNC, seconds=watch.seconds)
    working_copy = WorkingCopy(request.src)
    record = FleetRecord(working_copy, request.fleet)
    if record.head() is None:
        return _described(repository, result)
    key = repository_key(repository.name, repository.location)
    _require_decided(request, record)
    part = record.participant(key)
    if request.check:
        result.changed = part is not None and request.phase == COMMIT
        return _described(repository, result)
    with working_copy.lock(request.lock_timeout, shared=True), watch.phase("commit"):
        if part is not None:
            with repository.lock(request.lock_timeout):
                part = record.participant(key)
                if part is not None:
                    commit = request.phase == COMMIT
                    result.recovered = complete(repository, record, part, commit=commit)
                    result.txn_id, result.changed = part.txn_id, commit
        end_all(working_copy, request.lock_timeout)
    return _described(repository, result)


def _require_decided(request: SyncRequest, record: FleetRecord) -> None:
    decision = record.decision()
    if decision != request.phase:
        raise ArgumentError(
            f"phase is {request.phase}, but fleet transaction {request.fleet} "
            + (f"was decided otherwise: {decision}" if decision else "is not decided yet"),
            object=request.src,
        )


def _described(repository: Repository, result: SyncResult) -> SyncResult:
    head = repository.head()
    if head is not None:
        result.snapshot, result.manifest_digest = head.snapshot, head.digest
    return result
