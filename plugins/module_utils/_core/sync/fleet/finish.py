# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second phase of a fleet transaction on one host: the decision, and what follows from it."""

from __future__ import annotations

from ...backends.base import Repository
from ...client.fleet import (
    COMMIT,
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
from .complete import STAYS_PREPARED, complete
from .decision import decide, decided_otherwise, withdraw
from .pending import end_all

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
    tell, unchanged = None, UNCHANGED
    if request.txn_id:
        tell, unchanged = _then_recover, _UNTIL_RECOVERY
        if request.phase == COMMIT:
            unchanged = STAYS_PREPARED
    with telling("finishing the fleet transaction", unchanged, tell):
        if request.phase == WITHDRAW and not request.check:
            withdraw(request.src, request.fleet, request.txn_id)
        with repository_of(request) as repository:
            return _Finish(request, repository).run()


def _then_recover(error: DsgError) -> None:
    """Say what carries the decision out where a host could not be asked, or not to the end."""
    if error.unchanged == UNCHANGED and "dsg.storage.recover" not in error.next_step:
        error.next_step = f"{error.next_step} Then run `dsg.storage.recover`."


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
            with self.working_copy.lock(self.request.lock_timeout, shared=True):
                self._finish(part)
                self._end()
        if part is not None:
            self._describe()
        return self.result

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

    def _finish(self, part: Participant | None) -> None:
        if part is None:
            return
        self._decide(part)
        with self.watch.phase("commit"), self.repository.lock(self.request.lock_timeout):
            found = self.record.participant(self.key)  # another one may have been faster
            if found is not None:
                commit = self.request.phase == COMMIT
                self.result.txn_id = found.txn_id
                self.result.recovered = complete(self.repository, self.record, found, commit=commit)
                self.result.changed = commit

    def _decide(self, part: Participant) -> None:
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
