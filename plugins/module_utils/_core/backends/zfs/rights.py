# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rights a service user needs, and which of them are missing."""

from __future__ import annotations

import grp
import os
import pwd

from ...errors import MissingRight
from ...zfs import grants
from ...zfs.command import CommandFailed, Runner
from ...zfs.grants import LOCAL, Who
from .layout import Layout

REQUIRED = ("clone", "destroy", "diff", "mount", "promote", "rename", "snapshot", "userprop")
"""Permissions to be granted with ``zfs allow`` on the publish parent, for it and what is below.

``create`` is granted for the parent and for its container alone: a dataset below a published one
would be mounted by root at the next boot, where a link in the published tree leads.

Linux lets nobody but root mount, whatever is granted; OpenZFS wants ``mount`` for the others all
the same. Never granted: mountpoint, canmount, overlay, setuid, exec, devices, sharenfs, keylocation.
"""


CREATE = ("create", LOCAL)


def user_name() -> str:
    """Return the name of the user whose rights count."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a numeric user in a container
        return str(os.geteuid())


def require(runner: Runner, layout: Layout) -> None:
    """Raise :class:`MissingRight` that names what is not granted to this process's user."""
    told = _told(runner, layout)
    mine = (user_name(), _groups())
    granted = parse(told, layout.parent, *mine)
    lacking = [right for right in REQUIRED if right not in granted]
    missing = [f"{', '.join(lacking)}, for it and for what is below it"] if lacking else []
    places = (layout.parent, layout.container)
    if any(CREATE not in _granted(told, place, *mine) for place in places):
        missing.append("create, for it and for its container .dsg")
    if missing:
        raise MissingRight(
            f"user {user_name()} has no permission to {', nor to '.join(missing)}",
            object=layout.parent,
        )


def _told(runner: Runner, layout: Layout) -> str:
    """Return what is granted on the container, on the parent, and above."""
    try:
        return runner.zfs("allow", layout.container)
    except CommandFailed:  # there is none: whoever looks at the parent says so
        return runner.zfs("allow", layout.parent)


def require_own(path: str) -> None:
    """Raise :class:`MissingRight` where a published tree belongs to somebody else.

    Whoever may mount and rename could still not write its files.
    """
    try:
        owner = os.lstat(path).st_uid
    except (FileNotFoundError, PermissionError):  # somebody has it mounted where only they go, too
        return
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    raise MissingRight(
        f"the published tree belongs to {name}, not to {user_name()}",
        object=path,
        next_step=f"Run as {name}, or become root.",
    )


def _groups() -> set[str]:
    found = set()
    for gid in {os.getegid(), *os.getgroups()}:
        try:
            found.add(grp.getgrgid(gid).gr_name)
        except KeyError:  # a group that has no name cannot be granted anything by name
            continue
    return found


def parse(told: str, dataset: str, user: str, groups: set[str]) -> set[str]:
    """Return what ``zfs allow`` tells that a user may do both on a dataset and below it."""
    granted = _granted(told, dataset, user, groups)
    return {
        permission
        for permission, _scope in granted
        if grants.atoms([permission], "both") <= granted
    }


def _granted(told: str, dataset: str, user: str, groups: set[str]) -> set[tuple[str, str]]:
    """Return permissions with their scopes, seen from one dataset."""
    mine = {Who("user", user), Who("everyone"), *(Who("group", group) for group in groups)}
    return {atom for who, atoms in grants.reaching(told, dataset) if who in mine for atom in atoms}
