# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entry point of a run: lock, recover, look, plan, and carry the plan out as one transaction."""

from __future__ import annotations

from ..backends.base import Repository
from ..backends.holding import refuse_held
from ..client.fleet import COMMIT
from ..client.working_copy import WorkingCopy, repository_key
from ..errors import DriftError, Unfinished, capped, from_oserror
from ..manifest.header import Header
from ..manifest.scan import Scan
from ..plan.plan import Plan
from ..plan.policy import PULL
from .fleet.pending import pending, refuse_running, settle
from .mounts import refuse_mounts
from .operation import already_done, choose_operation
from .recovery import Leftover, recover_repository, recover_working_copy, unfinished
from .request import CLONE, SyncRequest, SyncResult
from .site import repository_of
from .timing import Stopwatch
from .txn import SyncTransaction
from .view import View, scan_working_copy


def run(request: SyncRequest) -> SyncResult:
    """Sync a working copy with a repository.

    Raises :class:`~..errors.DsgError`; unless it is ``Unfinished``, working copy, repository and
    last-sync record are then as before.
    """
    request.validate()
    try:
        with repository_of(request) as repository:
            repository.check_source(request.src)
            return Run(request, repository).run()
    except OSError as exc:
        raise from_oserror(exc, "the sync") from exc


class Run:
    """One run on one host; what it did is in ``result``."""

    def __init__(self, request: SyncRequest, repository: Repository) -> None:
        self.request = request
        self.repository = repository
        self.working_copy = WorkingCopy(request.src)
        self.key = repository_key(repository.name, repository.location)
        self.watch = Stopwatch()
        self.scan: Scan | None = None
        self._chosen = ""
        self.result = SyncResult(operation=request.operation, seconds=self.watch.seconds)

    def run(self) -> SyncResult:
        """Do it."""
        if self.request.check:
            self._refuse_committed_leftovers()
            refuse_running(self.working_copy, self.repository)
            self._scan_ahead()
            head = self.repository.head()
            self.result.operation = self._choose(head)
            if not self._already_done(head):
                self._plan_only(head)
            return self.result
        if not self.working_copy.has_metadata():
            self._create()
        with self.working_copy.lock(self.request.lock_timeout):
            self.result.recovered += recover_working_copy(
                self.working_copy, self.key, self.repository
            )
            self.result.recovered += settle(
                self.working_copy, self.repository, self.request.lock_timeout
            )
            self._scan_ahead()
            head = self._head()
            self.result.operation = self._choose(head)
            if not self._already_done(head):
                self._sync(head)
        return self.result

    def _create(self) -> None:
        """Make the working copy's metadata, unless what is asked for does not fit, or may not be done."""
        head = self._head()
        self._choose(head)
        if head is None:
            self.repository.require_rights()
        self.working_copy.create()

    def _scan_ahead(self) -> None:
        """Scan while the connection to another host comes up."""
        if self.request.destination is not None and self.working_copy.knows(self.key):
            with self.watch.phase("scan"):
                self.scan = scan_working_copy(self.request, self.working_copy, self.key)

    def _head(self) -> Header | None:
        """Return the head, after a recovery where it cannot be read, or is not what was committed.

        A working copy that is ahead was told of a commit that somebody died in before it showed.
        """
        try:
            head = self.repository.head()
            known = self.working_copy.cache_header(self.key)
            if head is None or known is None or known.snapshot <= head.snapshot:
                return head
        except Unfinished:
            pass
        with self.repository.lock(self.request.lock_timeout):
            self.result.recovered += recover_repository(self.repository)
        return self.repository.head()

    def _choose(self, head: Header | None) -> str:
        recorded = self.repository.history_header
        operation = choose_operation(self.request, self.working_copy, self.key, head, recorded)
        self._chosen = _id(head)
        if operation == CLONE:  # holds the repository for reading only: it must not write there
            policy = self.request.policy._replace(direction=PULL)
            self.request = self.request._replace(policy=policy)
        return operation

    def _already_done(self, head: Header | None) -> bool:
        known = self.working_copy.exists() and self.working_copy.knows(self.key)
        done = already_done(self.result.operation, self.request, known)
        if done and head is not None:
            self.result.snapshot = head.snapshot
            self.result.manifest_digest = head.digest
        return done

    def _refuse_committed_leftovers(self) -> None:
        """Check mode cannot foresee what a sync does behind a recovery that changes files."""
        left = [unfinished(self.working_copy, self.key, self.repository)]
        left += [
            Leftover(str(one), goes_forward=one.decision == COMMIT)
            for one in pending(self.working_copy, self.repository)
        ]
        for one in left:
            if not one.goes_forward:
                continue
            raise Unfinished(
                f"a committed transaction is not finished here: {one.description}",
                object=self.request.src,
                next_step="Run `dsg.storage.recover` first, then the dry run is exact.",
            )

    def _plan_only(self, head: Header | None) -> None:
        view = self._look(head)
        plan = self._plan(view)
        _refuse(view, plan)
        if plan.changes_remote or view.head is None:
            self._refuse_held()
            self.repository.require_rights()
        elif self._has_leftovers():
            self.repository.require_rights()
        if plan.changes_remote and view.remote_manifest is not None:
            self.repository.require_unchanged(view.remote_manifest)

    def _has_leftovers(self) -> bool:
        """Tell whether a run would clear up in the repository, although it publishes nothing."""
        if pending(self.working_copy, self.repository):
            return True
        looks = self.result.changed and not self._only_reads()
        return looks and bool(self.repository.unfinished())

    def _only_reads(self) -> bool:
        """Tell whether the repository is only read, whatever is found in it."""
        return self.request.policy.direction == PULL or self.result.operation == CLONE

    def _refuse_held(self) -> None:
        """Check mode refuses what a run would, but for what that would have undone before."""
        undone = {one.part.txn_id for one in pending(self.working_copy, self.repository)}
        held = [one for one in self.repository.held() if one.txn_id not in undone]
        refuse_held(held, self.repository.location)

    def _sync(self, head: Header | None) -> None:
        view = self._look(head)
        # Where a transaction was finished here, the repository may have its old tree to put away yet.
        if view.in_sync() and not self.request.checksum and not self.result.recovered:
            self._report(view, Plan())
            view.save_index()
            return
        shared = self._only_reads()
        with self.repository.lock(self.request.lock_timeout, shared=shared):
            if not shared:
                self.result.recovered += recover_repository(self.repository)
            view = self._look_again(view)
            plan = self._plan(view)
            _refuse(view, plan)
            if self.result.changed:
                self._carry_out(view, plan)
            else:
                view.save_index()

    def _has_work(self, view: View, plan: Plan) -> bool:
        """Tell whether anything is to be written: an empty tree is published and cloned as well."""
        return (
            bool(plan.moving() or view.names)
            or view.head is None
            or not self.working_copy.knows(self.key)
        )

    def _carry_out(self, view: View, plan: Plan) -> None:
        transaction = SyncTransaction(self.request, view, plan, self.result, self.watch)
        transaction.run()
        view.save_index(transaction.uploaded)

    def _look(self, head: Header | None) -> View:
        with self.watch.phase("scan"):
            scan, self.scan = self.scan, None  # good for the first look only
            return View(self.request, self.working_copy, self.repository, self.key, head, scan)

    def _look_again(self, view: View) -> View:
        """Return a view of the repository as it is under the lock.

        The view may be of a newer head than the one that the operation was chosen for.
        """
        head = self.repository.head()
        if _id(head) != self._chosen:
            self.result.operation = self._choose(head)
        return view if _id(head) == _id(view.head) else self._look(head)

    def _plan(self, view: View) -> Plan:
        with self.watch.phase("plan"):
            if self.request.checksum:
                self._refuse_damage(view)
            plan = view.plan()
        self._report(view, plan)
        return plan

    def _report(self, view: View, plan: Plan) -> None:
        self.result.plan = plan
        self.result.names = view.names
        self.result.changed = self._has_work(view, plan)
        if view.head is not None:
            self.result.snapshot = view.head.snapshot
            self.result.manifest_digest = view.head.digest

    def _refuse_damage(self, view: View) -> None:
        manifest = view.remote_manifest
        found = [] if manifest is None else self.repository.drift(manifest, checksum=True)
        if found:
            raise DriftError(
                f"{len(found)} published paths are not what the manifest says",
                object=self.repository.location,
                details=capped(found),
            )


def _refuse(view: View, plan: Plan) -> None:
    """Refuse what must not, or could not, be carried out."""
    plan.require_no_conflict()
    view.check_deletions(plan)
    refuse_mounts(view, plan)


def _id(head: Header | None) -> str:
    return "" if head is None else head.id
