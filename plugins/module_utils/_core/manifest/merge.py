# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk and an index put together: what is unchanged is taken over, what is left is hashed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from ..errors import SourceChanged
from .columns import DIGEST, ROW, Directory, iter_rows, positions_of, same_content, targets_of
from .hashing import Batch, Identity, batches, hash_batches, identity_of_row
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
        self._hash_all = checksum or (known is None and must_hash is None)
        self._changed: list[tuple[Directory, Directory]] = []
        self._new = index is None  # whether there is a directory that the index does not have
        self._pending: list[tuple[bytearray, Sequence[int], Batch]] = []
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
        if before is _NEW and listing.all_regular and self._hash_all:
            self._note(listing, digests, range(len(listing.names)))
            return ()
        old = positions_of(before)
        old_targets = targets_of(before)
        targets = []
        todo = []
        prefix = f"{listing.path}/" if listing.path else ""
        for i, (name, row) in enumerate(zip(listing.names, iter_rows(listing.rows))):
            j = old.get(name, -1)
            is_same = j >= 0 and _row(before.rows, j) == _row(listing.rows, i)
            if stat.S_ISLNK(row[0]):
                target = old_targets[name] if is_same else _read_link(prefix, name, listing.fd)
                targets.append(target)
                if not is_same:
                    self.links.append((prefix + name, target))
                continue
            digest: bytes | bytearray = b""
            if is_same and not self._checksum:
                digest = before.digests[j * DIGEST : (j + 1) * DIGEST]
            elif self._known is not None and not self._checksum:
                digest = bytes.fromhex(self._known(prefix + name, identity_of_row(row)))
            if digest:
                digests[i * DIGEST : (i + 1) * DIGEST] = digest
            elif self._checksum or self._must_hash is None or self._must_hash(prefix + name):
                todo.append(i)
        self._note(listing, digests, todo)
        return tuple(targets)

    def _note(self, listing: Listing, digests: bytearray, todo: Sequence[int]) -> None:
        """Note the files at the positions ``todo`` for hashing."""
        names, rows = listing.names, listing.rows
        if len(todo) < len(names):
            names = [names[i] for i in todo]
            rows = b"".join([_row(rows, i) for i in todo])
        start = 0
        for batch in batches(listing.path, names, rows):
            stop = start + len(batch.names)
            self._pending.append((digests, todo[start:stop], batch))
            start = stop

    def has_new_names(self) -> bool:
        """Tell whether there may be a path that the index does not have."""
        return self._new or any(before.names != now.names for before, now in self._changed)

    def hash_pending(self, root: str, workers: int | None) -> list[str]:
        """Hash what must be hashed; return one line for each file that could not be read."""
        work = [pending[2] for pending in self._pending]
        results, unreadable = hash_batches(root, work, workers=workers)
        for (column, positions, _unused), result in zip(self._pending, results):
            for start, i in enumerate(positions):
                column[i * DIGEST : (i + 1) * DIGEST] = _digest(result, start)
        self.hashed = sum(len(batch.names) for batch in work)
        self.hashed_bytes = sum(batch.size for batch in work)
        self._pending.clear()
        return unreadable

    def is_same(self) -> bool:
        """Tell whether the tree publishes exactly what the index describes."""
        return (
            not self._new
            and len(self.directories) == len(self._before)
            and all(same_content(before, now) for before, now in self._changed)
        )


def _row(rows: bytes, i: int) -> bytes:
    return rows[i * ROW : (i + 1) * ROW]


def _digest(digests: bytes, i: int) -> bytes:
    return digests[i * DIGEST : (i + 1) * DIGEST]


def _read_link(prefix: str, name: str, fd: int) -> str:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.EINVAL):  # absent, or not a link
            raise
        raise SourceChanged(
            "it was replaced while the tree was read", object=prefix + name
        ) from None
