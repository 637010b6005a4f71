# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository stands on its host, in one answer: one thing that cannot be read hides no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backends.base import LocalRepository
from ..backends.standing import Holder
from ..errors import DsgError, from_oserror

SNAPSHOTS, UNFINISHED, OPEN = "snapshots", "unfinished", "open"
RUNNING, CLEANUPS, USERS = "running", "cleanups", "users"
SPACE, HISTORY, RIGHTS, DRIFT = "space", "history", "rights", "drift"

ALWAYS = (SNAPSHOTS, UNFINISHED, OPEN, RUNNING, CLEANUPS, USERS, SPACE, RIGHTS)
"""What costs little; drift and (on some backends) history walk through trees."""


def standing(repository: LocalRepository, *, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return part → ``{"found": plain data}``, or ``{"error": an error as plain data}``."""
    return {part: _try(repository, _PARTS[part]) for part in parts}


def _try(repository: LocalRepository, look: Callable[[LocalRepository], Any]) -> dict[str, Any]:
    try:
        return {"found": look(repository)}
    except DsgError as exc:
        return {"error": exc.as_dict()}
    except OSError as exc:
        return {"error": from_oserror(exc, "looking").as_dict()}


def _running(repository: LocalRepository) -> list[dict[str, Any]]:
    return [_holder(one) for one in repository.running()]


def _cleanups(repository: LocalRepository) -> list[dict[str, Any]]:
    return [
        {
            "object": one.object,
            "txn_id": one.txn_id,
            "what": one.what,
            "holders": [_holder(holder) for holder in one.holders],
            "next_step": one.next_step(),
        }
        for one in repository.cleanups()
    ]


def _users(repository: LocalRepository) -> list[dict[str, Any]]:
    return [{"snapshot": u.number, **_holder(u.holder)} for u in repository.snapshot_users()]


def _holder(holder: Holder) -> dict[str, Any]:
    return {**holder._asdict(), "text": str(holder)}


def _rights(repository: LocalRepository) -> list[dict[str, Any]]:
    return [one._asdict() for one in repository.missing_rights()]


def _drift(repository: LocalRepository) -> list[str]:
    if repository.is_untouched():
        return []
    return repository.drift(repository.manifest(), checksum=False)


_PARTS: dict[str, Callable[[LocalRepository], Any]] = {
    SNAPSHOTS: lambda repository: repository.snapshots(),
    UNFINISHED: lambda repository: repository.unfinished(),
    OPEN: lambda repository: repository.open_transactions(),
    RUNNING: _running,
    CLEANUPS: _cleanups,
    USERS: _users,
    SPACE: lambda repository: repository.space(history=False)._asdict(),
    HISTORY: lambda repository: repository.space(history=True)._asdict(),
    RIGHTS: _rights,
    DRIFT: _drift,
}
