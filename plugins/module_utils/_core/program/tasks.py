# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done for repositories from time to time: verify, prune, collect."""

from __future__ import annotations

from collections.abc import Callable

from ..backends.base import Held, LocalRepository
from ..backends.registry import open_repository
from ..errors import DsgError, LockedError, Unfinished
from .configuration import Looked
from .report import FINDING, Result, busy, failed, hours_since

VERIFY, PRUNE, COLLECT = "verify", "prune", "collect"

_LOCK_SECONDS = 300.0
_LISTED = 100
_HELD_HOURS = 24
"""A prepared transaction that waits longer for its decision is a finding."""


def run(task: str, looked: Looked, directory: str = "") -> Result:
    """Do a task for a repository; whatever is wrong is in the result.

    ``directory`` is where systemd keeps what the last run reported.
    """
    subject = f"{looked.name} ({next(str(v) for k, v in looked.backend.items() if k != 'type')})"
    try:
        return TASKS[task](open_repository(looked.backend, looked.name), looked, subject)
    except LockedError as exc:
        return busy(subject, exc, directory)
    except (DsgError, OSError) as exc:
        return failed(subject, exc)


def _verify(repository: LocalRepository, looked: Looked, subject: str) -> Result:
    from ..upkeep.verify import verify

    found = verify(repository, snapshots=looked.snapshots, limit=_LISTED)
    trees = ", ".join(f"s{tree['snapshot']}" for tree in found["trees"])
    if found["sound"]:
        return Result(subject, done=[f"sound: {trees}, {found['files']} files published"])
    lines = [f"{sum(found['counts'].values())} findings in {trees}"]
    lines += [
        f"s{one['snapshot']}: {one['path']}: {one['what']}: {one['detail']}"
        for one in found["problems"]
    ]
    return Result(subject, FINDING, findings=lines)


def _prune(repository: LocalRepository, looked: Looked, subject: str) -> Result:
    from ..upkeep.prune import prune

    if looked.keep is None:
        return Result(subject, done=["keeps every snapshot"])
    found = prune(repository, looked.keep, lock_timeout=_LOCK_SECONDS)
    done = [*found.recovered, *(f"removed {name}" for name in found.removed)]
    return Result(subject, done=[*done, *found.pending_cleanup])


def _collect(repository: LocalRepository, looked: Looked, subject: str) -> Result:
    if not _is_published(repository) and not repository.unfinished():
        return Result(subject, done=["is not published yet"])
    with repository.lock(_LOCK_SECONDS):
        done = repository.recover()
    waits = [f"waits: {line}" for line in repository.unfinished()]
    forgotten = [str(one) for one in repository.held() if _is_old(one)]
    return Result(subject, FINDING if forgotten else 0, [*done, *waits], forgotten)


def _is_published(repository: LocalRepository) -> bool:
    try:
        return repository.head() is not None
    except Unfinished:  # committed, and not to be seen yet: this is what recovery is for
        return True


def _is_old(held: Held) -> bool:
    return hours_since(held.since) > _HELD_HOURS


TASKS: dict[str, Callable[[LocalRepository, Looked, str], Result]] = {
    VERIFY: _verify,
    PRUNE: _prune,
    COLLECT: _collect,
}
