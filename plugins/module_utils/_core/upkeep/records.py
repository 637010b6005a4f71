# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies beside a tree's own records, below ``.dsg``: nothing but those belongs there.

Their content is checked by whoever reads them; here only names and kinds are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from ..backends import published
from .examine import ADDED, MISSING, TYPE, UNREADABLE, Finding, describe


def examine_records(root: str, newest: int) -> list[Finding]:
    """Return what is below ``.dsg`` of the tree of snapshot ``newest`` and is none of its records.

    A history that lacks a step is told of as well; without ``.dsg``, or without a manifest, nothing is:
    that is for whoever reads the manifest.
    """
    history = os.path.dirname(published.history_path("", 1))
    steps = {os.path.basename(published.history_path("", one)) for one in range(1, newest + 1)}
    own = {os.path.basename(published.manifest_path("")), os.path.basename(history)}
    found, present = _directory(root, published.METADATA, own)
    if os.path.basename(history) in present:
        more, present = _directory(root, history, steps)
        found += more
        found += [Finding(f"{history}/{name}", MISSING, "") for name in steps - present]
    return sorted(found)


def _directory(root: str, path: str, own: Iterable[str]) -> tuple[list[Finding], set[str]]:
    """Return what does not belong in a directory of the records, and all that is in it."""
    try:
        if not stat.S_ISDIR(os.lstat(os.path.join(root, path)).st_mode):
            return [Finding(path, TYPE, "it is not a directory")], set(own)
        names = set(os.listdir(os.path.join(root, path)))
    except FileNotFoundError:
        return [], set()
    except OSError as exc:
        return [Finding(path, UNREADABLE, describe(exc))], set(own)
    return [_added(root, f"{path}/{name}") for name in names - set(own)], names


def _added(root: str, path: str) -> Finding:
    is_directory = os.path.isdir(os.path.join(root, path))
    return Finding(path, ADDED, "a directory" if is_directory else "")
