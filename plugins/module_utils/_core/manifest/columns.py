# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""A tree in columns: per directory one text of names and arrays of stats and hashes.

200,000 files take some 20 MB this way, and an unchanged directory is recognised by two comparisons
of bytes. Entries are made from it only when something asks for them.
"""

from __future__ import annotations

import stat
import struct
from array import array
from functools import partial
from itertools import repeat
from typing import NamedTuple

from .entry import DIRECTORY, FILE, LINK, MODE_MASK, Entry

COLUMNS = 5
"""Columns of a row: mode, inode, size, mtime_ns, ctime_ns as signed 64-bit integers."""
SIZE, MTIME, CTIME = 2, 3, 4
ROW = 8 * COLUMNS
"""Bytes of a row."""
DIGEST = 32
UNHASHED = bytes(DIGEST)
"""Stands for the hash of what has none: links, and files that were not read yet."""

_row = struct.Struct(f"={COLUMNS}q")
pack_row = _row.pack
"""Write one row."""
iter_rows = _row.iter_unpack
"""Yield every row as a tuple of integers."""

_UNHASHED_HEX = UNHASHED.hex()
_new = partial(tuple.__new__, Entry)


class Directory:
    """The files and links of one directory, in the order of their names.

    ``names`` is the names joined by ``/``; ``rows`` holds :data:`ROW` bytes for each, ``digests``
    32 bytes for each, ``targets`` the texts of the links among them, in order. ``is_empty`` is set
    for a directory without anything (that is not ignored) in it, subdirectories included.
    """

    __slots__ = ("digests", "is_empty", "names", "rows", "targets")

    def __init__(
        self,
        names: str,
        rows: bytes,
        digests: bytes | bytearray,
        targets: tuple[str, ...] = (),
        is_empty: bool = False,
    ) -> None:
        self.names = names
        self.rows = rows
        self.digests = digests
        self.targets = targets
        self.is_empty = is_empty

    def __len__(self) -> int:
        return len(self.rows) // ROW


class Counts(NamedTuple):
    """What a tree holds; ``bytes`` is the sum of the files' sizes."""

    files: int
    links: int
    directories: int
    bytes: int


def same_content(before: Directory, now: Directory) -> bool:
    """Tell whether the files and links of both publish the same, whatever their stats."""
    return (
        before.names == now.names
        and before.digests == now.digests
        and before.targets == now.targets
        and array("q", before.rows)[::COLUMNS] == array("q", now.rows)[::COLUMNS]
    )


def positions_of(directory: Directory) -> dict[str, int]:
    """Return the position of every name."""
    return {name: i for i, name in enumerate(names_of(directory))}


def names_of(directory: Directory) -> list[str]:
    """Return the names, sorted."""
    return directory.names.split("/") if directory.rows else []


def targets_of(directory: Directory) -> dict[str, str]:
    """Return the text of every link by its name."""
    modes = array("q", directory.rows)[::COLUMNS]
    links = [name for name, mode in zip(names_of(directory), modes) if stat.S_ISLNK(mode)]
    return dict(zip(links, directory.targets))


def paths_of(directories: dict[str, Directory]) -> list[str]:
    """Return the paths of all entries: files, links and empty directories."""
    paths = []
    for path, directory in directories.items():
        if directory.is_empty and path:
            paths.append(path)
        prefix = f"{path}/" if path else ""
        paths.extend([prefix + name for name in names_of(directory)])
    return paths


def entries_of(directories: dict[str, Directory]) -> list[Entry]:
    """Return all entries, sorted by path, with no user."""
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
    modes = values[::COLUMNS]
    text = directory.digests.hex()
    hashes = [text[start : start + 64] for start in range(0, len(text), 64)]
    if UNHASHED in directory.digests:
        hashes = ["" if one == _UNHASHED_HEX else one for one in hashes]
    columns = zip(
        [prefix + name for name in names_of(directory)],
        repeat(FILE),
        values[SIZE::COLUMNS],
        values[MTIME::COLUMNS],
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


def count(directories: dict[str, Directory]) -> Counts:
    """Count what a tree holds."""
    links = sum(len(directory.targets) for directory in directories.values())
    empty = sum(directory.is_empty for path, directory in directories.items() if path)
    entries = sum(map(len, directories.values()))
    size = 0
    for directory in directories.values():
        values = array("q", directory.rows)
        size += sum(values[SIZE::COLUMNS])
        if directory.targets:
            size -= sum(
                length
                for mode, length in zip(values[::COLUMNS], values[SIZE::COLUMNS])
                if stat.S_ISLNK(mode)
            )
    return Counts(entries - links, links, empty, size)
