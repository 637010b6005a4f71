# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grants: what ``zfs allow`` prints, and the commands from what somebody has to what they should.

A grant is a set of atoms (permission, scope); both scopes together are what OpenZFS prints as
``Local+Descendent``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .command import ZfsError

LOCAL = "local"
DESCENDANTS = "descendants"
SCOPES = {LOCAL: (LOCAL,), DESCENDANTS: (DESCENDANTS,), "both": (LOCAL, DESCENDANTS)}

_HEAD = re.compile(r"---- Permissions on (.+?) -*")  # no dash behind a long name
_SECTIONS = {
    "Local permissions:": SCOPES[LOCAL],
    "Descendent permissions:": SCOPES[DESCENDANTS],
    "Local+Descendent permissions:": SCOPES["both"],
}
SETS, CREATION = "Permission sets:", "Create time permissions:"
_OTHERS = (SETS, CREATION)
_UNKNOWN = re.compile(r"\(unknown: ([0-9]+)\)")
_OPTIONS = {LOCAL: ("-l",), DESCENDANTS: ("-d",)}

Atoms = frozenset[tuple[str, str]]


class Who(NamedTuple):
    """Kind (user, group, everyone) and name; an id that has no name any more is its digits."""

    kind: str
    name: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the words by which ``zfs allow`` is told who is meant."""
        return ("-e",) if self.kind == "everyone" else (f"-{self.kind[0]}", self.name)


def parse(text: str, dataset: str) -> dict[Who, Atoms]:
    """Return the grants that were made on this very dataset, from what ``zfs allow`` prints.

    Grants on parents, permission sets and create-time permissions are left out.
    """
    found: dict[Who, set[tuple[str, str]]] = {}
    for holder, section, line in entries(text):
        if holder == dataset and section in _SECTIONS:
            who, permissions = _grant(line)
            here = ((p, scope) for p in permissions for scope in _SECTIONS[section])
            found.setdefault(who, set()).update(here)
    return {who: frozenset(atoms) for who, atoms in found.items()}


def entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield dataset, section and line of everything that ``zfs allow`` prints, parents' as well."""
    dataset = section = ""
    for line in text.splitlines():
        head = _HEAD.fullmatch(line)
        if head:
            dataset, section = head[1], ""
        elif line in _SECTIONS or line in _OTHERS:
            section = line
        elif not line.startswith("\t") or not section:
            raise ZfsError(f"unexpected output of zfs allow: {line!r}", object=dataset)
        else:
            yield dataset, section, line[1:]


def reaching(text: str, dataset: str) -> Iterator[tuple[Who, Atoms]]:
    """Yield who may do what on a dataset and below it, from all that ``zfs allow`` prints for it.

    What was granted further up for descendants is for this one, too. Permission sets are told as what
    they stand for (found as ``dsl_deleg.c`` of OpenZFS does).
    """
    found = list(entries(text))
    lines = [(holder, line.split(" ")) for holder, section, line in found if section == SETS]
    sets = {(holder, name): members.split(",") for holder, (name, members) in lines}
    for holder, section, line in found:
        scopes = _SECTIONS.get(section, ())
        if not f"{dataset}/".startswith(f"{holder}/"):  # it was told for one below
            continue
        if holder != dataset:
            scopes = SCOPES["both"] if DESCENDANTS in scopes else ()
        if scopes:
            who, names = _grant(line)
            plain = _expanded(names, holder, sets)
            yield who, frozenset((one, scope) for one in plain for scope in scopes)


def _expanded(
    names: Iterable[str], dataset: str, sets: Mapping[tuple[str, str], list[str]]
) -> Iterator[str]:
    """Yield permissions with sets as what they stand for: the nearest of the name, not below the grant."""
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        above = (dataset.rsplit("/", depth)[0] for depth in range(dataset.count("/") + 1))
        holder = next((one for one in above if (one, name) in sets), None)
        if holder is not None:
            left = {key: members for key, members in sets.items() if key != (holder, name)}
            yield from _expanded(sets[holder, name], holder, left)


def copies(text: str, source: str, target: str) -> list[tuple[str, ...]]:
    """Return the commands that grant on ``target`` what is granted on ``source`` itself.

    Permission sets come first, as others may be made of them.
    """
    own = [entry for entry in entries(text) if entry[0] == source]
    found: list[tuple[str, ...]] = []
    for _dataset, section, line in own:
        name, _space, members = line.partition(" ")
        if section == SETS:
            found.append(("zfs", "allow", "-s", name, members, target))
        elif section == CREATION:
            found.append(("zfs", "allow", "-c", line, target))
    for who, granted in parse(text, source).items():
        found += commands(target, who, frozenset(), granted)
    return found


def atoms(permissions: Iterable[str], scope: str) -> Atoms:
    """Return the atoms of permissions in a scope (local, descendants or both)."""
    return frozenset((permission, one) for permission in permissions for one in SCOPES[scope])


def commands(dataset: str, who: Who, have: Atoms, want: Atoms) -> list[tuple[str, ...]]:
    """Return the commands that lead from ``have`` to ``want``; grants come before revocations."""
    return [
        *_commands("allow", dataset, who, want - have),
        *_commands("unallow", dataset, who, have - want),
    ]


def permissions_of(found: Atoms, scope: str) -> list[str]:
    """Return the permissions in one scope, sorted."""
    return sorted(permission for permission, one in found if one == scope)


def _commands(verb: str, dataset: str, who: Who, which: Atoms) -> list[tuple[str, ...]]:
    local = set(permissions_of(which, LOCAL))
    below = set(permissions_of(which, DESCENDANTS))
    groups = [
        ((), local & below),
        (_OPTIONS[LOCAL], local - below),
        (_OPTIONS[DESCENDANTS], below - local),
    ]
    return [
        ("zfs", verb, *options, *who.arguments, ",".join(sorted(group)), dataset)
        for options, group in groups
        if group
    ]


def _grant(line: str) -> tuple[Who, list[str]]:
    """Return who and the permissions of ``user dsg clone,create``; names may contain spaces."""
    subject, _space, permissions = line.rpartition(" ")
    kind, _space, name = subject.partition(" ")
    if kind not in ("user", "group", "everyone") or not permissions:
        raise ZfsError(f"unexpected output of zfs allow: {line!r}")
    unknown = _UNKNOWN.fullmatch(name)
    return Who(kind, unknown[1] if unknown else name), permissions.split(",")
