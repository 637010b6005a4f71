# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a published tree is still what its snapshot holds, found out without writing anything.

``zfs diff`` takes a snapshot to compare with, which a dry run must not.
"""

from __future__ import annotations

import os

from ...manifest.codec import Manifest
from ...posix.beneath import Beneath
from .. import tree


def differences(root: str, base: Manifest, taken: int) -> list[str]:
    """Name what was changed in the tree at ``root`` since its snapshot was ``taken`` (unix seconds).

    Names, sizes and times come from the manifest; the time of change, which nobody can set, tells of
    the rest, but for the second in which the snapshot was taken.
    """
    with Beneath(root) as live:
        return tree.drift(live, base.entries) or _changed_after(live, taken)


def _changed_after(live: Beneath, seconds: int) -> list[str]:
    found = []
    folders = [""]
    while folders:  # a loop, as a tree may be deeper than Python's stack
        folder = folders.pop()
        fd = live.directory(folder)
        if os.fstat(fd).st_ctime >= seconds + 1:
            found.append(f"{folder or '.'}: changed")
        with os.scandir(fd) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if path == ".zfs":
                    continue  # seen with snapdir=visible; entering it would mount every snapshot
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.stat(follow_symlinks=False).st_ctime >= seconds + 1:
                    found.append(f"{path}: changed")
    return found
