# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work tree of an open transaction, which any program may have changed, as entries of a manifest."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from ..manifest.codec import Manifest
from ..manifest.entry import FILE, MODE_MASK, Entry
from ..manifest.hashing import Identity, identity_of
from ..manifest.scan import scan_tree
from ..plan.states import Entries, by_path
from ..posix.beneath import Beneath
from ..posix.modes import change_mode

Change = tuple["Entry | None", "Entry | None"]
"""A path's entry before and after; None where it is absent."""


class WorkTree(NamedTuple):
    """``entries`` as they will be published, and what differs from the base, sorted by path."""

    entries: list[Entry]
    changes: list[Change]


def examine(work: str, live: str, base: Manifest | None, user: str) -> WorkTree:
    """Scan a work tree that was cloned from the tree at ``live`` (no matter what, without ``base``).

    Hashes what is not provably untouched. An entry keeps the user of ``base`` unless its content is
    another one; then it is ``user``. Changes nothing. Raises :class:`PathError`, :class:`TreeError` or
    :class:`SourceChanged`.
    """
    before = {} if base is None else by_path(base.entries)
    if base is None:
        scan = scan_tree(work)
    else:
        with Beneath(live) as published:
            scan = scan_tree(work, known=_Untouched(published, before).hash_of)
    entries = [_attributed(entry, before.get(entry.path), user) for entry in scan.entries]
    return WorkTree(entries, changes(before, by_path(entries)))


class _Untouched:
    """Knows the files that have the inode, size and times of the published file.

    A clone keeps all of them, and no program can set a file's change time (ctime).
    """

    def __init__(self, published: Beneath, entries: Entries) -> None:
        self.published = published
        self.entries = entries

    def hash_of(self, path: str, identity: Identity) -> str:
        """Return the SHA-256 of a file of the work tree, '' where it has to be read."""
        entry = self.entries.get(path)
        if entry is None or entry.kind != FILE:
            return ""
        found = self.published.lstat(path)
        same = (
            found is not None
            and stat.S_ISREG(found.st_mode)
            and identity_of(found) == identity
            and (entry.size, entry.mtime_ns) == (identity.size, identity.mtime_ns)
        )
        return entry.sha256 if same else ""


def _attributed(entry: Entry, known: Entry | None, user: str) -> Entry:
    same = known is not None and (
        (known.kind, known.sha256, known.target) == (entry.kind, entry.sha256, entry.target)
    )
    return entry._replace(user=known.user if known is not None and same else user)


def changes(before: Entries, after: Entries) -> list[Change]:
    """Return what makes the published content another one: paths, bytes, link texts and modes."""
    found = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old is None or new is None or not old.same_content(new):
            found.append((old, new))
    return found


def drop_special_bits(work: str, entries: list[Entry]) -> None:
    """Take set-uid, set-gid and sticky bits off the files: they are never published."""
    with Beneath(work) as tree:
        for entry in entries:
            if entry.kind != FILE:
                continue
            fd, name = tree.at(entry.path)
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) & ~MODE_MASK:
                change_mode(name, stat.S_IMODE(mode) & MODE_MASK, dir_fd=fd)
