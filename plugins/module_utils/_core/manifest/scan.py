# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a tree as it is now, with the help of an index of how it was before."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable
from functools import partial
from itertools import repeat

from ..errors import PathError, SourceChanged, TreeError
from .digest import tree_digest
from .entry import DIRECTORY, FILE, LINK, MODE_MASK, Entry
from .hashing import Identity, hash_paths
from .index import ROW, UNHASHED, Clock, Counts, Directory, Index, read_clock, save, without_racy
from .paths import MAX_DETAILS, check_paths, link_problems, problems
from .walk import Ignores, Listing, Problems, walk

_COLUMNS = 5
_DIGEST = 32
_UNHASHED_HEX = UNHASHED.hex()
_new = partial(tuple.__new__, Entry)

Known = Callable[[str, Identity], str]


class Scan:
    """A tree as it was found. The entries' users are ''; the rest is as it will be published.

    ``counts`` tells what the tree holds, ``hashed`` and ``hashed_bytes`` what had to be read, and
    ``as_indexed`` that the index would learn nothing from this scan.
    """

    def __init__(
        self,
        root: str,
        directories: dict[str, Directory],
        foreign: set[str],
        clock: Clock | None,
        *,
        hashed: int,
        hashed_bytes: int,
        like: Index | None,
        as_indexed: bool,
    ) -> None:
        self.root = root
        self.as_indexed = as_indexed
        self.hashed = hashed
        self.hashed_bytes = hashed_bytes
        self.as_indexed = like is not None and not hashed
        self.counts = _count(directories) if like is None else like.counts
        self._directories = directories
        self._foreign = foreign
        self._clock = clock
        self._digest = like.digest if like is not None else ""
        self._entries: list[Entry] | None = None
        self._positions: dict[str, dict[str, int]] = {}

    @property
    def digest(self) -> str:
        """The tree digest, or '' while files are not hashed."""
        if not self._digest:
            entries = self.entries
            if all(entry.sha256 or entry.kind != FILE for entry in entries):
                self._digest = tree_digest(entries)
        return self._digest

    @property
    def entries(self) -> list[Entry]:
        """All entries, sorted by path; ``sha256`` is '' where a file is not hashed."""
        if self._entries is None:
            self._entries = _entries(self._directories)
        return self._entries

    def identity(self, path: str) -> Identity:
        """Return the stat identity of a file or link of the tree; ``KeyError`` for others."""
        directory, i = self._find(path)
        _mode, ino, size, mtime_ns, ctime_ns = array("q", directory.rows[i * ROW : (i + 1) * ROW])
        return Identity(size, mtime_ns, ctime_ns, ino % 2**64)

    def set_hash(self, path: str, sha256: str) -> None:
        """Fill in the hash of a file that was hashed elsewhere, as the one the scan identified."""
        directory, i = self._find(path)
        if not isinstance(directory.digests, bytearray):
            directory.digests = bytearray(directory.digests)
        directory.digests[i * _DIGEST : (i + 1) * _DIGEST] = bytes.fromhex(sha256)
        self._digest = ""
        self._entries = None

    def as_index(self) -> Index:
        """Return what the next scan of this tree may rely on."""
        trusted = {
            path: without_racy(directory, None if path in self._foreign else self._clock)
            for path, directory in self._directories.items()
        }
        return Index(trusted, self.digest, self.counts)

    def save(self, path: str) -> None:
        """Store the index for the next scan."""
        save(path, self.as_index())

    def _find(self, path: str) -> tuple[Directory, int]:
        parent, _, name = path.rpartition("/")
        positions = self._positions.get(parent)
        if positions is None:
            positions = _positions(self._directories[parent])
            self._positions[parent] = positions
        return self._directories[parent], positions[name]


def scan_tree(
    root: str,
    *,
    ignore: Ignores | None = None,
    index: Index | None = None,
    known: Known | None = None,
    must_hash: Callable[[str], bool] | None = None,
    checksum: bool = False,
    clock_directory: str | None = None,
    workers: int | None = None,
) -> Scan:
    """Scan the tree at ``root``.

    A file whose stat is as in ``index`` has the hash it had; ``checksum`` hashes all the same.
    ``known(path, identity)`` may know the hash of a file that the index does not ('' if not), and
    files for which ``must_hash(path)`` is False are left unhashed then. ``clock_directory`` is where
    the file system's clock is read; without one the scan's index vouches for no file.

    Raises one :class:`PathError` or :class:`TreeError` for everything that cannot be published, and
    :class:`SourceChanged` if files change or go away meanwhile.
    """
    clock = read_clock(clock_directory) if clock_directory is not None else None
    found = _Comparison(index, known, must_hash, checksum)
    wrong = Problems()
    foreign = set()
    for listing in walk(root, ignore or None, wrong):
        if clock is None or listing.dev != clock.dev:
            foreign.add(listing.path)
        found.add(listing)
    if found.has_new_names():
        wrong.paths.extend(_path_problems(_paths(found.directories)))
    wrong.paths.extend(link_problems(found.links))
    _raise(wrong)
    hashed_bytes = found.hash_pending(root, workers)
    return Scan(
        root,
        found.directories,
        foreign,
        clock,
        hashed=len(found.pending),
        hashed_bytes=hashed_bytes,
        like=index if found.is_same() else None,
        as_indexed=found.is_as_indexed(),
    )


class _Comparison:
    """Takes over from the index what is unchanged, and notes what is left to do."""

    def __init__(
        self,
        index: Index | None,
        known: Known | None,
        must_hash: Callable[[str], bool] | None,
        checksum: bool,
    ) -> None:
        self._before = index.directories if index is not None else {}
        self._index = index
        self._known = known
        self._must_hash = must_hash
        self._checksum = checksum
        self._changed: list[tuple[Directory, Directory]] = []
        self._unknown = 0  # directories that the index does not have
        self.directories: dict[str, Directory] = {}
        self.pending: list[tuple[bytearray, int, str, Identity]] = []
        self.links: list[tuple[str, str]] = []

    def add(self, listing: Listing) -> None:
        """Take in one directory of the tree."""
        before = self._before.get(listing.path)
        names = "/".join(listing.names)
        if (
            before is not None
            and before.rows == listing.rows
            and before.names == names
            and before.is_empty == listing.is_empty
            and not self._checksum
        ):
            self.directories[listing.path] = before
            return
        digests = bytearray(len(listing.names) * _DIGEST)
        targets = self._merge(listing, before, digests)
        now = Directory(names, listing.rows, digests, targets, listing.is_empty)
        self.directories[listing.path] = now
        if before is None:
            self._unknown += 1
        else:
            self._changed.append((before, now))

    def _merge(
        self, listing: Listing, before: Directory | None, digests: bytearray
    ) -> tuple[str, ...]:
        """Fill in the digests that are known, and return the texts of the links."""
        old = _positions(before) if before is not None else {}
        old_targets = _targets(before) if before is not None else {}
        targets = []
        prefix = f"{listing.path}/" if listing.path else ""
        values = array("q", listing.rows)
        for i, name in enumerate(listing.names):
            j = old.get(name)
            is_same = (
                before is not None
                and j is not None
                and before.rows[j * ROW : (j + 1) * ROW] == listing.rows[i * ROW : (i + 1) * ROW]
            )
            mode, ino, size, mtime_ns, ctime_ns = values[i * _COLUMNS : (i + 1) * _COLUMNS]
            if stat.S_ISLNK(mode):
                target = old_targets[name] if is_same else _read_link(prefix + name, name, listing)
                targets.append(target)
                if not is_same:
                    self.links.append((prefix + name, target))
            elif is_same and not self._checksum and before is not None and j is not None:
                digests[i * _DIGEST : (i + 1) * _DIGEST] = before.digests[
                    j * _DIGEST : (j + 1) * _DIGEST
                ]
            else:
                identity = Identity(size, mtime_ns, ctime_ns, ino % 2**64)
                self._note(digests, i, prefix + name, identity)
        return tuple(targets)

    def _note(self, digests: bytearray, i: int, path: str, identity: Identity) -> None:
        if self._known is not None and not self._checksum:
            sha256 = self._known(path, identity)
            if sha256:
                digests[i * _DIGEST : (i + 1) * _DIGEST] = bytes.fromhex(sha256)
                return
        if self._checksum or self._must_hash is None or self._must_hash(path):
            self.pending.append((digests, i, path, identity))

    def has_new_names(self) -> bool:
        """Tell whether there may be a path that the index does not have."""
        return self._unknown > 0 or any(before.names != now.names for before, now in self._changed)

    def hash_pending(self, root: str, workers: int | None) -> int:
        """Hash what must be hashed; return the number of bytes."""
        files = [(path, identity) for _, _, path, identity in self.pending]
        digests, unreadable = hash_paths(root, files, workers=workers)
        wrong = Problems()
        wrong.tree = unreadable
        _raise(wrong)
        for (column, i, _, _), digest in zip(self.pending, digests):
            column[i * _DIGEST : (i + 1) * _DIGEST] = digest
        return sum(identity.size for _, identity in files)

    def is_as_indexed(self) -> bool:
        """Tell whether every stat is as in the index."""
        return (
            self._index is not None
            and not self._unknown
            and not self._changed
            and len(self.directories) == len(self._before)
        )

    def is_same(self) -> bool:
        """Tell whether the tree publishes exactly what the index describes."""
        return (
            self._unknown == 0
            and len(self.directories) == len(self._before)
            and all(_same_content(before, now) for before, now in self._changed)
        )


def _same_content(before: Directory, now: Directory) -> bool:
    return (
        before.names == now.names
        and before.is_empty == now.is_empty
        and before.digests == now.digests
        and before.targets == now.targets
        and array("q", before.rows)[::_COLUMNS] == array("q", now.rows)[::_COLUMNS]
    )


def _positions(directory: Directory) -> dict[str, int]:
    return {name: i for i, name in enumerate(_names(directory))}


def _names(directory: Directory) -> list[str]:
    return directory.names.split("/") if directory.rows else []


def _targets(directory: Directory) -> dict[str, str]:
    modes = array("q", directory.rows)[::_COLUMNS]
    links = [name for name, mode in zip(_names(directory), modes) if stat.S_ISLNK(mode)]
    return dict(zip(links, directory.targets))


def _read_link(path: str, name: str, listing: Listing) -> str:
    try:
        return os.readlink(name, dir_fd=listing.fd)
    except OSError:
        raise SourceChanged("it was replaced while the tree was read", object=path) from None


def _paths(directories: dict[str, Directory]) -> list[str]:
    paths = []
    for path, directory in directories.items():
        if directory.is_empty and path:
            paths.append(path)
        prefix = f"{path}/" if path else ""
        paths.extend([prefix + name for name in _names(directory)])
    return paths


def _entries(directories: dict[str, Directory]) -> list[Entry]:
    entries: list[Entry] = []
    for path, directory in directories.items():
        if directory.is_empty and path:
            entries.append(Entry(path, DIRECTORY, 0, 0, 0, "", "", ""))
        elif directory.rows:
            entries.extend(_directory_entries(path, directory))
    entries.sort()
    return entries


def _directory_entries(path: str, directory: Directory) -> list[Entry]:
    prefix = f"{path}/" if path else ""
    values = array("q", directory.rows)
    modes = values[::_COLUMNS]
    text = directory.digests.hex()
    hashes = [text[start : start + 64] for start in range(0, len(text), 64)]
    if UNHASHED in directory.digests:
        hashes = ["" if one == _UNHASHED_HEX else one for one in hashes]
    columns = zip(
        [prefix + name for name in _names(directory)],
        repeat(FILE),
        values[2::_COLUMNS],
        values[3::_COLUMNS],
        [mode & MODE_MASK for mode in modes],
        hashes,
        repeat(""),
        repeat(""),
    )
    entries: list[Entry] = list(map(_new, columns))
    if directory.targets:
        targets = iter(directory.targets)
        for i, mode in enumerate(modes):
            if stat.S_ISLNK(mode):
                entries[i] = Entry(entries[i].path, LINK, 0, 0, 0, "", next(targets), "")
    return entries


def _count(directories: dict[str, Directory]) -> Counts:
    links = sum(len(directory.targets) for directory in directories.values())
    empty = sum(directory.is_empty for path, directory in directories.items() if path)
    entries = sum(map(len, directories.values()))
    size = 0
    for directory in directories.values():
        values = array("q", directory.rows)
        size += sum(values[2::_COLUMNS])
        if directory.targets:
            size -= sum(
                length
                for mode, length in zip(values[::_COLUMNS], values[2::_COLUMNS])
                if stat.S_ISLNK(mode)
            )
    return Counts(entries - links, links, empty, size)


def _path_problems(paths: list[str]) -> list[str]:
    try:
        check_paths(paths)
    except PathError:
        return problems(paths)  # all of them, to be told together with the others
    return []


def _raise(wrong: Problems) -> None:
    found = wrong.paths + wrong.tree
    if not found:
        return
    details = found[:MAX_DETAILS]
    if len(found) > MAX_DETAILS:
        details.append(f"... and {len(found) - MAX_DETAILS} more")
    number = "One finding" if len(found) == 1 else f"{len(found)} findings"
    error = PathError if wrong.paths else TreeError
    raise error(f"{number} in the tree cannot be published.", details=details)
