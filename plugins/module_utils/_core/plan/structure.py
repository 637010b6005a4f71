# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that cannot live in one tree: a file where a directory is, or equal but for case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..manifest.entry import DIRECTORY, Entry
from ..manifest.paths import fold

Spellings = dict[str, dict[str, str]]
"""Folded path → each spelling of it → the first entry at or below that spelling."""


def collisions(tree: Mapping[str, Entry]) -> dict[str, str]:
    """Return path → other path for every entry that excludes another one.

    An empty directory and an entry below it do not: the directory is then implied.
    """
    spellings = _spellings(tree)
    clashes: dict[str, str] = {}
    for path in sorted(tree):
        other = _rival(path, tree, spellings)
        if other:
            clashes[path] = other
            clashes.setdefault(other, path)
    return clashes


def _spellings(tree: Mapping[str, Entry]) -> Spellings:
    spellings: Spellings = {}
    for path in sorted(tree):
        for prefix in _prefixes(path):
            spellings.setdefault(fold(prefix), {}).setdefault(prefix, path)
    return spellings


def _rival(path: str, tree: Mapping[str, Entry], spellings: Spellings) -> str:
    """Return an entry that cannot be in the tree beside ``path``, '' if there is none."""
    for prefix in _prefixes(path):
        for spelling, holder in spellings[fold(prefix)].items():
            if spelling != prefix:
                return holder
        if prefix != path and prefix in tree and tree[prefix].kind != DIRECTORY:
            return prefix
    return ""


def _prefixes(path: str) -> list[str]:
    """Return ``a``, ``a/b``, ``a/b/c`` for ``a/b/c``."""
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def ancestors(paths: Iterable[str]) -> set[str]:
    """Return every directory that holds one of the paths, at any depth."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found
