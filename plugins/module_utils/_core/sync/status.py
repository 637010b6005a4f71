# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read-only facts of one working copy and one repository."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..backends.base import Repository
from ..client.working_copy import WorkingCopy, repository_key
from ..errors import from_oserror
from ..plan.plan import Plan
from .recovery import leftovers
from .request import SyncRequest
from .site import repository_of
from .view import View


@dataclass
class Status:
    """``snapshot`` … ``bytes`` describe the repository, ``last_sync`` the working copy's record.

    ``in_sync`` tells that the plan has no step. ``unfinished`` describes what recovery would do, and the
    open transactions that it would leave alone.
    """

    repository_exists: bool = False
    snapshot: int | None = None
    created_at: str = ""
    created_by: str = ""
    message: str = ""
    digest: str = ""
    files: int = 0
    bytes: int = 0
    working_copy_exists: bool = False
    last_sync: int | None = None
    in_sync: bool = False
    plan: Plan = field(default_factory=Plan)
    unfinished: list[str] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)


def inspect(request: SyncRequest) -> Status:
    """Look at both sides and change nothing; conflicts are part of the plan, not an error.

    Without a ``src`` ('') only the repository is looked at.
    """
    request = request._replace(check=True)
    request.validate(src_required=False)
    try:
        return _inspect(request)
    except OSError as exc:
        raise from_oserror(exc, "looking at the repository") from exc


def _inspect(request: SyncRequest) -> Status:
    with repository_of(request) as repository:
        return _look(request, repository)


def _look(request: SyncRequest, repository: Repository) -> Status:
    working_copy = WorkingCopy(request.src)
    key = repository_key(repository.name, repository.location)
    status = Status(working_copy_exists=working_copy.exists())
    head = repository.head()
    if head is not None:
        status.repository_exists = True
        status.snapshot = head.snapshot
        status.created_at = head.created_at
        status.created_by = head.created_by
        status.message = head.message
        status.digest = head.digest
        status.files = head.files
        status.bytes = head.bytes
        status.snapshots = repository.snapshots()
    if status.working_copy_exists:
        known = working_copy.cache_header(key)
        status.last_sync = None if known is None else known.snapshot
        view = View(request, working_copy, repository, key, head)
        status.plan = view.plan()
        status.in_sync = head is not None and not status.plan.steps
    status.unfinished = leftovers(working_copy, key, repository) + repository.open_transactions()
    return status
