# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Differences between a manifest and a tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .entry import Entry


@dataclass
class Difference:
    """Paths, sorted: in the tree only, in the manifest only, in both but not the same."""

    added: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.changed)


def compare_trees(expected: Iterable[Entry], found: Iterable[Entry]) -> Difference:
    """Compare what a manifest expects with what a hashed scan found (kind, bytes, link, mode)."""
    wanted = {entry.path: entry for entry in expected}
    present = {entry.path: entry for entry in found}
    return Difference(
        added=sorted(present.keys() - wanted.keys()),
        missing=sorted(wanted.keys() - present.keys()),
        changed=sorted(
            path
            for path in wanted.keys() & present.keys()
            if not wanted[path].same_content(present[path])
        ),
    )
