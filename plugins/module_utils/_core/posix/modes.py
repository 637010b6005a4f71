# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modes of files in a tree that others may change at the same time."""

from __future__ import annotations

import os
import stat


def change_mode(name: str, mode: int, *, dir_fd: int) -> None:
    """Set the mode of a regular file; of anything else, and behind a link in its place, of nothing.

    ``chmod`` itself follows a link. The descriptor needs no right to read the file.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
