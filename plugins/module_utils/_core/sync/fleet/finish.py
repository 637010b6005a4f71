# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second phase of a fleet transaction on one host: the decision, and what follows from it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from ...backends.base import Repository
from ...backends.outcome import behind_commit
from ...client.fleet import (
    COMMIT,
    PREPARED,
    PREPARING,
    ROLLBACK,
    WITHDRAWN,
    FleetRecord,
    Participant,
)
from ...client.working_copy import WorkingCopy, repository_key
from ...errors import UNCHANGED, ArgumentError, DsgError, RepositoryError, telling
from ..request import SYNC, WITHDRAW, SyncRequest, SyncResult
from ..site import repository_of
from ..timing import Stopwatch
from .complete import DECIDED, complete
from .decision import decide, decided_otherwise, withdraw
from .pending import end_all

_UNDECIDED = (
    "Nothing is decided yet: if another host commits, a recovery commits the transaction as well; "
    "otherwise it rolls it back, and the next sync begins anew."
)
_UNTIL_RECOVERY = (
    "Nothing is published there; the transaction may stay prepared until it is recovered."
)


def finish(request: SyncRequest) -> SyncResult:
    """Commit a host's part, or roll it back, whichever the phase says; all hosts are to be asked the same.

    The first one that is asked decides for all, durably; whoever asks otherwise afterwards is refused.
    ``request.txn_id`` is the transaction that this host prepared ('' where it had nothing to do): a commit
    of one that is not there any more is an error. May be repeated, and by several at once. Before any is
    asked to commit, a host may withdraw: its part is rolled back, and the others decide without it.
    """
    request.validate()
    tell = partial(_then_recover, request) if request.txn_id else None
    with telling("finishing the fleet transaction", UNCHANGED, tell):
        if request.phase == WITHDRAW and not request.check:
            withdraw(request.src, request.fleet, request.txn_id)
        with repository_of(request) as repository:
            return _Finish(request, repository).run()


def _then_recover(request: SyncRequest, error: DsgError) -> None:
    """Say what becomes of a host's part that was not finished, and what carries that out."""
    if error.unchanged != UNCHANGED:
        return
    error.unchanged = _state(request)
    if "dsg.storage.recover" not in error.next_step:
        error.next_step = f"{error.next_step} Then run `dsg.storage.recover`."


def _state(request: SyncRequest) -> str:
    """Return what the record says of the transaction, whatever this run was about to do."""
    record = FleetRecord(WorkingCopy(request.src), request.fleet)
    try:
        part = record.part_of(request.txn_id)
        decision = record.decision()
    except (DsgError, OSError):  # told of already, or nothing that can be told
        return _UNTIL_RECOVERY
    if part is None:
        return UNCHANGED
    if part.state == PREPARED and decision == COMMIT:
        return DECIDED
    if part.state == PREPARED and not decision and request.phase == COMMIT:
        return _UNDECIDED
    return _UNTIL_RECOVERY


class _Finish:
    def __init__(self, request: SyncRequest, repository: Repository) -> None:
        self.request = request
        self.repository = repository
        self.working_copy = WorkingCopy(request.src)
        self.record = FleetRecord(self.working_copy, request.fleet)
        self.key = repository_key(repository.name, repository.location)
        self.watch = Stopwatch()
        self.result = SyncResult(operation=SYNC, seconds=self.watch.seconds)

    def run(self) -> SyncResult:
        part = self.record.participant(self.key)
        if part is None:
            self._require_done()
        if self.request.check:
            self.result.changed = part is not None and self.request.phase == COMMIT
        elif self.record.head() is not None:
            if part is not None:
                self._decide(part)
            with self.working_copy.lock(self.request.lock_timeout, shared=True):
                if part is not None:
                    self._finish()
                with self._behind_commit():
                    self._end()
        if part is not None:
            with self._behind_commit():
                self._describe()
        return self.result

    def _behind_commit(self) -> AbstractContextManager[None]:
        """Have what fails in the block not be told as a failed commit, where there was one."""
        if not self.result.txn_id or self.request.phase != COMMIT:
            return nullcontext()
        return behind_commit(self.repository, self.result.txn_id)

    def _require_done(self) -> None:
        """Refuse to commit what was prepared, and is neither here any more nor published."""
        txn_id = self.request.txn_id
        if self.request.phase != COMMIT or not txn_id or self.repository.committed(txn_id, 0):
            return
        raise RepositoryError(
            f"transaction {txn_id} is not prepared any more: somebody has rolled it back",
            object=self.repository.location,
            unchanged="Other hosts of the fleet are not concerned.",
            next_step="Run the whole sync again.",
        )

    def _finish(self) -> None:
        with self.watch.phase("commit"), self.repository.lock(self.request.lock_timeout):
            found = self.record.participant(self.key)  # another one may have been faster
            if found is not None:
                commit = self.request.phase == COMMIT
                self.result.txn_id = found.txn_id
                self.result.recovered = complete(self.repository, self.record, found, commit=commit)
                self.result.changed = commit

    def _decide(self, part: Participant) -> None:
        """Decide, which waits for nobody who works in the tree."""
        if self.request.txn_id not in ("", part.txn_id):
            raise ArgumentError(
                f"transaction {self.request.txn_id} is not the one that this host prepared, "
                f"which is {part.txn_id}",
                object=self.repository.location,
            )
        wanted, fleet = self.request.phase, self.request.fleet
        if part.state == WITHDRAWN or (part.state == PREPARING and wanted != ROLLBACK):
            stands = WITHDRAW
        elif wanted == WITHDRAW:
            raise ArgumentError("only what prepare returned as txn_id can be withdrawn")
        else:
            stands = decide(self.request.src, fleet, wanted, [part.txn_id])
        # What is withdrawn may be rolled back by whoever comes.
        if stands != wanted and (stands, wanted) != (WITHDRAW, ROLLBACK):
            raise decided_otherwise(fleet, stands, self.repository.location)

    def _end(self) -> None:
        """Remove the record behind its last part, or where nobody ever had a part in it."""
        self.record.end()
        end_all(self.working_copy)

    def _describe(self) -> None:
        head = self.repository.head()
        if head is not None:
            self.result.snapshot, self.result.manifest_digest = head.snapshot, head.digest
