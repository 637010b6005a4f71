# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finish or undo what a crash left, on the working copy and in the repository."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..backends.base import Repository
from ..client.journal import HERE, Journal
from ..client.transaction import ClientTransaction, clean_staging, pending
from ..client.working_copy import WorkingCopy, repository_key
from ..errors import (
    ArgumentError,
    LockedError,
    RepositoryError,
    Unfinished,
    WorkingCopyError,
    from_oserror,
    telling,
)
from ..transport.connect import destination_of, repository_at
from ..transport.destination import Destination
from .fleet.pending import Pending, settle
from .fleet.pending import pending as pending_parts

_POLL_SECONDS = 0.05
_REPEATABLE = "Nothing is lost: the next recovery goes on where this one stopped."


class DecidedElsewhere(WorkingCopyError):
    """Only a host that this run has nothing to do with knows whether a transaction committed."""


class Leftover(NamedTuple):
    """What an interrupted run left in a working copy; ``description`` is '' for nothing."""

    description: str = ""
    goes_forward: bool = False


@telling("the recovery", _REPEATABLE)
def recover(
    src: str,
    repository: str,
    backend: Mapping[str, object],
    lock_timeout: float = 60.0,
    destination: Destination | None = None,
    abandon: str = "",
) -> list[str]:
    """Recover a working copy ('' for none) and a repository; return what was done, as sentences.

    The same result however often it runs. ``abandon`` is a transaction that the repository holds, to be
    rolled back although whoever would decide it was not asked.
    """
    with _opened(src, repository, backend, destination) as (held, working_copy):
        done = []
        if working_copy is not None and working_copy.has_metadata():
            if abandon:
                done += _give_up_here(working_copy, held, lock_timeout, abandon)
            done += recover_alone(working_copy, key_of(held), held, lock_timeout)
            # Files that nobody needs go as well, where nobody is about to use them.
            with suppress(LockedError), working_copy.lock(0):
                done += recover_working_copy(working_copy, key_of(held), held)
            with working_copy.lock(lock_timeout, shared=True):
                done += _give_up(working_copy, held, lock_timeout, abandon) if abandon else []
                done += settle(working_copy, held, lock_timeout, explicit=True)
        with held.lock(lock_timeout):
            done += recover_repository(held)
            return done + (_abandon(held, abandon) if abandon else [])


def recover_alone(
    working_copy: WorkingCopy, key: str, repository: Repository, lock_timeout: float
) -> list[str]:
    """Recover a working copy with nobody else in it, be there anything to recover.

    Whoever comes second finds it done, and does not wait for the end of what the first one does next.
    What another host decides is waited for as well: that host may be a part of the same play.
    """
    deadline = time.monotonic() + lock_timeout
    while True:
        try:
            if not unfinished(working_copy, key, repository).description:
                return []
            with working_copy.lock(0):
                return recover_working_copy(working_copy, key, repository)
        except (LockedError, DecidedElsewhere):
            if time.monotonic() >= deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _give_up_here(
    working_copy: WorkingCopy, repository: Repository, lock_timeout: float, txn_id: str
) -> list[str]:
    if not _is_undecidable(working_copy, repository, txn_id):
        return []
    with working_copy.lock(lock_timeout):
        if not _is_undecidable(working_copy, repository, txn_id):
            return []  # somebody was faster, and the journal may be another one's by now
        ClientTransaction(working_copy, txn_id).give_up()
    return _given_up_here(working_copy, txn_id)


def _given_up_here(working_copy: WorkingCopy, txn_id: str) -> list[str]:
    kept = ClientTransaction(working_copy, txn_id).given_up
    return [
        f"gave up transaction {txn_id} in the working copy: nobody can tell whether it committed",
        f"what it had staged, or put aside, is in {kept}",
    ]


def _is_undecidable(working_copy: WorkingCopy, repository: Repository, txn_id: str) -> bool:
    """Tell whether a transaction is unfinished here, and who decides it is lost, or another host."""
    journal = pending(working_copy)
    if journal is None or journal.txn_id != txn_id:
        return False
    try:
        _is_committed(working_copy, journal, key_of(repository), repository)
    except (DecidedElsewhere, RepositoryError):
        return True
    return False


def _given_up(working_copy: WorkingCopy, repository: Repository, txn_id: str) -> list[Pending]:
    """Return what nobody can decide any more: its part in a fleet, whose repository is lost."""
    parts = pending_parts(working_copy, repository, explicit=True)
    found = [one for one in parts if one.part.txn_id == txn_id and one.part.base]
    return found if found and repository.head() is None else []


def _give_up(
    working_copy: WorkingCopy, repository: Repository, lock_timeout: float, txn_id: str
) -> list[str]:
    done = []
    for one in _given_up(working_copy, repository, txn_id):
        with repository.lock(lock_timeout):
            done += _abandon(repository, txn_id)
        one.record.remove(one.part)
        done.append(f"gave up transaction {txn_id}, whose repository is not there any more")
    return done


def _abandon(repository: Repository, txn_id: str) -> list[str]:
    prepared = repository.resume(txn_id)
    if prepared is None:
        return []
    prepared.rollback()
    return [f"abandoned transaction {txn_id}, which was prepared and held"]


def preview(
    src: str,
    repository: str,
    backend: Mapping[str, object],
    destination: Destination | None = None,
    abandon: str = "",
) -> list[str]:
    """Describe what :func:`recover` would do, as sentences; changes nothing."""
    try:
        with _opened(src, repository, backend, destination) as (held, working_copy):
            here = _preview_here(working_copy, held, abandon)
            there = held.unfinished()
            waiting = held.held() if abandon else []
            there += [f"{one}: to be abandoned" for one in waiting if one.txn_id == abandon]
            if there:
                held.require_rights()
            lost = _given_up(working_copy, held, abandon) if abandon and working_copy else []
            lost_too = [f"{one}, and is to be given up: its repository is lost" for one in lost]
            return [*here, *there, *lost_too]
    except OSError as exc:
        raise from_oserror(exc, "looking for unfinished transactions") from exc


def _preview_here(
    working_copy: WorkingCopy | None, repository: Repository, abandon: str
) -> list[str]:
    if working_copy is None:
        return []
    if abandon and _is_undecidable(working_copy, repository, abandon):
        return _given_up_here(working_copy, abandon)
    return left_here(working_copy, key_of(repository), repository)


def key_of(repository: Repository) -> str:
    """Return the name under which a working copy records the repository."""
    return repository_key(repository.name, repository.location)


def left_here(working_copy: WorkingCopy, key: str, repository: Repository) -> list[str]:
    """Describe what is unfinished in a working copy, be it for another host to decide."""
    try:
        left = unfinished(working_copy, key, repository).description
    except DecidedElsewhere as exc:
        left = exc.message
    fleets = [str(one) for one in pending_parts(working_copy, repository, explicit=True)]
    return ([left] if left else []) + fleets


@contextmanager
def _opened(
    src: str,
    repository: str,
    backend: Mapping[str, object],
    destination: Destination | None,
) -> Iterator[tuple[Repository, WorkingCopy | None]]:
    if src and not os.path.isabs(src):
        raise ArgumentError("src must be an absolute path", object=src)
    with repository_at(destination, backend, repository) as held:
        yield held, WorkingCopy(src) if src else None


@telling("the recovery", _REPEATABLE)
def recover_working_copy(working_copy: WorkingCopy, key: str, repository: Repository) -> list[str]:
    """Carry a committed transaction forward, undo one that did not commit; its lock is held.

    ``repository`` (recorded as ``key``) is asked where it is the one that the transaction was with; any
    other one is if it is on this host, or on the one that is reached already.
    """
    journal = pending(working_copy)
    if journal is None:
        found = clean_staging(working_copy)
        return [f"removed the staging area of {txn_id}" for txn_id in found]
    transaction = ClientTransaction(working_copy, journal.txn_id)
    if not _is_committed(working_copy, journal, key, repository):
        transaction.rollback()
        clean_staging(working_copy)
        return [f"undid transaction {journal.txn_id} in the working copy: it did not commit"]
    try:
        if journal.decision != HERE:
            with _deciding(working_copy, journal, key, repository) as held:
                held.make_durable()
        put_off, backup = transaction.commit(journal)
    except OSError as exc:
        cause = from_oserror(exc, "applying")
        raise Unfinished(
            f"transaction {journal.txn_id} cannot be finished: {cause.message}",
            object=cause.object or working_copy.root,
        ) from exc
    clean_staging(working_copy)
    done = [f"finished transaction {journal.txn_id} in the working copy"]
    done += [
        f"put off {path}: not what was planned for is there, the next sync compares it"
        for path in put_off
    ]
    return done + ([f"local versions that had to make way are in {backup}"] if backup else [])


@telling("the recovery", _REPEATABLE)
def recover_repository(repository: Repository) -> list[str]:
    """Finish or undo a repository's leftovers; its lock is held."""
    return repository.recover()


def unfinished(working_copy: WorkingCopy, key: str, repository: Repository) -> Leftover:
    """Describe what :func:`recover_working_copy` would do; changes nothing."""
    if not working_copy.exists():
        return Leftover()
    journal = pending(working_copy)
    if journal is not None:
        if _is_committed(working_copy, journal, key, repository):
            return Leftover(f"transaction {journal.txn_id} is to be finished", goes_forward=True)
        return Leftover(f"transaction {journal.txn_id} did not commit and is to be undone")
    try:
        staged = sorted(os.listdir(working_copy.staging))
    except FileNotFoundError:
        return Leftover()
    return Leftover(f"staging areas to be removed: {', '.join(staged)}") if staged else Leftover()


def _is_committed(
    working_copy: WorkingCopy, journal: Journal, key: str, repository: Repository
) -> bool:
    """Ask whoever decides; a repository that does not answer is an error, not a no."""
    if journal.decision == HERE:
        return True
    with _deciding(working_copy, journal, key, repository) as held:
        return held.committed(journal.txn_id, journal.snapshot)


@contextmanager
def _deciding(
    working_copy: WorkingCopy, journal: Journal, key: str, repository: Repository
) -> Iterator[Repository]:
    """Give the repository that the journal's transaction was with."""
    if journal.key == key:
        yield repository
        return
    destination = destination_of(repository) if journal.host else None
    if journal.host and (destination is None or destination.name != journal.host):
        raise _decided_elsewhere(journal, working_copy.root)
    try:
        with repository_at(destination, journal.backend, journal.repository) as other:
            if key_of(other) != journal.key:
                raise ArgumentError("the journal names two repositories")
            yield other
    except ArgumentError as exc:
        raise WorkingCopyError(
            f"the journal names no repository that can be asked: {exc.message}",
            object=working_copy.journal,
            next_step=(
                "Find out who put it there. Where .dsg came with somebody else's files, remove all of it."
            ),
        ) from exc


def _decided_elsewhere(journal: Journal, path: str) -> DecidedElsewhere:
    """Return that another host has to be asked: a journal says which, never how it is reached.

    It may come from anybody, and what is run to reach a host is for who runs us to say.
    """
    where = f"repository {journal.repository!r} of host {journal.host!r}"
    return DecidedElsewhere(
        f"transaction {journal.txn_id} is not finished here, and {where} decides it",
        object=path,
        next_step=f"Run `dsg.storage.recover` for host {journal.host!r} (--limit), then this again. If that host "
        f"is lost for good: `dsg.storage.recover -e dsg_abandon={journal.txn_id}` with another one.",
    )
