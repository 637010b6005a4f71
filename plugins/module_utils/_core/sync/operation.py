# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which operation a run is: init, clone or sync, from what is provably there."""

from __future__ import annotations

from collections.abc import Callable

from ..client.working_copy import WorkingCopy
from ..errors import ArgumentError, ManifestError, RepositoryError, WorkingCopyError
from ..manifest.header import Header
from ..plan.policy import PULL, PUSH
from .request import AUTO, CLONE, INIT, SYNC, SyncRequest

_GO_ON = (
    "remove the repository's record below .dsg/repositories of the working copy: paths that differ "
    "are then conflicts."
)


def choose_operation(
    request: SyncRequest,
    working_copy: WorkingCopy,
    key: str,
    head: Header | None,
    recorded: Callable[[int], Header],
) -> str:
    """Return init, clone or sync; refuse what does not fit what is there.

    ``recorded`` returns the header of one step of the repository's history. It is only asked where
    the head alone does not show that the history goes on from the last sync.
    """
    known = working_copy.cache_header(key) if working_copy.exists() else None
    if known is not None:
        require_known(request, known, head, recorded)
    if head is None:
        _require_creatable(request, working_copy)
        return INIT
    if request.operation == AUTO:
        return CLONE if known is None and working_copy.is_empty() else SYNC
    if known is None:
        _require_joinable(request, working_copy)
    return request.operation


def require_known(
    request: SyncRequest, known: Header, head: Header | None, recorded: Callable[[int], Header]
) -> None:
    """Refuse a repository that does not go on from ``known``, the last sync; see :func:`choose_operation`."""
    if head is None:
        raise RepositoryError(
            f"it was at s{known.snapshot} at the last sync, and is not there any more",
            object=request.repository,
            next_step=(
                "Restore it. If it was deleted on purpose, remove its record below "
                ".dsg/repositories of the working copy and run init."
            ),
        )
    if known.repository_id != head.repository_id:
        raise RepositoryError(
            "another repository is in its place: it has a different identity than at the last sync",
            object=request.repository,
            next_step="Correct repository or backend, or clone it into a new working copy.",
        )
    _require_same_history(request, known, head, recorded)


def _require_same_history(
    request: SyncRequest, known: Header, head: Header, recorded: Callable[[int], Header]
) -> None:
    """Refuse a repository that went back, by a restored backup or a disk that lost its last writes.

    Its older versions would look like somebody's newest edits, and replace what is here. So would those
    of who published upon it since, be it past the number that is known here.
    """
    if head.txn == known.txn:
        return
    if head.snapshot < known.snapshot:
        raise RepositoryError(
            f"it is at s{head.snapshot} of {head.created_at}, but the last sync was with "
            f"s{known.snapshot} of {known.created_at}: it went back in time",
            object=request.repository,
            next_step=f"Restore the newer state. To go on from the older one, {_GO_ON}",
        )
    if not _goes_on(known, head, recorded):
        raise RepositoryError(
            f"its s{known.snapshot} is not the one of the last sync, of {known.created_at}: it went "
            f"back in time, and what was published since made another history, up to "
            f"s{head.snapshot} of {head.created_at}",
            object=request.repository,
            next_step=(
                f"To go on from what is published now, {_GO_ON} To go back to the other history, "
                "restore it; what was published since is lost then."
            ),
        )


def _goes_on(known: Header, head: Header, recorded: Callable[[int], Header]) -> bool:
    """Tell whether the history that leads to ``head`` has the snapshot that is known here.

    The record of a step stays when its snapshot is pruned. It is compared by its transaction: where C
    does not hold all of R, it has an ``id`` of its own.
    """
    if head.snapshot == known.snapshot:
        return False
    if head.snapshot == known.snapshot + 1 and head.parent == known.id:
        return True
    try:
        return recorded(known.snapshot).txn == known.txn
    except ManifestError as exc:
        if _names_parent(known, head, recorded):
            return True
        raise ManifestError(
            f"nobody can tell whether its history goes on from s{known.snapshot}, the last sync: "
            f"{exc.message}",
            object=exc.object,
            next_step=(
                "Restore this file from a backup or from a newer snapshot that is kept. To go on "
                f"without it, {_GO_ON}"
            ),
        ) from exc


def _names_parent(known: Header, head: Header, recorded: Callable[[int], Header]) -> bool:
    """Tell whether the step behind the known one, whose record is damaged, names it."""
    if head.snapshot == known.snapshot + 1:
        return False  # it was asked
    try:
        return recorded(known.snapshot + 1).parent == known.id
    except ManifestError:
        return False


def _require_creatable(request: SyncRequest, working_copy: WorkingCopy) -> None:
    if request.operation in (CLONE, SYNC):
        raise RepositoryError(
            "the repository does not exist",
            object=request.repository,
            next_step="Correct repository or backend, or publish it first with operation init.",
        )
    if not working_copy.exists():
        raise WorkingCopyError(
            "src does not exist", object=request.src, next_step="Correct src, or create it."
        )
    if request.policy.direction == PULL:
        raise ArgumentError("the repository does not exist: direction pull cannot create it")


def _require_joinable(request: SyncRequest, working_copy: WorkingCopy) -> None:
    if request.operation == INIT:
        raise RepositoryError(
            "the repository exists already, and this working copy was never synced with it",
            object=request.repository,
            next_step="Use operation sync to join it, or choose another repository name.",
        )
    if request.operation == CLONE and not working_copy.is_empty():
        raise WorkingCopyError(
            "src is not empty, a clone needs a new or empty directory",
            object=request.src,
            next_step="Choose another src, or use operation sync to join the trees.",
        )
    if request.operation == CLONE and request.policy.direction == PUSH:
        raise ArgumentError("operation clone does not go with direction push")
    if request.operation == SYNC and not working_copy.exists():
        raise WorkingCopyError(
            "src does not exist",
            object=request.src,
            next_step="Correct src, or use operation clone to make it.",
        )


def already_done(operation: str, request: SyncRequest, known: bool) -> bool:
    """Tell whether an explicit init or clone finds its work done by an earlier run."""
    return known and operation == request.operation and operation in (INIT, CLONE)
