# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom things belong to that root makes in places of somebody else."""

from __future__ import annotations

import os


def leave_to_owner(path: str) -> None:
    """Let what root has made belong to whom the directory belongs that it lies in.

    What belongs to somebody else already, and what an ordinary user makes, is left as it is.
    """
    if os.geteuid() != 0:
        return
    owner = os.stat(os.path.dirname(path))
    found = os.lstat(path)
    if owner.st_uid != 0 and found.st_uid == 0:
        os.lchown(path, owner.st_uid, owner.st_gid)
