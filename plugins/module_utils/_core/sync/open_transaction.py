# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that other programs fill: begin, let them write, prepare, commit; or roll back.

Each step is a call of its own, from a process of its own. Each may be repeated, and leaves things as
they are where it was done before. With ``check`` a call changes nothing and tells what it would do.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..backends import published
from ..backends.holding import refuse_held
from ..backends.origin import new_txn_id, utc_now
from ..backends.outcome import require_not_committed, tidy
from ..backends.registry import open_repository
from ..backends.zfs import opened
from ..backends.zfs.opened import OpenTransaction
from ..backends.zfs.repository import ZfsRepository
from ..errors import (
    ArgumentError,
    DriftError,
    DsgError,
    RepositoryError,
    telling,
)
from ..manifest import codec
from ..manifest.codec import Manifest
from ..plan.states import by_path
from .open_request import TransactionRequest, TransactionResult
from .request import INIT, SYNC
from .work_tree import WorkTree, changes, drop_special_bits, examine

_PUBLISHED_UNCHANGED = "The published tree is unchanged."


def begin(request: TransactionRequest) -> TransactionResult:
    """Make a work tree like the published one (an empty one, where there is none), and keep it.

    A transaction that is begun already is left as it is, and mounted again after a reboot.
    """
    return _take(request, _Step.begin, txn_id_required=False)


def prepare(request: TransactionRequest) -> TransactionResult:
    """Take the work tree as it is for what will be published; it cannot be changed any more."""
    return _take(request, _Step.prepare)


def commit(request: TransactionRequest) -> TransactionResult:
    """Publish; prepares first where that was not done. Nothing to publish: ends the transaction.

    Raises :class:`DriftError`, with the transaction still there, where somebody else published, wrote
    or took a snapshot since it began.
    """
    return _take(request, _Step.commit)


def rollback(request: TransactionRequest) -> TransactionResult:
    """Destroy the work tree; one that is committed is an error, one that is absent is fine."""
    return _take(request, _Step.rollback)


def recover(request: TransactionRequest) -> TransactionResult:
    """Finish or undo whatever is left, open transactions of others included."""
    return _take(request, _Step.recover, txn_id_required=False)


def _take(
    request: TransactionRequest,
    step: Callable[[_Step], TransactionResult],
    *,
    txn_id_required: bool = True,
) -> TransactionResult:
    """Take a step; say in errors what is true of it."""
    with telling("the transaction", _PUBLISHED_UNCHANGED):
        request.validate(txn_id_required=txn_id_required)
        return step(_Step(request))


class _Step:
    def __init__(self, request: TransactionRequest) -> None:
        self.request = request
        self.result = TransactionResult(request.txn_id or new_txn_id())
        held = open_repository(request.backend, request.repository)
        if not isinstance(held, ZfsRepository):
            raise ArgumentError(
                f"backend.type is {request.backend.get('type')!r}: only zfs keeps a transaction "
                "open between tasks",
                next_step="Use dsg_sync, or a repository with backend zfs.",
            )
        self.held = held
        self.base: Manifest | None = None

    # --- steps

    def begin(self) -> TransactionResult:
        with self._repository():
            present = self._resume()
            if present is None:
                self._refuse_committed()
            transaction = present or self._transaction()
            self.result.operation = INIT if self.base is None else SYNC
            self.result.work_path = transaction.work
            if present is not None and present.prepared:
                raise RepositoryError(
                    f"transaction {self.result.txn_id} is prepared: its work path is gone",
                    object=self.held.layout.live,
                    next_step="Commit it or roll it back.",
                )
            if present is None:
                self.result.changed = True
                self._open(transaction)
            else:
                self._go_on(present)
        return self.result

    def _go_on(self, present: OpenTransaction) -> None:
        """Have the work path there, and left alone for as long as that of a new transaction."""
        if not present.is_mounted():
            self.result.changed = True
            self._mount(present)
        if not self.request.check:
            present.renew(self.request.lease)

    def _open(self, transaction: OpenTransaction) -> None:
        if self.request.check:
            if self.base is not None:
                self.held.require_unchanged(self.base)
            return
        if self._had_nothing():
            opened.forget(self.held.runner, self.held.layout)
        try:
            transaction.open(self.request.lease)
        except BaseException:
            self._undo(transaction)
            raise

    def _mount(self, transaction: OpenTransaction) -> None:
        if not self.request.check:
            transaction.mount()

    def _undo(self, transaction: OpenTransaction) -> None:
        """Undo a failed beginning; what cannot be undone now is found by the next recovery."""
        try:
            transaction.rollback()
        except (DsgError, OSError) as exc:
            self.result.pending_cleanup.append(str(exc))

    def prepare(self) -> TransactionResult:
        with self._repository():
            transaction = self._resume()
            if transaction is None:
                self._refuse_committed()
                return self._foretell()
            if transaction.prepared:
                if not self.request.check:
                    transaction.keep()  # whoever prepared it may have died right before
                return self.result
            self.result.changed = True
            tree = self._examine(transaction)
            if tree is not None and not self.request.check:
                self._write(transaction, tree)
        return self.result

    def commit(self) -> TransactionResult:
        with self._repository():
            transaction = self._resume()
            if transaction is None:
                return self.result if self._is_ended() else self._foretell()
            tree = None if transaction.prepared else self._examine(transaction)
            if self._has_nothing(transaction, tree):
                if not self.request.check:
                    self._end_without_changes()
                return self.result
            self.result.changed = True
            if self.request.check:
                transaction.require_base("" if self.base is None else self.held.tree())
                self.result.changes_known = tree is not None
            else:
                if tree is not None:
                    self._write(transaction, tree)
                self._publish(transaction)
        return self.result

    def rollback(self) -> TransactionResult:
        with self._repository():
            self._refuse_committed()
            self.result.changed = self._is_open() if self.request.check else self._close()
        return self.result

    def recover(self) -> TransactionResult:
        with self._repository(open_too=True):
            self.result.changed = bool(self.result.recovered)
        self.result.txn_id = ""
        return self.result

    # --- what is there

    @contextmanager
    def _repository(self, *, open_too: bool = False) -> Iterator[None]:
        """Hold the repository, recovered and looked at; with ``check`` only look."""
        own = self.request.txn_id
        if self.request.check:
            self.result.recovered = self.held.unfinished(open_too=open_too, own=own)
            self._look()
            yield
            return
        with self.held.lock(self.request.lock_timeout):
            self.result.recovered = self.held.recover(open_too=open_too, own=own)
            self._look()
            yield

    def _look(self) -> None:
        if self.held.head() is None:
            return
        self.base = self.held.manifest()
        self.result.snapshot = self.base.header.snapshot
        self.result.manifest_digest = self.base.header.digest
        self.result.base = self.base.header.snapshot

    def _transaction(self) -> OpenTransaction:
        held = self.held
        return OpenTransaction(
            held.runner, held.layout, held.privileged, self.result.txn_id, self.base
        )

    def _resume(self) -> OpenTransaction | None:
        if not self.request.txn_id:
            return None
        held = self.held
        found = opened.resume(
            held.runner, held.layout, held.privileged, self.request.txn_id, self.base
        )
        if found is not None and found.is_held:
            refuse_held([one for one in held.held() if one.txn_id == found.txn_id], held.location)
        if found is not None:
            self.result.operation = INIT if self.base is None else SYNC
        return found

    def _is_committed(self) -> bool:
        """Tell whether the transaction committed; the result names its snapshot then."""
        txn_id = self.request.txn_id
        if not txn_id or not self.held.committed(txn_id, 0):
            return False
        path = self.held.tree()
        newest = 0 if self.result.snapshot is None else self.result.snapshot
        for number in range(newest, 0, -1):
            header = published.read_history_header(path, number)
            if header.txn == txn_id:
                self.result.snapshot, self.result.base = number, number - 1
                self.result.manifest_digest = header.digest
                self.result.operation = INIT if number == 1 else SYNC
        return True

    def _is_ended(self) -> bool:
        """Tell whether a commit of it succeeded, with something to publish or without."""
        return self._is_committed() or self._had_nothing()

    def _had_nothing(self) -> bool:
        txn_id = self.request.txn_id
        return bool(txn_id) and opened.ended_without_changes(
            self.held.runner, self.held.layout, txn_id
        )

    def _refuse_committed(self) -> None:
        if self._is_committed():
            raise RepositoryError(
                f"transaction {self.result.txn_id} is committed, as s{self.result.snapshot}",
                object=self.held.layout.live,
                next_step="Begin another one, with another id.",
            )

    def _is_open(self) -> bool:
        return opened.is_open(self.held.runner, self.held.layout, self.result.txn_id)

    def _foretell(self) -> TransactionResult:
        """Refuse a transaction that is not there, unless only check mode kept it from being there.

        Nobody can tell then what tasks would have put into a work tree that was never made.
        """
        if not self.request.check:
            raise RepositoryError(
                f"there is no open transaction {self.result.txn_id}: it never began, was rolled "
                "back, or its lease ended and somebody else tidied up",
                object=self.held.layout.live,
                next_step="Begin again.",
            )
        self.result.changed = True
        self.result.changes_known = False
        return self.result

    # --- what is done

    def _examine(self, transaction: OpenTransaction) -> WorkTree | None:
        """Return the work tree, None where it would have to be mounted first to be seen."""
        if not transaction.is_mounted():
            if self.request.check:
                self.result.changes_known = False
                return None
            self._mount(transaction)
        live = "" if self.base is None else self.held.tree()
        user = self.request.user_name()
        tree = examine(transaction.work, live, self.base, user)
        self.result.changes = tree.changes
        return tree

    def _has_nothing(self, transaction: OpenTransaction, tree: WorkTree | None) -> bool:
        """Tell whether the published content is what it would be; an empty first one is new."""
        if self.base is None:
            return False
        if transaction.prepared:
            return transaction.prepared == self.base.header.id
        return tree is not None and not tree.changes

    def _write(self, transaction: OpenTransaction, tree: WorkTree) -> None:
        live = "" if self.base is None else self.held.tree()
        published.restore_records(transaction.work, live)
        if self.base is not None and not tree.changes:
            transaction.prepare_unchanged(self.base)
            return
        drop_special_bits(transaction.work, tree.entries)
        transaction.prepare(self._manifest(tree))

    def _manifest(self, tree: WorkTree) -> Manifest:
        head = None if self.base is None else self.base.header
        user = self.request.user_name()
        return codec.build(
            tree.entries,
            repository_id=secrets.token_hex(16) if head is None else head.repository_id,
            repository=self.request.repository,
            snapshot=1 if head is None else head.snapshot + 1,
            parent="" if head is None else head.id,
            txn=self.result.txn_id,
            created_at=utc_now(),
            created_by=f"{user}@{os.uname().nodename}",
            message=self.request.message,
        )

    def _publish(self, transaction: OpenTransaction) -> None:
        before = {} if self.base is None else by_path(self.base.entries)
        try:
            transaction.commit()
            self.result.pending_cleanup = tidy(transaction)
            now = self.held.manifest()
        except BaseException as exc:
            self._settle(exc)
            raise
        self.result.snapshot = now.header.snapshot
        self.result.manifest_digest = now.header.digest
        self.result.changes = changes(before, by_path(now.entries))

    def _settle(self, cause: BaseException) -> None:
        """Tell a commit that failed halfway from one that did not happen."""
        unchanged = "Nothing was removed."
        require_not_committed(self.held, self.result.txn_id, self.result.base, cause, unchanged)
        if isinstance(cause, DriftError):
            cause.next_step = opened.BEGIN_AGAIN

    def _end_without_changes(self) -> None:
        held = self.held
        self.result.pending_cleanup = opened.end_without_changes(
            held.runner, held.layout, held.privileged, self.result.txn_id
        )

    def _close(self) -> bool:
        """Destroy the transaction; tell whether there was one."""
        held = self.held
        there, waiting = opened.close(held.runner, held.layout, held.privileged, self.result.txn_id)
        self.result.pending_cleanup = waiting
        return there
