# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody may do, as declared: what is granted, and the steps to what is wanted."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ArgumentError
from . import datasets, grants, names
from .command import CommandFailed, Runner
from .grants import DESCENDANTS, LOCAL, Atoms, Who
from .steps import Change, DatasetError, Step

_PERMISSION = re.compile(r"@?[A-Za-z][A-Za-z0-9_:.-]*")
_SUPPORTED = re.compile(r"([a-z][a-z0-9_-]*) +(?:subcommand|other|property)\b.*")


class GrantRequest(NamedTuple):
    """What is declared. ``kind``: user, group, everyone; ``state``: present, absent, exact.

    ``here`` are permissions on the dataset alone, whatever the scope of the others is.
    """

    dataset: str
    kind: str
    name: str
    permissions: Sequence[str]
    scope: str = "both"
    state: str = "present"
    here: Sequence[str] = ()


def plan(runner: Runner, request: GrantRequest) -> list[Step]:
    """Return the steps from what is granted on this very dataset to what is declared."""
    who, asked = _checked(request)
    if request.dataset not in datasets.listed(runner, request.dataset):
        raise DatasetError(
            "this dataset does not exist",
            object=request.dataset,
            next_step="Create it first, or correct the name.",
        )
    have = _read(runner, request.dataset, who)
    if request.state == "absent":
        want = have - asked
    else:
        want = asked if request.state == "exact" else have | asked
        _supported(runner, {permission for permission, _scope in want - have})
    return [
        Step(command, (_change(request.dataset, who, command),))
        for command in grants.commands(request.dataset, who, have, want)
    ]


def describe(runner: Runner, request: GrantRequest) -> dict[str, list[str]]:
    """Return the permissions on this very dataset by scope."""
    who, _asked = _checked(request)
    have = _read(runner, request.dataset, who)
    return {scope: grants.permissions_of(have, scope) for scope in (LOCAL, DESCENDANTS)}


def nameless(runner: Runner, dataset: str) -> list[str]:
    """Return the ids of users with grants on this very dataset that have no name (any more)."""
    found = grants.parse(runner.zfs("allow", dataset), dataset)
    return sorted((who.name for who in found if who.kind == "user" and who.name.isdigit()), key=int)


def _read(runner: Runner, dataset: str, who: Who) -> Atoms:
    return grants.parse(runner.zfs("allow", dataset), dataset).get(who, frozenset())


def _checked(request: GrantRequest) -> tuple[Who, Atoms]:
    names.check_any_dataset(request.dataset)
    asked = [*request.permissions, *request.here]
    wrong = [one for one in asked if not _PERMISSION.fullmatch(one)]
    if wrong:
        raise ArgumentError("this is no name of a permission", object=wrong[0])
    if not asked and request.state != "exact":
        raise ArgumentError(f"state {request.state} needs permissions", object=request.dataset)
    must_exist = request.state != "absent" and bool(asked)
    who = Who(request.kind, _name(request.kind, request.name, must_exist))
    atoms = grants.atoms(request.permissions, request.scope) | grants.atoms(request.here, LOCAL)
    return who, atoms


def _name(kind: str, name: str, must_exist: bool) -> str:
    """Return the name that OpenZFS prints: that of a number, if it has one."""
    if kind == "everyone":
        return ""
    try:
        if name.isascii() and name.isdigit():
            number = int(name)
            return pwd.getpwuid(number)[0] if kind == "user" else grp.getgrgid(number)[0]
        return pwd.getpwnam(name)[0] if kind == "user" else grp.getgrnam(name)[0]
    except KeyError:
        if name.isascii() and name.isdigit():
            return str(int(name))
        if must_exist:
            raise ArgumentError(
                f"there is no such {kind} on this host",
                object=name,
                next_step=f"Create the {kind} first, or correct the name.",
            ) from None
        return name


def _supported(runner: Runner, permissions: set[str]) -> None:
    """Refuse what this version of OpenZFS does not know, before anything is granted."""
    asked = {permission for permission in permissions if not permission.startswith("@")}
    if not asked:
        return
    try:
        text = runner.zfs("allow")
    except CommandFailed as usage:  # it tells how it is used, and what there is
        text = usage.output
    known = {match[1] for match in map(_SUPPORTED.match, text.splitlines()) if match}
    if known and asked - known:
        raise ArgumentError(
            "OpenZFS on this host has no such permission",
            object=", ".join(sorted(asked - known)),
            details=[f"it has: {', '.join(sorted(known))}"],
        )


def _change(dataset: str, who: Who, command: tuple[str, ...]) -> Change:
    scope = {"-l": LOCAL, "-d": DESCENDANTS}.get(command[2], f"{LOCAL} and {DESCENDANTS}")
    permissions = command[-2].replace(",", ", ")
    subject = f"{dataset} {who.kind}{' ' if who.name else ''}{who.name} {scope}"
    given = command[1] == "allow"
    return Change(subject, "" if given else permissions, permissions if given else "")
