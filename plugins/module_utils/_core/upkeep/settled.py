# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository as a job needs it that changes it: there, locked, and with no crash left to clear up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..backends.base import LocalRepository
from ..errors import ManifestError, RepositoryError, Unfinished


@contextmanager
def settled(
    repository: LocalRepository, lock_timeout: float, *, check: bool
) -> Iterator[list[str]]:
    """Lock and recover a repository; give what was done for that, in a dry run what would be.

    Raises :class:`RepositoryError` where there is none, and :class:`MissingRight` where this user could
    not publish. Both are asked for before anything is made: a lock file stays for good, and would tell
    of a repository that never was.
    """
    if check:
        would_do = repository.unfinished()
        _require(repository)
        repository.require_rights()
        yield would_do
        return
    _refuse_absent(repository)
    repository.require_rights()
    with repository.lock(lock_timeout):
        done = repository.recover()
        _require(repository)
        yield done


def _refuse_absent(repository: LocalRepository) -> None:
    """Refuse what is no repository; one that a crash left unreadable is for recovery to mend."""
    try:
        _require(repository)
    except Unfinished:
        return
    except ManifestError:
        if not repository.unfinished():
            raise


def _require(repository: LocalRepository) -> None:
    if repository.head() is None:
        raise RepositoryError(
            "the repository does not exist",
            object=repository.location,
            next_step="Correct repository or backend.",
        )
