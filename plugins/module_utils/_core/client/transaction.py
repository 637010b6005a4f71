# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's half of a transaction: staged downloads, journal, apply, new last-sync record."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..manifest import codec
from ..manifest.codec import Manifest
from ..manifest.entry import DIRECTORY, Entry
from ..plan.structure import ancestors, collisions
from ..posix import durable
from ..posix.beneath import Beneath
from ..posix.present import is_directory, is_present
from . import journal as journals
from .apply import ASIDE, KEPT, OLD, carry_out
from .arriving import Arriving
from .journal import INSTALL, REMOVE, Journal, Operation
from .working_copy import MANIFEST, METADATA, WorkingCopy, reaching

_STAGING, _BACKUP = f"{METADATA}/staging", f"{METADATA}/backup"
_FILES, _RECORD, _MERGED = "files", "record", "record.merged"


class ClientTransaction:
    """The staging area of one transaction in ``.dsg/staging/<txn>``."""

    def __init__(self, working_copy: WorkingCopy, txn_id: str) -> None:
        self.working_copy = working_copy
        self.txn_id = txn_id
        self.root = os.path.join(working_copy.staging, txn_id)
        self.files = os.path.join(self.root, _FILES)
        self.record = os.path.join(self.root, _RECORD, MANIFEST)

    def begin(self) -> None:
        """Make the staging area."""
        os.mkdir(self.root, 0o700)
        os.mkdir(self.files, 0o700)

    def staged_inode(self, slot: int) -> int:
        """Return the inode number of a staged file."""
        return os.lstat(os.path.join(self.files, str(slot))).st_ino

    def stage_link(self, slot: int, target: str) -> int:
        """Stage a link; return its inode number."""
        os.symlink(target, os.path.join(self.files, str(slot)))
        return self.staged_inode(slot)

    def stage_names(self, slot: int, content: bytes) -> int:
        """Stage a record of names; return its inode number."""
        path = os.path.join(self.files, str(slot))
        durable.write_new(path, [content], mode=0o600, sync=False)
        return self.staged_inode(slot)

    def prepare(self, journal: Journal, cache: Manifest | None) -> None:
        """Write the new last-sync record (None: it stays) and the journal, durably.

        With ``decision: here`` the journal's existence is the commit.
        """
        if cache is not None:
            record = os.path.join(self.root, _RECORD)
            os.mkdir(record, 0o700)
            durable.write_new(os.path.join(record, MANIFEST), codec.write(cache), sync=False)
        durable.sync_file_system(self.root)
        journal.write(self.working_copy.journal)

    def commit(self, journal: Journal) -> tuple[list[str], str]:
        """Carry out the journal; return (paths put off, backup directory or '').

        May be repeated after a crash at any step. Afterwards the staging area is only to be discarded.
        """
        with Beneath(self.working_copy.root) as tree, self._slots(tree) as slots:
            arriving = Arriving(self.record if journal.key else None, self.working_copy.open)
            put_off = carry_out(list(journal.operations), tree, slots, arriving)
            self._keep_backups(journal, set(put_off), slots)
            self._install_record(journal, put_off)
            self._keep_aside(journal, set(put_off), slots)
        durable.sync_file_system(self.working_copy.root)
        durable.discard(self.working_copy.journal)
        durable.sync_directory(self.working_copy.metadata)
        return put_off, self._backup if is_directory(self._backup) else ""

    def _slots(self, tree: Beneath) -> Beneath:
        """Return the directory of staged files, reached through no link."""
        with reaching(self.files):
            return tree.within(f"{_STAGING}/{self.txn_id}/{_FILES}")

    def rollback(self) -> None:
        """Drop journal and staging area; the tree was not touched yet."""
        durable.discard(self.working_copy.journal)
        durable.discard(self.working_copy.journal + ".new")
        self.discard()

    @property
    def given_up(self) -> str:
        """Where its files are kept once it is given up."""
        return f"{self._backup}.given-up"

    def give_up(self) -> None:
        """End it undecided, and keep its files. May be repeated after a crash at any step.

        If it was applied in part, versions of the user's are in the staging area alone, and the journal
        tells which is whose.
        """
        self.working_copy.move(self.root, self.given_up)
        self.working_copy.move(self.working_copy.journal, os.path.join(self.given_up, "journal"))
        durable.sync_file_system(self.working_copy.root)

    def discard(self) -> None:
        """Remove the staging area."""
        self.working_copy.remove(self.root)

    @property
    def _backup(self) -> str:
        return os.path.join(self.working_copy.backups, self.txn_id)

    def _keep_backups(self, journal: Journal, put_off: set[str], slots: Beneath) -> None:
        """Move local versions that lost a conflict to ``.dsg/backup/<txn>/<path>``."""
        for operation in journal.operations:
            # What was removed is in its slot, be it that something else kept its path from being filled.
            done = operation.do == REMOVE or operation.path not in put_off
            if operation.backup and done and operation.seen is not None:
                for name in (str(operation.slot), f"{operation.slot}{OLD}"):
                    if slots.lstat(name) is not None:
                        self._keep(name, operation, slots, marked=True)

    def _keep_aside(self, journal: Journal, put_off: set[str], slots: Beneath) -> None:
        """Move local versions to the backups as well that were taken from their names and cannot go back.

        The new record is on disk before: a repetition does not find what made it put the path off.
        """
        found = [
            (name, operation)
            for operation in journal.operations
            if operation.do in (INSTALL, REMOVE) and operation.path in put_off
            for name in (f"{operation.slot}{OLD}", f"{operation.slot}{ASIDE}")
            if slots.lstat(name) is not None
        ]
        if found:
            durable.sync_file_system(self.root)
        for name, operation in found:
            self._keep(name, operation, slots)

    def _keep(
        self, slot: str, operation: Operation, slots: Beneath, *, marked: bool = False
    ) -> None:
        """Move a slot to the backups. Only their owner can enter the directories on the way."""
        root = self.working_copy.root
        path = f"{_BACKUP}/{self.txn_id}/{operation.path}"
        with Beneath(root, mode=0o700) as tree, reaching(os.path.join(root, path)):
            fd, name = tree.at(path, make_parents=True)
            if marked:
                self._mark_kept(operation, slots)
            os.rename(slot, name, src_dir_fd=slots.fd, dst_dir_fd=fd)

    def _mark_kept(self, operation: Operation, slots: Beneath) -> None:
        """Tell a repetition that an emptied slot does not mean that nothing was removed yet."""
        mark = f"{operation.slot}{KEPT}"
        if slots.lstat(mark) is None:
            durable.write_new(mark, [], mode=0o600, sync=False, dir_fd=slots.fd)

    def _install_record(self, journal: Journal, put_off: Sequence[str]) -> None:
        if put_off and is_present(self.record):
            self._merge_record(journal, self.record, set(put_off))
        self.working_copy.install(os.path.dirname(self.record), journal.key)

    def _merge_record(self, journal: Journal, staged: str, put_off: set[str]) -> None:
        """Keep the old record of paths that were put off, so that the next run compares anew."""
        with self.working_copy.open(staged) as stream:
            new = codec.read(stream, staged)
        old = self.working_copy.cache(journal.key)
        entries = [entry for entry in new.entries if not _is_put_off(entry.path, put_off)]
        if old is not None:
            kept = [entry for entry in old.entries if _is_put_off(entry.path, put_off)]
            entries = [*_beside(kept, entries), *kept]
        merged = os.path.join(self.root, _MERGED)
        durable.discard(merged)
        durable.write_new(merged, codec.write(rebuilt(new, entries)), sync=False)
        os.rename(merged, staged)


def _is_put_off(path: str, put_off: set[str]) -> bool:
    """Tell whether a path, or a directory above it whose renaming had to wait, was put off."""
    while path and path not in put_off:
        path = path.rpartition("/")[0]
    return bool(path)


def _beside(kept: list[Entry], new: list[Entry]) -> list[Entry]:
    """Return the new entries that can be in one tree with those that are kept.

    Of another one the next run finds that both sides have it already.
    """
    clashes = collisions({entry.path: entry for entry in [*new, *kept]})
    above = ancestors(entry.path for entry in kept)
    filled = {entry.path for entry in kept if entry.kind == DIRECTORY}
    return [
        entry
        for entry in new
        if entry.path not in clashes
        and entry.path not in above
        and filled.isdisjoint(ancestors([entry.path]))
    ]


def rebuilt(manifest: Manifest, entries: list[Entry]) -> Manifest:
    """Return a manifest with other entries and otherwise the same header."""
    header = manifest.header
    return codec.build(
        entries,
        repository_id=header.repository_id,
        repository=header.repository,
        snapshot=header.snapshot,
        parent=header.parent,
        txn=header.txn,
        created_at=header.created_at,
        created_by=header.created_by,
        message=header.message,
    )


def clean_staging(working_copy: WorkingCopy) -> list[str]:
    """Remove staging areas that no journal speaks for; return their transaction ids.

    Files that a dead process was about to write go without a word: nobody ever saw them.
    """
    for name in os.listdir(working_copy.metadata):
        if name.endswith(".new") or name.startswith("clock."):
            durable.discard(os.path.join(working_copy.metadata, name))
    if not is_directory(working_copy.staging):
        return []
    found = sorted(os.listdir(working_copy.staging))
    for txn_id in found:
        working_copy.remove(os.path.join(working_copy.staging, txn_id))
    return found


def pending(working_copy: WorkingCopy) -> Journal | None:
    """Return the journal of a transaction that is not finished here, None where there is none."""
    return journals.read(working_copy.journal)
