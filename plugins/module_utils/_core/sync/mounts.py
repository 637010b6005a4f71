# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuse in time what could not be put in place because of a mount inside the working copy.

Everything behind the commit is a rename from or to the metadata's directory. It gets past no mount, be it
one of the same file system, and moves no mount point: the transaction could never be finished.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from ..client.working_copy import METADATA, WorkingCopy
from ..errors import WorkingCopyError, capped
from ..manifest.paths import show
from ..manifest.portable import Names
from ..plan.plan import Plan
from ..plan.states import DELETE_LOCAL, DOWNLOAD
from ..posix import mounted
from .view import View


def refuse_mounts(view: View, plan: Plan) -> None:
    """Refuse a plan that changes something in the working copy that lies on a mount of its own."""
    steps = plan.of(DOWNLOAD, DELETE_LOCAL)
    if view.scan is not None and (steps or view.names):
        replaced = [step.path for step in steps]
        replaced += [one.path for one in view.names.retargets]
        require_renamable(view.working_copy, map(view.source, replaced), view.names)


def require_renamable(working_copy: WorkingCopy, replaced: Iterable[str], names: Names) -> None:
    """Raise :class:`WorkingCopyError` for what a rename does not reach.

    ``replaced`` is what comes, goes or gets another content, as it is called now. A new name in the same
    directory is only a matter of what has it.
    """
    mounts = _Mounts(working_copy)
    found = {path: mounts.holding(path) for path in replaced}
    found.update({one.old: one.old for one in names.renames if mounts.is_point(one.old)})
    lines = [_line(path, mount) for path, mount in sorted(found.items()) if mount]
    if not lines:
        return
    first = next(mount for _path, mount in sorted(found.items()) if mount)
    number = "One path is" if len(lines) == 1 else f"{len(lines)} paths are"
    raise WorkingCopyError(
        f"{number} to be changed here that a mount keeps apart from the working copy's metadata: "
        "no rename gets past it",
        object=os.path.join(working_copy.root, first),
        details=capped(lines),
        next_step=(
            "Keep what is listed on the working copy's own file system, without a mount, or ignore it; "
            "with `direction: push` the run only publishes."
        ),
    )


def _line(path: str, mount: str) -> str:
    if mount == METADATA or mount.startswith(f"{METADATA}/"):
        return f"{show(path)}: {show(mount)} is on another mount"
    return f"{show(path)}: " + ("is a mount point" if path == mount else f"beneath {show(mount)}")


class _Mounts:
    """Knows where in a working copy another mount or file system begins.

    The mounts are read once. File systems are told apart as well, as a subvolume need not be mounted;
    by directories alone, for an overlay gives files other device numbers. Each is looked at once, and
    none below one that is missing.
    """

    def __init__(self, working_copy: WorkingCopy) -> None:
        self._root = working_copy.root
        self._points = _points(self._root)
        self._device = os.stat(self._root).st_dev
        self._known: dict[str, str | None] = {"": self._metadata(working_copy)}

    def _metadata(self, working_copy: WorkingCopy) -> str:
        """Return where a mount keeps metadata apart that files are moved from or to; '' for nowhere.

        What counts is where they really are, be it behind a link.
        """
        copy = working_copy
        for full in (copy.metadata, copy.staging, copy.backups, copy.names, copy.repositories):
            path = os.path.relpath(full, self._root)
            try:
                if path in self._points or os.stat(full).st_dev != self._device:
                    return path
            except (FileNotFoundError, NotADirectoryError):
                continue
        return ""

    def is_point(self, path: str) -> bool:
        """Tell whether something is mounted at the path."""
        return path in self._points

    def holding(self, path: str) -> str:
        """Return where the mount begins that holds the path or is to hold it; '' for the tree's own."""
        if path in self._points:
            return path
        directory = known = path.rpartition("/")[0]
        below = []
        while known not in self._known:
            below.append(known)
            known = known.rpartition("/")[0]
        found = self._known[known]
        for entered in reversed(below):
            found = self._known[entered] = self._begins(entered) if found == "" else found
        return self._known[directory] or ""

    def _begins(self, path: str) -> str | None:
        """Return the path where a mount begins at it, '' where none does, None for no directory."""
        if path in self._points:
            return path
        try:
            seen = os.lstat(os.path.join(self._root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISDIR(seen.st_mode):
            return None  # a link is replaced before anything comes below it; it may lead anywhere
        return path if seen.st_dev != self._device else ""


def _points(root: str) -> set[str]:
    """Return where below the root something is mounted."""
    real = os.path.realpath(root)
    return {os.path.relpath(mount.point, real) for mount in mounted.below(real)} - {os.curdir}
