# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ignored local files in the way of a download: no manifest knows them, and they are never removed."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..manifest.entry import DIRECTORY
from ..manifest.ignore import Ignore
from ..plan.plan import HELD, Plan, Step
from ..plan.policy import LOCAL, Policy
from ..plan.states import CONFLICT, DOWNLOAD


def with_obstacles(
    plan: Plan, root: str, ignore: Ignore, policy: Policy, source: Callable[[str], str]
) -> Plan:
    """Turn files that cannot arrive, as a directory with ignored content has their name, into conflicts.

    ``source`` tells where in the tree a path of the plan is.
    """
    found = {}
    for step in plan.of(DOWNLOAD):
        obstacle = _obstacle(root, step, ignore, source(step.path))
        if obstacle:
            kept = policy.choice(step.path) == LOCAL
            found[step.path] = step._replace(
                action=HELD if kept else CONFLICT,
                taken=LOCAL if kept else "",
                clashes_with=obstacle,
            )
    return Plan([found.get(step.path, step) for step in plan.steps]) if found else plan


def _obstacle(root: str, step: Step, ignore: Ignore, place: str) -> str:
    """Return a path that is ignored at or below the step's path, '' if nothing is in the way."""
    full = os.path.join(root, place)
    if step.remote is None or step.remote.kind == DIRECTORY or os.path.islink(full):
        return ""
    if not os.path.isdir(full):
        return ""
    if ignore.covers(place, True):
        return place
    for directory, directories, files in os.walk(full):
        for name in directories + files:
            path = os.path.relpath(os.path.join(directory, name), root)
            if ignore.covers(path, os.path.isdir(os.path.join(root, path))):
                return path
    return ""
