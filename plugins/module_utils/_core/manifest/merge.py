# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk and an index put together: what is unchanged is taken over, what is left is hashed."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable

from ..errors import SourceChanged
from .columns import COLUMNS, DIGEST, ROW, Directory, positions_of, same_content, targets_of
from .hashing import Identity, hash_paths
from .index import Index
from .walk import Listing

Known = Callable[[str, Identity], str]

_NEW = Directory("", b"", b"")


class Merge:
    """Takes in the listings of a walk. ``index`` and the rest are as for ``scan_tree``.

    ``directories`` is the tree so far, ``links`` are the new or changed ones as (path, target).
    """

    def __init__(
        self,
        index: Index | None,
        known: Known | None,
        must_hash: Callable[[str], bool] | None,
        checksum: bool,
    ) -> None:
        self._before = index.directories if index is not None else {}
        self._known = known
        self._must_hash = must_hash
        self._checksum = checksum
        self._changed: list[tuple[Directory, Directory]] = []
        self._new = index is None  # whether there is a directory that the index does not have
        self._pending: list[tuple[bytearray, int, str, Identity]] = []
        self.directories: dict[str, Directory] = {}
        self.links: list[tuple[str, str]] = []
        self.hashed = 0
        self.hashed_bytes = 0

    def add(self, listing: Listing) -> None:
        """Take in one directory of the tree."""
        names = "/".join(listing.names)
        before = self._before.get(listing.path)
        if before is None:
            self._new = True
            before = _NEW
        elif (
            before.rows == listing.rows
            and before.names == names
            and before.is_empty == listing.is_empty
            and not self._checksum
        ):
            self.directories[listing.path] = before
            return
        digests = bytearray(len(listing.names) * DIGEST)
        targets = self._merge(listing, before, digests)
        now = Directory(names, listing.rows, digests, targets, listing.is_empty)
        self.directories[listing.path] = now
        self._changed.append((before, now))

    def _merge(self, listing: Listing, before: Directory, digests: bytearray) -> tuple[str, ...]:
        """Fill in the digests that are known, and return the texts of the links."""
        old = positions_of(before)
        old_targets = targets_of(before)
        targets = []
        prefix = f"{listing.path}/" if listing.path else ""
        values = array("q", listing.rows)
        for i, name in enumerate(listing.names):
            j = old.get(name, -1)
            row = listing.rows[i * ROW : (i + 1) * ROW]
            is_same = j >= 0 and before.rows[j * ROW : (j + 1) * ROW] == row
            mode, ino, size, mtime_ns, ctime_ns = values[i * COLUMNS : (i + 1) * COLUMNS]
            path = prefix + name
            if stat.S_ISLNK(mode):
                target = old_targets[name] if is_same else _read_link(path, name, listing.fd)
                targets.append(target)
                if not is_same:
                    self.links.append((path, target))
            elif is_same and not self._checksum:
                digests[i * DIGEST : (i + 1) * DIGEST] = before.digests[
                    j * DIGEST : (j + 1) * DIGEST
                ]
            else:
                identity = Identity(size, mtime_ns, ctime_ns, ino % 2**64)
                self._note(digests, i, path, identity)
        return tuple(targets)

    def _note(self, digests: bytearray, i: int, path: str, identity: Identity) -> None:
        if self._known is not None and not self._checksum:
            sha256 = self._known(path, identity)
            if sha256:
                digests[i * DIGEST : (i + 1) * DIGEST] = bytes.fromhex(sha256)
                return
        if self._checksum or self._must_hash is None or self._must_hash(path):
            self._pending.append((digests, i, path, identity))

    def has_new_names(self) -> bool:
        """Tell whether there may be a path that the index does not have."""
        return self._new or any(before.names != now.names for before, now in self._changed)

    def hash_pending(self, root: str, workers: int | None) -> list[str]:
        """Hash what must be hashed; return one line for each file that could not be read."""
        files = [(path, identity) for _, _, path, identity in self._pending]
        digests, unreadable = hash_paths(root, files, workers=workers)
        for (column, i, _, _), digest in zip(self._pending, digests):
            column[i * DIGEST : (i + 1) * DIGEST] = digest
        self.hashed = len(files)
        self.hashed_bytes = sum(identity.size for _, identity in files)
        self._pending.clear()
        return unreadable

    def is_same(self) -> bool:
        """Tell whether the tree publishes exactly what the index describes."""
        return (
            not self._new
            and len(self.directories) == len(self._before)
            and all(same_content(before, now) for before, now in self._changed)
        )


def _read_link(path: str, name: str, fd: int) -> str:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        raise SourceChanged("it was replaced while the tree was read", object=path) from None
