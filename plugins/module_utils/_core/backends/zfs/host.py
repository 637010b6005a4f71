# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every repository of a host, and its recovery: what has to happen at boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...errors import ArgumentError
from ...posix.lock import locked
from ...zfs.command import Runner
from ...zfs.datasets import LOCAL, NOTHING, Properties, read
from . import record, recovery
from .layout import PARENT_FORMAT, PARENT_MARK, Layout, name_of_work
from .privileged import Direct

_LOCK_SECONDS = 60.0


def repositories(parents: Sequence[str]) -> list[Layout]:
    """Return the repositories below every publish parent of the host, or below those named.

    Raises :class:`ArgumentError` for a name that is no publish parent.
    """
    runner = Runner()
    marked = sorted(
        name
        for name, found in read(runner, (PARENT_MARK,), [], depth=None).items()
        if found.get(PARENT_MARK, NOTHING) == (PARENT_FORMAT, LOCAL)
    )
    for parent in parents:
        if parent not in marked:
            raise ArgumentError("this is not a publish parent", object=parent)
    return [layout for parent in parents or marked for layout in _below(runner, parent)]


def _below(runner: Runner, parent: str) -> Iterator[Layout]:
    """Yield what is published, what has a dataset in the container, and what has a commit record."""
    container = f"{parent}/.dsg"
    listed = runner.zfs("list", "-H", "-d", "2", "-t", "filesystem", "-o", "name", parent)
    names = set()
    for line in listed.splitlines():
        above, _slash, last = line.rpartition("/")
        if above == parent and line != container:
            names.add(last)
        elif above == container:
            names.add(name_of_work(last))
    set_here: Properties = read(runner, ("all",), [container], sources=(LOCAL,)).get(container, {})
    names |= {record.name_of(key) for key in set_here}
    for name in sorted(names - {""}):
        yield Layout(parent, name)


def recover(layout: Layout) -> list[str]:
    """Finish or undo what is left of a repository's transactions; return what was done."""
    runner = Runner()
    direct = Direct(runner, layout)
    direct.prepare_locks()
    with locked(layout.lock, timeout=_LOCK_SECONDS, what=layout.live):
        return recovery.recover(runner, layout, direct)
