# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the role ``maintenance``: what is looked after as whom, and the units for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_dict
from ansible_collections.dsg.storage.plugins.module_utils import _options
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import DsgError
from ansible_collections.dsg.storage.plugins.module_utils._core.program import configuration
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.verify import chosen

ROOT = "root"
SCRUB = "scrub"


def maintained(
    definitions: Iterable[Mapping[str, Any]],
    service_users: Iterable[Mapping[str, Any]] = (),
    keep: Mapping[str, Any] | None = None,
    snapshots: Sequence[str] = ("newest",),
) -> list[dict[str, Any]]:
    """Return each repository with whom it is looked after as: who publishes it."""
    users = {
        parent: str(user["name"]) for user in service_users for parent in _words(user["parents"])
    }
    found: list[dict[str, Any]] = []
    for one in definitions:
        backend = {key: value for key, value in one["backend"].items() if value is not None}
        backend.setdefault("type", "directory")
        user = users.get(backend["dataset"]) if "dataset" in backend else one.get("owner")
        repository = {
            "name": str(one["name"]),
            "backend": backend,
            "user": str(user or ROOT),
            "keep": _rules(keep if one.get("keep") is None else one["keep"], str(one["name"])),
            "snapshots": _words(snapshots),
        }
        if repository not in found:
            found.append(repository)
    _refuse_two_sets_of_rules(found)
    return found


def _words(given: Any) -> Any:
    """Return a list as Ansible reads it where one of strings is wanted: a word is a list of one.

    A role's argument spec takes a word and does not write back what it made of it.
    """
    if isinstance(given, str):
        return [word.strip() for word in given.split(",") if word.strip()]
    if given is None:
        return []
    if isinstance(given, (int, float)):
        return [str(given)]
    if not isinstance(given, (list, tuple)):
        return given  # refused by who takes it
    return [str(word) if isinstance(word, (int, float)) else word for word in given]


def _rules(keep: Any, name: str) -> dict[str, Any]:
    """Return rules of retention as the module dsg_snapshot reads them, without those of no value."""
    try:
        given = {} if keep is None else check_type_dict(keep)
    except TypeError as exc:
        raise _refused(f"`keep` of the repository {name} is no rules of retention: {exc}") from None
    given = {rule: value for rule, value in given.items() if value is not None}
    for rule in ("messages", "tags"):
        if rule in given:
            given[rule] = _words(given[rule])
    read = ArgumentSpecValidator({"keep": _options.KEEP}).validate({"keep": given})
    if read.error_messages:
        said = "; ".join(read.error_messages)
        raise _refused(f"`keep` of the repository {name} is no rules of retention: {said}")
    rules = read.validated_parameters["keep"]
    return {rule: rules[rule] for rule in given}


def _refused(said: str) -> AnsibleFilterError:
    return AnsibleFilterError(
        f"{said}. Nothing was changed. Next step: correct that and run again."
    )


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


def maintenance_content(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of ``dsg-storage``, in which every value is of the type that it takes.

    What the program would refuse is refused here: on the host it ends every task with it, and so the
    alert that would tell of that.
    """
    alerts = given["alerts"]
    found = {
        **given,
        "scrub_after_days": _number("maintenance_scrub_after_days", given["scrub_after_days"]),
        "alerts": {
            **alerts,
            "mail_to": _words(alerts["mail_to"]),
            "mail_from": alerts["mail_from"] or "",
            "command": _words(alerts["command"]),
            "repeat_hours": _number("maintenance_alert_repeat_hours", alerts["repeat_hours"]),
        },
    }
    try:
        for one in configuration.parse(found).repositories:
            chosen(one.snapshots)
    except DsgError as exc:
        raise _refused(
            f"The program dsg-storage takes no such configuration: {exc.brief()}"
        ) from None
    except (ValueError, TypeError) as exc:
        raise _refused(f"The program dsg-storage takes no such configuration: {exc}") from None
    return found


def _number(name: str, given: Any) -> Any:
    """Return a number as Ansible reads it where one is wanted: ``-e`` gives strings."""
    if not isinstance(given, str):
        return given
    try:
        found = float(given)
    except ValueError:
        raise _refused(f"`{name}` is {given!r}, no number") from None
    return int(found) if found.is_integer() else found


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
        "name": f"dsg-{task}" if user == ROOT else f"dsg-{task}-{_in_a_name(user)}",
        "task": task,
        "user": user,
        "calendar": calendar,
        "mounts": on_zfs and task != "verify",
        "sudo": on_zfs and user != ROOT,
        "bases": sorted(bases),
    }


def _in_a_name(user: str) -> str:
    """Return a user as names of units have it: ``svc@example.org`` would be an instance of a template.

    What would look as if it had been replaced is replaced as well, so that no two users meet in one unit.
    """
    odd = r"[^A-Za-z0-9_.-]|_(?=[0-9a-f]{2})"
    return re.sub(odd, lambda found: f"_{ord(found[0]):02x}", user)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {
            "maintained": maintained,
            "maintenance_content": maintenance_content,
            "maintenance_units": maintenance_units,
        }
