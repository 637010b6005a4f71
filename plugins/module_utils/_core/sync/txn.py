# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One two-phase transaction: stage and prepare both sides, commit the repository, then the client."""

from __future__ import annotations

import os
import secrets

from ..backends.base import Transaction, Upload
from ..backends.origin import new_txn_id, utc_now
from ..backends.outcome import require_not_committed, tidy
from ..client.journal import HERE, REPOSITORY, Journal
from ..client.transaction import ClientTransaction, rebuilt
from ..errors import DsgError, Unfinished, from_oserror
from ..manifest import codec
from ..manifest.codec import Manifest
from ..manifest.entry import DIRECTORY, FILE, Entry
from ..plan.plan import Plan, Step, merged_cache, merged_remote
from ..plan.states import DELETE_REMOTE, DOWNLOAD, UPLOAD, by_path
from ..posix.blocks import LEAST
from ..posix.progress import begin
from .client_plan import operations_of
from .request import SyncRequest, SyncResult
from .timing import Stopwatch
from .view import View


class SyncTransaction:
    """Carries a plan without conflicts out on both sides, or on neither."""

    def __init__(
        self, request: SyncRequest, view: View, plan: Plan, result: SyncResult, watch: Stopwatch
    ) -> None:
        self.request = request
        self.view = view
        self.plan = plan
        self.result = result
        self.watch = watch
        self.txn_id = new_txn_id()
        self.client = ClientTransaction(view.working_copy, self.txn_id)
        self.repository: Transaction | None = None
        self.uploaded: dict[str, Entry] = {}

    def run(self) -> None:
        """Stage, prepare, commit; any failure before the commit point undoes everything."""
        try:
            manifest = self._stage()
            journal = self._prepare(manifest)
        except BaseException:
            self._rollback()
            raise
        self._commit_repository()
        self._commit_client(journal, manifest)

    def _stage(self) -> Manifest:
        with self.watch.phase("stage"):
            self.client.begin()
            if self.plan.changes_remote or self.view.head is None:
                self._stage_uploads()
            self._stage_downloads()
            return self._new_manifest()

    def _stage_uploads(self) -> None:
        uploads = [
            Upload(
                step.local,
                _identity(self.view, step.local),
                self._is_patch(step),
                self.view.origin(step.local),
            )
            for step in self.plan.of(UPLOAD)
            if step.local is not None and self.view.scan is not None
        ]
        deletes = {step.path for step in self.plan.of(DELETE_REMOTE)}
        self.repository = self.view.repository.begin(self.txn_id, self.view.remote_manifest)
        begin("upload", *_size_of([item.entry for item in uploads]))
        landed = self.repository.stage(self.view.working_copy.root, uploads, deletes)
        self.uploaded = by_path(landed)
        self.result.bytes_uploaded = _bytes(landed)

    def _is_patch(self, step: Step) -> bool:
        """Tell whether both versions are large files, of which only a part may differ."""
        new, old = step.local, step.remote
        if new is None or old is None or old.kind != FILE or new.kind != FILE:
            return False
        return min(old.size, new.size) >= LEAST

    def _stage_downloads(self) -> None:
        entries = [s.remote for s in self.plan.of(DOWNLOAD) if s.remote is not None]
        if entries:
            begin("download", *_size_of(entries))
            self.view.repository.fetch(entries, self.client.files)
            self.result.bytes_downloaded = _bytes(entries)

    def _new_manifest(self) -> Manifest:
        """Return the repository's manifest after the commit: a new one, or the present one."""
        present = self.view.remote_manifest
        if present is not None and self.repository is None:
            return present
        head = self.view.head
        return codec.build(
            merged_remote(self.view.remote, self.plan, self.uploaded),
            repository_id=secrets.token_hex(16) if head is None else head.repository_id,
            repository=self.request.repository,
            snapshot=1 if head is None else head.snapshot + 1,
            parent="" if head is None else head.id,
            txn=self.txn_id,
            created_at=utc_now(),
            created_by=f"{self.request.user_name()}@{os.uname().nodename}",
            message=self.request.message,
        )

    def _prepare(self, manifest: Manifest) -> Journal:
        with self.watch.phase("prepare"):
            if self.repository is not None:
                self.repository.prepare(manifest)
            destination = self.request.destination
            journal = Journal(
                txn_id=self.txn_id,
                decision=HERE if self.repository is None else REPOSITORY,
                repository=self.request.repository,
                backend=dict(self.view.repository.backend),
                key=self.view.key,
                snapshot=0 if self.view.head is None else self.view.head.snapshot,
                operations=operations_of(self.plan, self.view, self.client),
                host="" if destination is None else destination.name,
            )
            self.client.prepare(journal, self._new_cache(manifest))
            return journal

    def _new_cache(self, manifest: Manifest) -> Manifest:
        entries = merged_cache(self.view.cache, self.plan, by_path(manifest.entries))
        return manifest if entries == manifest.entries else rebuilt(manifest, entries)

    def _commit_repository(self) -> None:
        if self.repository is None:
            return
        with self.watch.phase("commit"):
            try:
                self.repository.commit()
            except BaseException as exc:
                self._settle(exc)
                raise

    def _settle(self, cause: BaseException) -> None:
        """Undo after a failed commit, unless the repository has the transaction all the same."""
        base = 0 if self.view.head is None else self.view.head.snapshot
        unchanged = "Nothing was removed on either side."
        require_not_committed(self.view.repository, self.txn_id, base, cause, unchanged)
        self._rollback()

    def _commit_client(self, journal: Journal, manifest: Manifest) -> None:
        with self.watch.phase("apply"):
            try:
                put_off, backup = self.client.commit(journal)
            except OSError as exc:
                cause = from_oserror(exc, "applying")
                raise Unfinished(
                    f"the working copy could not be brought up to date: {cause.message}",
                    object=cause.object or self.request.src,
                ) from exc
            self.result.pending_cleanup = self._tidy()
        self.result.txn_id = self.txn_id
        self.result.put_off = put_off
        self.result.backup = backup
        self.result.snapshot = manifest.header.snapshot
        self.result.manifest_digest = manifest.header.digest

    def _tidy(self) -> list[str]:
        """Clean up behind the commit; a failure is left to the next recovery, and fails nothing."""
        waiting = [] if self.repository is None else tidy(self.repository)
        try:
            self.client.discard()
        except OSError as exc:
            waiting.append(f"{self.client.root} is to be removed: {exc.strerror}")
        return waiting

    def _rollback(self) -> None:
        """Undo both sides; what cannot be undone now is found by the next run's recovery."""
        for undo in (self.client.rollback, self._rollback_repository):
            try:
                undo()
            except OSError as exc:
                self.result.pending_cleanup.append(str(from_oserror(exc, "rolling back")))
            except DsgError as exc:
                self.result.pending_cleanup.append(str(exc))

    def _rollback_repository(self) -> None:
        if self.repository is not None:
            self.repository.rollback()


def _identity(view: View, entry: Entry) -> tuple[int, int, int]:
    if entry.kind == DIRECTORY:
        return (0, 0, 0)
    found = view.identity(entry.path)
    return (found.size, found.mtime_ns, found.ino)


def _size_of(entries: list[Entry]) -> tuple[int, int]:
    files = [entry for entry in entries if entry.kind == FILE]
    return len(files), sum(entry.size for entry in files)


def _bytes(entries: list[Entry]) -> int:
    return sum(entry.size for entry in entries if entry.kind == FILE)
