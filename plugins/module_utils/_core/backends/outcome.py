# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of a transaction: whether a commit that failed did happen, and what is left behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DsgError, Unfinished
from .base import Prepared, Repository
from .origin import brief


def require_not_committed(
    repository: Repository, txn_id: str, base: int, cause: BaseException, unchanged: str
) -> None:
    """Return where the commit that ``cause`` stopped did not happen, so that it may be undone.

    ``base`` is the number of the snapshot that it was built upon (0: none). Raises :class:`Unfinished`
    where it did happen, and, saying what is ``unchanged``, where the repository does not answer.
    """
    try:
        committed = repository.committed(txn_id, base)
    except (DsgError, OSError) as exc:
        raise Unfinished(
            f"the repository did not answer whether transaction {txn_id} committed: {brief(exc)}",
            object=repository.location,
            unchanged=unchanged,
        ) from cause
    if committed:
        raise _unfinished(repository, txn_id, cause) from cause


@contextmanager
def behind_commit(repository: Repository, txn_id: str) -> Iterator[None]:
    """Have what fails in the block, behind the commit, say that the transaction is committed."""
    try:
        yield
    except Unfinished:
        raise
    except (DsgError, OSError) as exc:
        raise _unfinished(repository, txn_id, exc) from exc


def _unfinished(repository: Repository, txn_id: str, cause: BaseException) -> Unfinished:
    return Unfinished(
        f"transaction {txn_id} committed, then failed: {brief(cause)}", object=repository.location
    )


def tidy(prepared: Prepared) -> list[str]:
    """Tidy up behind the commit; return what has to wait, one sentence each.

    A failure here undoes nothing and is no reason to call the transaction failed: the next recovery does it.
    """
    try:
        return prepared.finish()
    except (DsgError, OSError) as exc:
        return [f"tidying up has to wait: {brief(exc)}"]
