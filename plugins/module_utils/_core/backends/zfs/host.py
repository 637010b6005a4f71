# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every repository of a host, and its recovery: what has to happen at boot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...errors import ArgumentError
from ...posix.lock import locked
from ...zfs.command import Runner
from ...zfs.datasets import own, own_names, read, set_on, value
from . import record, recovery
from .helper import CONFIGURATION, configured
from .layout import PARENT_FORMAT, PARENT_MARK, TXN, Layout, is_name, name_of_work
from .privileged import Direct

_LOCK_SECONDS = 60.0


def publish_parents(named: Sequence[str]) -> list[str]:
    """Return every publish parent of the host, or those named.

    Raises :class:`ArgumentError` for a name that is no publish parent.
    """
    marked = _marked()
    for parent in named:
        if parent not in marked:
            raise ArgumentError("this is not a publish parent", object=parent)
    return list(named) or marked


def _marked() -> list[str]:
    """Return the datasets that are marked, but for those that their publisher may have marked.

    A service user may set the mark below the delegated parent, take it away from that, and put links
    into what is published: root would mount where these lead.
    """
    delegated = configured() if os.path.lexists(CONFIGURATION) else ()
    runner = Runner()
    marked = [name for name in set_on(runner, PARENT_MARK) if not _is_below(name, delegated)]
    found = [name for name in marked if value(runner, PARENT_MARK, name) == PARENT_FORMAT]
    return sorted(name for name in found if not _is_below(name, found))


def _is_below(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}/") for other in others)


def repositories(parent: str) -> list[Layout]:
    """Return what is published below a parent, has a dataset in its container, or a commit record.

    What else is there is somebody else's, under whatever name.
    """
    runner = Runner()
    container = f"{parent}/.dsg"
    datasets = read(runner, (TXN,), [parent], kinds="filesystem", depth=2)
    names = set()
    for dataset, properties in datasets.items():
        above, _slash, last = dataset.rpartition("/")
        if above == parent and own(properties, TXN):
            names.add(last)
        elif above == container:
            names.add(name_of_work(last))
    if container in datasets:
        names |= {record.name_of(key) for key in own_names(runner, container)}
    return [Layout(parent, name) for name in sorted(names) if is_name(name)]


def recover(layout: Layout) -> list[str]:
    """Finish or undo what is left of a repository's transactions; return what was done."""
    runner = Runner()
    direct = Direct(runner, layout)
    direct.prepare_locks()
    with locked(layout.lock, timeout=_LOCK_SECONDS, what=layout.live, is_made=True) as fd:
        runner.kept = (fd,)
        return recovery.recover(runner, layout, direct)
