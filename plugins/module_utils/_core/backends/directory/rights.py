# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where root may write: only in a base directory that nobody else can change.

Who can change it may put a link into the place of what root has just made or looked at there, and root
would go on wherever that leads. No order of steps helps: publishing is renaming, by names.
"""

from __future__ import annotations

import os
import stat

from ...errors import MissingRight
from ...posix.processes import name_of
from ..standing import Missing
from .layout import Layout


def require(layout: Layout) -> None:
    """Raise :class:`MissingRight` for root where somebody else can change the base directory."""
    found = lacking(layout)
    if found is not None:
        raise MissingRight(found.message, object=found.object, next_step=found.next_step)


def lacking(layout: Layout) -> Missing | None:
    """Return why root must not write there; None where it may, and for anybody else.

    What is not there is told by whoever needs it.
    """
    if os.geteuid() != 0:
        return None
    try:
        # A link that leads to the base is the business of whom the directory belongs that it is in.
        found = os.stat(layout.base)
        return _base(layout, found) or _container(layout, os.lstat(layout.container))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _base(layout: Layout, found: os.stat_result) -> Missing | None:
    if found.st_uid == 0:
        return _writable(layout.base, found)
    name = name_of(found.st_uid)
    return Missing(
        f"it belongs to {name}, who could lead root out of it while root writes there",
        layout.base,
        f"Run as {name} (`--become --become-user {name}`, or `ansible_user`).",
    )


def _container(layout: Layout, found: os.stat_result) -> Missing | None:
    if stat.S_ISDIR(found.st_mode) and found.st_uid == 0:
        return _writable(layout.container, found)
    return Missing(
        "the base directory belongs to root, and its work area is no directory of root's",
        layout.container,
        "Look who has put it there. Who publishes has to own both: the role dsg.storage.repository with `owner` "
        "sees to it.",
    )


def _writable(path: str, found: os.stat_result) -> Missing | None:
    """Find fault with a directory that a group or others may write to; root's own group is root.

    A sticky bit is no help: a link could still be put where root is about to make something.
    """
    others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid else 0)
    if not found.st_mode & others:
        return None
    return Missing(
        f"not only root may write there (mode {stat.S_IMODE(found.st_mode):04o}), and whoever does could lead "
        "root out of it",
        path,
        f"`chmod go-w {path}`, and correct `mode` where the inventory has it; or give it to who publishes (role "
        "dsg.storage.repository, `owner`) and run as that user.",
    )
