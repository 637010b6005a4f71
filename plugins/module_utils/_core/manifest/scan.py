# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of a tree as it is now, with the help of an index of how it was before."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PathError, TreeError, capped
from ..posix.progress import advance
from .columns import (
    DIGEST,
    ROW,
    Directory,
    count,
    entries_of,
    iter_rows,
    paths_of,
    positions_of,
    targets_of,
)
from .digest import tree_digest
from .entry import FILE, Entry
from .hashing import Identity, identity_of_row
from .index import Clock, Index, read_clock, save, without_racy
from .merge import Known, Merge
from .paths import check_paths, link_problems, problems
from .portable import Names
from .walk import Ignores, Problems, walk


class Scan:
    """A tree as it was found. The entries' users are ''; the rest is as it will be published.

    ``counts`` tells what the tree holds, ``hashed`` and ``hashed_bytes`` what had to be read, and
    ``as_indexed`` that the index would learn nothing from this scan.
    """

    def __init__(
        self,
        root: str,
        merge: Merge,
        foreign: set[str],
        clock: Clock | None,
        like: Index | None,
        *,
        checked: bool = True,
    ) -> None:
        self.root = root
        self.hashed = merge.hashed
        self.hashed_bytes = merge.hashed_bytes
        self.as_indexed = like is not None and not merge.hashed
        self.counts = count(merge.directories) if like is None else like.counts
        self._directories = merge.directories
        self._foreign = foreign
        self._clock = clock
        self._digest = like.digest if like is not None else ""
        self._entries: list[Entry] | None = None
        self._positions: dict[str, dict[str, int]] = {}
        self._checked = checked

    @property
    def digest(self) -> str:
        """The tree digest, or '' while files are not hashed or names not checked."""
        if not self._checked:
            return ""
        if not self._digest:
            entries = self.entries
            if all(entry.sha256 or entry.kind != FILE for entry in entries):
                self._digest = tree_digest(entries)
        return self._digest

    @property
    def entries(self) -> list[Entry]:
        """All entries, sorted by path; ``sha256`` is '' where a file is not hashed."""
        if self._entries is None:
            self._entries = entries_of(self._directories)
        return self._entries

    def identity(self, path: str) -> Identity:
        """Return the stat identity of a file or link of the tree; ``KeyError`` for others."""
        directory, i = self._find(path)
        (row,) = iter_rows(directory.rows[i * ROW : (i + 1) * ROW])
        return identity_of_row(row)

    def set_hash(self, path: str, sha256: str) -> None:
        """Fill in the hash of a file that was hashed elsewhere, as the one the scan identified."""
        directory, i = self._find(path)
        if not isinstance(directory.digests, bytearray):
            directory.digests = bytearray(directory.digests)
        directory.digests[i * DIGEST : (i + 1) * DIGEST] = bytes.fromhex(sha256)
        self._digest = ""
        self._entries = None

    def vouch_for_names(self) -> None:
        """Take note that the names and links of a scan without a check keep the path rules."""
        self._checked = True

    def paths(self) -> list[str]:
        """Return the paths of all entries."""
        return paths_of(self._directories)

    def links(self) -> dict[str, str]:
        """Return the text of every link by its path."""
        return {
            f"{path}/{name}" if path else name: target
            for path, directory in self._directories.items()
            if directory.targets
            for name, target in targets_of(directory).items()
        }

    def as_index(self) -> Index:
        """Return what the next scan of this tree may rely on."""
        trusted = {
            path: without_racy(directory, None if path in self._foreign else self._clock)
            for path, directory in self._directories.items()
        }
        return Index(trusted, self.digest, self.counts)

    def save(self, path: str, names: Names | None = None) -> None:
        """Store the index for the next scan, which may find what ``names`` says renamed."""
        index = self.as_index()
        if names:
            touched = _touched(names)
            left = {one: found for one, found in self._directories.items() if one not in touched}
            trusted = {names.moved.get(one, one): index.directories[one] for one in left}
            index = Index(trusted, "", count(left))
        save(path, index)

    def _find(self, path: str) -> tuple[Directory, int]:
        parent, _unused, name = path.rpartition("/")
        directory = self._directories[parent]
        positions = self._positions.get(parent)
        if positions is None:
            positions = self._positions[parent] = positions_of(directory)
        return directory, positions[name]


def _touched(names: Names) -> set[str]:
    """Return the directories of which a name or a link changes: the next scan reads them anew."""
    sources = names.sources()
    links = [sources.get(one.path, one.path) for one in names.retargets]
    return {path.rpartition("/")[0] for path in [*links, *(one.old for one in names.renames)]}


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
    check_names: bool = True,
) -> Scan:
    """Scan the tree at ``root``.

    A file whose stat is as in ``index`` has the hash it had; ``checksum`` hashes all the same.
    ``known(path, identity)`` may know the hash of a file that the index does not ('' if not), and
    files for which ``must_hash(path)`` is False are left unhashed then. ``clock_directory`` is where
    the file system's clock is read; without one the scan's index vouches for no file. Without
    ``check_names`` the path rules are left to the caller, who may rename what breaks them.

    Raises one :class:`PathError` or :class:`TreeError` for everything that cannot be published, and
    :class:`SourceChanged` if files change or go away meanwhile.
    """
    clock = read_clock(clock_directory) if clock_directory is not None else None
    merge = Merge(index, known, must_hash, checksum)
    wrong = Problems()
    foreign = set()
    for listing in walk(root, ignore or None, wrong):
        if clock is None or listing.dev != clock.dev:
            foreign.add(listing.path)
        merge.add(listing)
        advance(len(listing.names), 0)
    if check_names:
        if merge.has_new_names():
            wrong.paths.extend(_path_problems(paths_of(merge.directories)))
        wrong.paths.extend(link_problems(merge.links))
    _raise(wrong)
    wrong.tree.extend(merge.hash_pending(root, workers))
    _raise(wrong)
    like = index if merge.is_same() else None
    return Scan(root, merge, foreign, clock, like, checked=check_names)


def _path_problems(paths: list[str]) -> list[str]:
    try:
        check_paths(paths)
    except PathError:
        return problems(paths)  # all of them, to be told together with the others
    return []


def _raise(wrong: Problems) -> None:
    found = sorted(wrong.paths) + sorted(wrong.tree)
    if not found:
        return
    number = "One finding" if len(found) == 1 else f"{len(found)} findings"
    error = PathError if wrong.paths else TreeError
    raise error(f"{number} in the tree cannot be published.", details=capped(found))
