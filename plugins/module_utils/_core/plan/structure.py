# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that cannot live in one tree: a file where a directory is, or equal but for case."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from ..manifest.entry import DIRECTORY, Entry


def folded(path: str) -> str:
    """Return what is equal for names that differ only in case or Unicode form."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def collisions(tree: Mapping[str, Entry]) -> dict[str, str]:
    """Return path → other path for entries that exclude each other.

    An empty directory and an entry below it do not: the directory is then implied.
    """
    spelled = _spellings(tree)
    clashes: dict[str, str] = {}
    for path in tree:
        for prefix in _prefixes(path):
            other = spelled.get(folded(prefix), prefix)
            blocked = prefix in tree and prefix != path and tree[prefix].kind != DIRECTORY
            if other != prefix or blocked:
                found = _someone_at(tree, prefix if blocked else other, path)
                clashes[path] = found
                clashes.setdefault(found, path)
    return clashes


def _spellings(tree: Mapping[str, Entry]) -> dict[str, str]:
    """Map each folded path and directory to the spelling seen first."""
    spelled: dict[str, str] = {}
    for path in sorted(tree):
        for prefix in _prefixes(path):
            spelled.setdefault(folded(prefix), prefix)
    return spelled


def _prefixes(path: str) -> list[str]:
    """Return ``a``, ``a/b``, ``a/b/c`` for ``a/b/c``."""
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _someone_at(tree: Mapping[str, Entry], spelling: str, path: str) -> str:
    """Name an entry that stands for a spelling: itself, or the first one below it."""
    if spelling in tree:
        return spelling
    below = spelling + "/"
    return next((p for p in sorted(tree) if p.startswith(below) and p != path), spelling)
