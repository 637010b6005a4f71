# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user decided: direction, conflicts, how much may be deleted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..errors import ArgumentError, DeleteLimitError

BOTH, PUSH, PULL = "both", "push", "pull"
DIRECTIONS = (BOTH, PUSH, PULL)

FAIL, LOCAL, REMOTE = "fail", "local", "remote"
CONFLICT_CHOICES = (FAIL, LOCAL, REMOTE)

ANY, PORTABLE, NORMALISE = "any", "portable", "normalise"
NAMES_CHOICES = (ANY, PORTABLE, NORMALISE)
"""Names may be what the path rules allow; or have to be portable; or are made so."""

DEFAULT_MAX_DELETE = "50%"

_LIMIT = re.compile(r"([0-9]{1,9})(%?)")


class DeleteLimit(NamedTuple):
    """How many entries one sync may delete on one side: a number, or a percentage of the side."""

    number: int
    is_percentage: bool

    @classmethod
    def parse(cls, text: str | int) -> DeleteLimit:
        """Read ``"25"``, ``25`` or ``"50%"``."""
        match = _LIMIT.fullmatch(str(text).strip())
        if match is None or (match[2] and int(match[1]) > 100):
            raise ArgumentError(
                f"max_delete is {str(text)!r}: supported are a number of paths (25) "
                "or a percentage up to 100% (50%)"
            )
        return cls(int(match[1]), bool(match[2]))

    def check(self, side: str, deleted: int, total: int) -> None:
        """Refuse ``deleted`` of ``total`` entries on ``side`` where that is over the limit."""
        allowed = total * self.number // 100 if self.is_percentage else self.number
        if deleted <= allowed:
            return
        limit = f"{self.number}%, that is {allowed}" if self.is_percentage else str(self.number)
        emptied = " (all of them: is the other side empty by mistake?)" if deleted == total else ""
        raise DeleteLimitError(
            f"this would delete {deleted} of {total} paths{emptied}; max_delete allows {limit}",
            object=side,
        )


class Policy(NamedTuple):
    """Direction and conflict choices of one run, and what names it wants.

    ``conflict_paths`` decides single paths, or everything below a directory, before ``conflict``.
    """

    direction: str = BOTH
    conflict: str = FAIL
    conflict_paths: Mapping[str, str] = MappingProxyType({})
    max_delete: str | int = DEFAULT_MAX_DELETE
    names: str = ANY

    def check(self) -> None:
        """Refuse unsupported words."""
        _one_of("direction", self.direction, DIRECTIONS)
        _one_of("conflict", self.conflict, CONFLICT_CHOICES)
        for path, choice in self.conflict_paths.items():
            _require_path(path)
            _one_of(f"conflict_paths[{path!r}]", choice, CONFLICT_CHOICES)
        DeleteLimit.parse(self.max_delete)
        _one_of("names", self.names, NAMES_CHOICES)
        if self.names == NORMALISE and self.direction == PUSH:
            raise ArgumentError(
                "names normalise does not go with direction push, which changes nothing here"
            )

    def choice(self, path: str) -> str:
        """Return ``fail``, ``local`` or ``remote`` for a path in conflict."""
        while path:
            for spelling in (path, path + "/"):
                if spelling in self.conflict_paths:
                    return self.conflict_paths[spelling]
            path = path.rpartition("/")[0]
        return self.conflict


def _require_path(path: str) -> None:
    """Refuse what no tree can hold: a choice for it would silently have no effect."""
    parts = path[: -len("/")].split("/") if path.endswith("/") else path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ArgumentError(
            "conflict_paths names a path that is not relative to the tree, or not in plain form",
            object=path,
            next_step="Write paths as the plan shows them, such as docs/guide.txt or docs.",
        )


def _one_of(option: str, value: str, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise ArgumentError(f"{option} is {value!r}: supported are {', '.join(supported)}")
