# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first phase of a fleet transaction on one host: publish nothing, but be able to in any case."""

from __future__ import annotations

import os

from ...backends.base import Repository
from ...backends.holding import MAX_NOTE
from ...client.fleet import PREPARED, FleetRecord, Head, Participant, lock_scan
from ...errors import (
    ArgumentError,
    BehindError,
    DsgError,
    HeldError,
    PathError,
    RepositoryError,
    SourceChanged,
    from_oserror,
)
from ...manifest import ignore as ignores
from ...manifest import index as indexes
from ...manifest.codec import Manifest
from ...manifest.header import Header, is_line
from ...manifest.paths import show
from ...manifest.scan import Scan, scan_tree
from ...plan.plan import Plan
from ...plan.policy import ANY, PULL
from ...posix.process import identify
from .. import engine
from ..recovery import recover_alone, recover_repository
from ..request import CLONE, FULL, SyncRequest, SyncResult
from ..site import repository_of
from ..txn import SyncTransaction
from ..view import View
from .complete import complete
from .pending import settle


def prepare(request: SyncRequest) -> SyncResult:
    """Stage and prepare what is to be published on one host, and have the repository hold it.

    Many may run at once on one working copy. The first one scans it for all; a later one stops where
    it is not the same tree any more. A host with nothing to do takes no part: ``changed`` is False.
    May be repeated. Raises :class:`DsgError` with this host unchanged and no part of the fleet.
    """
    request.validate()
    if request.policy.direction == PULL:
        raise ArgumentError("direction pull publishes nothing: there is nothing to prepare")
    if request.check:
        result = engine.run(request._replace(phase=FULL, fleet="", host=""))
        _require_push_only(result, request.repository)
        return result
    try:
        with repository_of(request) as repository:
            repository.check_source(request.src)
            return _Preparation(request, repository).run()
    except OSError as exc:
        raise from_oserror(exc, "preparing") from exc


class _Preparation(engine.Run):
    def __init__(self, request: SyncRequest, repository: Repository) -> None:
        super().__init__(request, repository)
        self.record = FleetRecord(self.working_copy, request.fleet)
        self.scan: Scan | None = None

    def run(self) -> SyncResult:
        self._refuse_decided()
        if not self.working_copy.has_metadata():
            self._create()
        self.result.recovered += recover_alone(
            self.working_copy, self.key, self.repository, self.request.lock_timeout
        )
        with self.working_copy.lock(self.request.lock_timeout, shared=True):
            self.result.recovered += settle(
                self.working_copy,
                self.repository,
                self.request.lock_timeout,
                but=self.request.fleet,
            )
            head = self._head()
            self.result.operation = self._choose(head)
            self.scan = self._scan_once()
            if not self._already_done(head):
                self._sync(head)
        return self.result

    def _refuse_decided(self) -> None:
        decision = self.record.decision()
        if decision:
            raise HeldError(
                f"fleet transaction {self.request.fleet} is decided ({decision}): nobody can join it",
                object=self.request.src,
                next_step="Run again, with a new fleet id.",
            )

    def _choose(self, head: Header | None) -> str:
        operation = super()._choose(head)
        if operation == CLONE:
            raise ArgumentError(
                "src is an empty directory: a clone publishes nothing", object=self.request.src
            )
        return operation

    # --- the tree, scanned once

    def _scan_once(self) -> Scan:
        with self.watch.phase("scan"):
            with lock_scan(self.working_copy):
                head = self.record.head()
                if head is None:
                    return self._scan_first()
            scan = self._scan_all(clock=False)
            if scan.digest != head.digest:
                raise SourceChanged(
                    "the working copy changed while the fleet was being prepared, or this host has "
                    "other ignore patterns than the first one",
                    object=self.request.src,
                    next_step="Run again when nothing writes to the tree.",
                )
            return scan

    def _scan_first(self) -> Scan:
        """Scan for all, hash everything, and begin the record."""
        scan = self._scan_all(clock=True)
        if not scan.as_indexed:
            try:
                scan.save(self.working_copy.index)
            except OSError:  # it costs the others time
                pass
        coordinator = identify(self.request.coordinator) if self.request.coordinator else None
        self.record.open(Head(coordinator, scan.digest))
        return scan

    def _scan_all(self, *, clock: bool) -> Scan:
        root = self.working_copy.root
        return scan_tree(
            root,
            ignore=ignores.load(root, self.request.ignore),
            index=indexes.load(self.working_copy.index),
            checksum=self.request.checksum and clock,
            clock_directory=self.working_copy.metadata if clock else None,
            check_names=self.request.policy.names == ANY,
        )

    def _look(self, head: Header | None) -> View:
        return View(self.request, self.working_copy, self.repository, self.key, head, self.scan)

    # --- the part

    def _sync(self, head: Header | None) -> None:
        view = self._look(head)
        if view.in_sync() and not self.request.checksum:
            self._report(view, Plan())
            return
        with self.repository.lock(self.request.lock_timeout):
            self.result.recovered += recover_repository(self.repository)
            view = self._look_again(view)
            plan = self._plan(view)
            if self._is_prepared_already():
                return
            plan.require_no_conflict()
            view.check_deletions(plan)
            _require_push_only(self.result, self.repository.location)
            if self.result.changed:
                _FleetTransaction(self.request, view, plan, self.result, self.watch).run_in(
                    self.record
                )

    def _is_prepared_already(self) -> bool:
        """Tell whether an earlier call did it; what one left that died is undone."""
        part = self.record.participant(self.key)
        if part is None:
            return False
        if part.host != self.request.host:
            raise RepositoryError(
                f"hosts {part.host} and {self.request.host} have the same repository",
                object=self.repository.location,
                next_step="Name each repository once in the inventory.",
            )
        if part.state == PREPARED and self.repository.resume(part.txn_id) is not None:
            self.result.txn_id = part.txn_id
            return True
        self.result.recovered += complete(self.repository, self.record, part, commit=False)
        return False


class _FleetTransaction(SyncTransaction):
    """The repository's half of a sync, up to the point where only a decision is missing."""

    def run_in(self, record: FleetRecord) -> None:
        """Stage, prepare, and let the repository hold it; or change nothing but C, where that is all."""
        if not self.plan.changes_remote and self.view.head is not None:
            self._update_cache(record)
            return
        try:
            with self.watch.phase("stage"):
                self._stage_uploads()
                manifest = self._new_manifest()
            part = self._part(manifest.header.snapshot, manifest.header.digest)
            self._hold(record, part, manifest)
        except BaseException:
            self._undo(record)
            raise
        self.result.txn_id = self.txn_id

    def _hold(self, record: FleetRecord, part: Participant, manifest: Manifest) -> None:
        if self.repository is None:
            raise AssertionError("staged without a transaction")
        with self.watch.phase("prepare"):
            self.repository.prepare(manifest)
            # Known here first: no repository is to hold what nobody would ever decide.
            record.add(part, self._new_cache(manifest))
            self.repository.hold(self._note())
            record.mark_prepared(part)

    def _update_cache(self, record: FleetRecord) -> None:
        """Both sides hold the same: that is so whatever becomes of the fleet."""
        manifest = self._new_manifest()
        part = self._part(manifest.header.snapshot, manifest.header.digest)
        record.add(part, self._new_cache(manifest))
        record.install(part)
        record.remove(part)

    def _part(self, snapshot: int, digest: str) -> Participant:
        return Participant(
            host=self.request.host,
            repository=self.request.repository,
            backend=dict(self.view.repository.backend),
            key=self.view.key,
            txn_id=self.txn_id,
            base=0 if self.view.head is None else self.view.head.snapshot,
            snapshot=snapshot,
            digest=digest,
        )

    def _note(self) -> str:
        user, place = self.request.user_name(), f"{os.uname().nodename}:{self.request.src}"
        note = f"fleet {self.request.fleet} of {user}@{place}"[:MAX_NOTE]
        return note if is_line(note, MAX_NOTE) else ascii(note)[:MAX_NOTE]

    def _undo(self, record: FleetRecord) -> None:
        """Undo the host's part; what cannot be undone now is found by the next recovery."""
        try:
            self._rollback_repository()
            part = record.participant(self.view.key)
            if part is not None:
                record.remove(part)
        except OSError as exc:
            self.result.pending_cleanup.append(str(from_oserror(exc, "rolling back")))
        except DsgError as exc:
            self.result.pending_cleanup.append(str(exc))


def _require_push_only(result: SyncResult, location: str) -> None:
    """Refuse a plan that changes the working copy: other hosts are preparing the tree as it is."""
    if result.names:
        raise _not_yet_renamed(result, location)
    if not result.plan.changes_local:
        return
    counts = result.plan.counts()
    raise BehindError(
        "the repository holds changes that the working copy does not have "
        f"({counts['download']} to download, {counts['delete_local']} to delete here): a fleet is "
        "prepared from one and the same tree",
        object=location,
    )


def _not_yet_renamed(result: SyncResult, location: str) -> DsgError:
    """Return that a pull comes first, which renames; of a repository that is not there, nobody can pull."""
    number = len(result.names.renames)
    what = f"{number} names in the working copy are to be made portable before a fleet is prepared"
    if result.snapshot is not None:
        return BehindError(what, object=location)
    return PathError(
        what,
        object=location,
        details=[f"{show(old)}: becomes {show(new)}" for old, new in result.names.renames],
        next_step="Publish to one of the hosts first (`--limit`), then to all.",
    )
