# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies beside a tree's own records, below ``.dsg``: nothing but those belongs there.

Their content is checked by whoever reads them; here only names and kinds are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection

from ..backends import published
from .examine import ADDED, MISSING, TYPE, UNREADABLE, Finding, describe

_HISTORY = os.path.dirname(published.history_path("", 1))
_AT_TOP = (published.manifest_path(""), _HISTORY)


def examine_records(root: str, newest: int) -> list[Finding]:
    """Return what is below ``.dsg`` of the tree of snapshot ``newest`` and is none of its records.

    Of its own history it says what is missing as well. A tree without ``.dsg``, or without a manifest,
    is left to whoever reads that.
    """
    found, present = _directory(root, published.METADATA, _AT_TOP)
    if _HISTORY in present:
        steps = {published.history_path("", number) for number in range(1, newest + 1)}
        more, there = _directory(root, _HISTORY, steps)
        found += more
        if there or not more:  # else it could not be listed
            found += [Finding(path, MISSING, "") for path in steps - there]
    elif present:
        found.append(Finding(_HISTORY, MISSING, ""))
    return sorted(found)


def _directory(root: str, path: str, own: Collection[str]) -> tuple[list[Finding], set[str]]:
    """Return what is wrong in a directory of records, and the paths in it: none if it cannot be listed."""
    try:
        if not stat.S_ISDIR(os.lstat(os.path.join(root, path)).st_mode):
            return [Finding(path, TYPE, "it is not a directory")], set()
        present = {f"{path}/{name}" for name in os.listdir(os.path.join(root, path))}
    except FileNotFoundError:
        return [], set()
    except OSError as exc:
        return [Finding(path, UNREADABLE, describe(exc))], set()
    found = [one for one in (_look(root, path, path in own) for path in present) if one is not None]
    return found, present


def _look(root: str, path: str, is_own: bool) -> Finding | None:
    """Return what is wrong with one path; of the manifest its reader tells, the history has its own look."""
    try:
        kind = stat.S_IFMT(os.lstat(os.path.join(root, path)).st_mode)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return Finding(path, UNREADABLE, describe(exc))
    if not is_own:
        return Finding(path, ADDED, "a directory" if kind == stat.S_IFDIR else "")
    if path in _AT_TOP or kind == stat.S_IFREG:
        return None
    return Finding(path, TYPE, "it is not a file")
