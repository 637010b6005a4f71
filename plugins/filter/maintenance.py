# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the role ``maintenance``: what is looked after as whom, and the units for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

ROOT = "root"
SCRUB = "scrub"


def maintained(
    definitions: Iterable[Mapping[str, Any]],
    service_users: Iterable[Mapping[str, Any]] = (),
    keep: Mapping[str, Any] | None = None,
    snapshots: Sequence[str] = ("newest",),
) -> list[dict[str, Any]]:
    """Return each repository with whom it is looked after as: who publishes it."""
    users = {parent: str(user["name"]) for user in service_users for parent in user["parents"]}
    found: list[dict[str, Any]] = []
    for one in definitions:
        backend = {key: value for key, value in one["backend"].items() if value is not None}
        backend.setdefault("type", "directory")
        user = users.get(backend["dataset"]) if "dataset" in backend else one.get("owner")
        repository = {
            "name": one["name"],
            "backend": backend,
            "user": user or ROOT,
            "keep": _rules(keep if one.get("keep") is None else one["keep"]),
            "snapshots": [str(snapshot) for snapshot in snapshots],
        }
        if repository not in found:
            found.append(repository)
    _refuse_two_sets_of_rules(found)
    return found


def _rules(keep: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return rules of retention as the module dsg_snapshot reads them: a word is a list of one."""
    found = dict(keep or {})
    for name in ("messages", "tags"):
        if isinstance(found.get(name), str):
            found[name] = [word.strip() for word in found[name].split(",")]
    return found


def _refuse_two_sets_of_rules(repositories: Sequence[Mapping[str, Any]]) -> None:
    """One would remove what the other keeps."""
    seen: dict[str, Any] = {}
    for one in repositories:
        backend = one["backend"]
        name = f"{one['name']} in {backend.get('dataset') or backend.get('base')}"
        if seen.setdefault(name, one["keep"]) != one["keep"]:
            raise AnsibleFilterError(
                f"The repository {name} is defined twice, with two sets of rules in `keep`: "
                f"{seen[name]} and {one['keep']}. What the one keeps the other would remove. "
                "Nothing was changed. Give both definitions the same rules."
            )


def maintenance_units(
    repositories: Sequence[Mapping[str, Any]], calendars: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the units: one for each task and user that have something to do, and one to scrub.

    ``mounts`` tells that what is mounted has to be so for the whole host; ``sudo`` that the user has to
    reach root's helper; ``bases`` are the directories that hold the repositories.
    """
    found = []
    for task, calendar in calendars.items():
        if not calendar:
            continue
        zfs = [one for one in repositories if one["backend"]["type"] == "zfs"]
        if task == SCRUB:
            if zfs:
                found.append(_unit(task, ROOT, calendar, []))
            continue
        for user in sorted({one["user"] for one in repositories}):
            ours = [one for one in repositories if one["user"] == user]
            if task != "prune" or any(one["keep"] for one in ours):
                found.append(_unit(task, user, calendar, ours))
    return found


def _unit(
    task: str, user: str, calendar: str, repositories: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    on_zfs = any(one["backend"]["type"] == "zfs" for one in repositories)
    bases = {one["backend"]["base"] for one in repositories if "base" in one["backend"]}
    return {
        "name": f"dsg-{task}" if user == ROOT else f"dsg-{task}-{user}",
        "task": task,
        "user": user,
        "calendar": calendar,
        "mounts": on_zfs and task != "verify",
        "sudo": on_zfs and user != ROOT,
        "bases": sorted(bases),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"maintained": maintained, "maintenance_units": maintenance_units}
