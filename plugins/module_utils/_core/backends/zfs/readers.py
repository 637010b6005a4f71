# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads what was replaced: processes in trees of a repository that no path leads to any more."""

from __future__ import annotations

import os

from ...errors import DsgError
from ...posix import processes
from ...zfs import holders
from .. import published
from .layout import Layout


def of_detached(layout: Layout) -> list[processes.User]:
    """Return the processes in trees that no path leads to any more, but for other repositories'."""
    return [
        user for user in holders.detached() if _repository_at(user.pid, layout.name) is not False
    ]


def _repository_at(pid: int, name: str) -> bool | None:
    """Tell whether a process's directory is in a tree of the repository; None where it cannot be seen.

    A directory that no path leads to still has its parents.
    """
    try:
        fd = os.open(f"/proc/{pid}/cwd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        while True:
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            same = os.path.samestat(os.fstat(above), os.fstat(fd))
            os.close(fd)
            fd = above
            if same:
                return published.read_header(f"/proc/self/fd/{fd}", name).repository == name
    except (OSError, DsgError):
        return None
    finally:
        os.close(fd)
