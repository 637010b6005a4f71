# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read-only facts of one working copy and one repository."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..backends.base import Repository
from ..client.working_copy import WorkingCopy, repository_key
from ..errors import DsgError, ManifestError, RepositoryError, Unfinished, from_oserror
from ..manifest.header import Header
from ..plan.plan import Plan
from ..transport.ask import ask
from .operation import require_known
from .recovery import left_here
from .request import SyncRequest
from .site import repository_of
from .view import View

ALWAYS = (
    *("snapshots", "unfinished", "open", "running", "cleanups", "users"),
    *("space", "rights"),
)
DRIFT, HISTORY = "drift", "history"


@dataclass
class Status:
    """``snapshot`` … ``bytes`` describe the repository, ``last_sync`` the working copy's record.

    ``in_sync`` tells that the plan has no step. ``unfinished`` describes what recovery would do,
    ``open_transactions`` those that it would leave alone, ``running`` who works on the repository now.
    ``drift`` names what differs from the manifest, None where nobody asked. ``refused`` is the error of a
    repository that does not go on from the last sync: there is no plan then. What comes from the storage
    host is plain data (:mod:`..upkeep.standing`); what could not be read there is in ``unknown``: an
    error each, with the ``part`` that it is about.
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
    open_transactions: list[str] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    cleanups: list[dict[str, Any]] = field(default_factory=list)
    snapshot_users: list[dict[str, Any]] = field(default_factory=list)
    missing_rights: list[dict[str, Any]] = field(default_factory=list)
    space: dict[str, Any] | None = None
    drift: list[str] | None = None
    refused: DsgError | None = None
    unknown: list[dict[str, Any]] = field(default_factory=list)

    def states(self) -> dict[str, int]:
        """Return how many paths are in each state of L, C and R that asks for something."""
        return dict(sorted(Counter(step.state for step in self.plan.steps).items()))


def inspect(request: SyncRequest, *, drift: bool = False, history: bool = False) -> Status:
    """Look at both sides and change nothing; conflicts are part of the plan, not an error.

    Without a ``src`` ('') only the repository is looked at. ``drift`` compares every published path with
    the manifest by names and times; ``history`` asks for the space that older snapshots take even where
    the backend has to walk through them for it.
    """
    request = request._replace(check=True)
    request.validate(src_required=False)
    parts = [*ALWAYS, *([DRIFT] if drift else []), *([HISTORY] if history else [])]
    try:
        with repository_of(request) as repository:
            return _look(request, repository, parts)
    except OSError as exc:
        raise from_oserror(exc, "looking at the repository") from exc


def _look(request: SyncRequest, repository: Repository, parts: list[str]) -> Status:
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
    if head is None and DRIFT in parts:
        parts.remove(DRIFT)
    _take(status, ask(repository, "standing", parts=parts))
    if status.working_copy_exists:
        known = working_copy.cache_header(key)
        if known is not None:
            status.last_sync = known.snapshot
            status.refused = _refusal(request, repository, known, head, status.unfinished)
        if status.refused is None:
            view = View(request, working_copy, repository, key, head)
            status.plan = view.plan()
            status.in_sync = head is not None and not status.plan.steps
        status.unfinished = left_here(working_copy, key, repository) + status.unfinished
    return status


def _refusal(
    request: SyncRequest,
    repository: Repository,
    known: Header,
    head: Header | None,
    left: list[str],
) -> DsgError | None:
    """Return why no sync would go on from the last one, None if it would.

    A repository where a recovery has something to do (``left``) may not show its newest snapshot yet.
    """
    try:
        require_known(request, known, head, repository.history_header)
    except (RepositoryError, ManifestError) as exc:
        if left and (head is None or head.snapshot < known.snapshot):
            return Unfinished(
                f"it does not show s{known.snapshot} of the last sync, and a run there was interrupted",
                object=request.repository,
                next_step="Run `dsg.storage.recover` and look again, before anything else is done.",
            )
        return exc
    return None


def _take(status: Status, found: dict[str, dict[str, Any]]) -> None:
    """Fill in what the storage host's part found, and what it could not read."""
    for part, answer in found.items():
        if "error" in answer:
            status.unknown.append({"part": part, **answer["error"]})
            continue
        setattr(status, _FIELDS.get(part, part), answer["found"])


_FIELDS = {
    "open": "open_transactions",
    "users": "snapshot_users",
    "rights": "missing_rights",
    HISTORY: "space",  # the same with more in it; asked for behind it
}
