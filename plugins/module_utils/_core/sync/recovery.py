# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finish or undo what a crash left, on the working copy and in the repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ..backends.base import Repository
from ..backends.registry import open_repository
from ..client.journal import HERE, Journal
from ..client.transaction import ClientTransaction, clean_staging, pending
from ..client.working_copy import WorkingCopy
from ..errors import ArgumentError, DsgError, Unfinished, from_oserror

_REPEATABLE = "Nothing is lost: the next recovery goes on where this one stopped."


class Leftover(NamedTuple):
    """What an interrupted run left in a working copy; ``description`` is '' for nothing."""

    description: str = ""
    goes_forward: bool = False


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let a failing recovery say what is true of it: steps that were done stay done."""
    try:
        yield
    except OSError as exc:
        error = from_oserror(exc, "the recovery")
        error.unchanged = _REPEATABLE
        raise error from exc
    except DsgError as exc:
        if exc.unchanged == DsgError.unchanged:
            exc.unchanged = _REPEATABLE
        raise


@_repeatable()
def recover(
    src: str, repository: str, backend: Mapping[str, object], lock_timeout: float = 60.0
) -> list[str]:
    """Recover a working copy ('' for none) and a repository; return what was done, as sentences.

    The same result however often it runs.
    """
    held, working_copy = _opened(src, repository, backend)
    done = []
    if working_copy is not None and working_copy.has_metadata():
        with working_copy.lock(lock_timeout):
            done += recover_working_copy(working_copy)
    with held.lock(lock_timeout):
        return done + recover_repository(held)


def preview(src: str, repository: str, backend: Mapping[str, object]) -> list[str]:
    """Describe what :func:`recover` would do, as sentences; changes nothing."""
    held, working_copy = _opened(src, repository, backend)
    try:
        return leftovers(working_copy, held)
    except OSError as exc:
        raise from_oserror(exc, "looking for unfinished transactions") from exc


def leftovers(working_copy: WorkingCopy | None, repository: Repository) -> list[str]:
    """Describe what an interrupted run left on both sides; changes nothing."""
    left = unfinished(working_copy).description if working_copy is not None else ""
    return ([left] if left else []) + repository.unfinished()


def _opened(
    src: str, repository: str, backend: Mapping[str, object]
) -> tuple[Repository, WorkingCopy | None]:
    if src and not os.path.isabs(src):
        raise ArgumentError("src must be an absolute path", object=src)
    return open_repository(backend, repository), WorkingCopy(src) if src else None


@_repeatable()
def recover_working_copy(working_copy: WorkingCopy) -> list[str]:
    """Carry a committed transaction forward, undo one that did not commit; its lock is held."""
    journal = pending(working_copy)
    if journal is None:
        found = clean_staging(working_copy)
        return [f"removed the staging area of {txn_id}" for txn_id in found]
    transaction = ClientTransaction(working_copy, journal.txn_id)
    if not _is_committed(journal):
        transaction.rollback()
        clean_staging(working_copy)
        return [f"undid transaction {journal.txn_id} in the working copy: it did not commit"]
    try:
        if journal.decision != HERE:
            _repository(journal).make_durable()
        put_off, backup = transaction.commit(journal)
    except OSError as exc:
        cause = from_oserror(exc, "applying")
        raise Unfinished(
            f"transaction {journal.txn_id} cannot be finished: {cause.message}",
            object=cause.object or working_copy.root,
        ) from exc
    clean_staging(working_copy)
    done = [f"finished transaction {journal.txn_id} in the working copy"]
    done += [f"put off {path}: it changed locally" for path in put_off]
    return done + ([f"local versions that lost a conflict are in {backup}"] if backup else [])


@_repeatable()
def recover_repository(repository: Repository) -> list[str]:
    """Finish or undo a repository's leftovers; its lock is held."""
    return repository.recover()


def unfinished(working_copy: WorkingCopy) -> Leftover:
    """Describe what :func:`recover_working_copy` would do; changes nothing."""
    if not working_copy.exists():
        return Leftover()
    journal = pending(working_copy)
    if journal is not None:
        if _is_committed(journal):
            return Leftover(f"transaction {journal.txn_id} is to be finished", goes_forward=True)
        return Leftover(f"transaction {journal.txn_id} did not commit and is to be undone")
    try:
        staged = sorted(os.listdir(working_copy.staging))
    except FileNotFoundError:
        return Leftover()
    return Leftover(f"staging areas to be removed: {', '.join(staged)}") if staged else Leftover()


def _is_committed(journal: Journal) -> bool:
    """Ask whoever decides; a repository that does not answer is an error, not a no."""
    if journal.decision == HERE:
        return True
    return _repository(journal).committed(journal.txn_id, journal.snapshot)


def _repository(journal: Journal) -> Repository:
    return open_repository(journal.backend, journal.repository)
