# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One pass over the names and stats of a tree, nothing opened but directories."""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, Protocol

from ..errors import SourceChanged
from .paths import RESERVED, fold, show

SKIPPED = (".dsg", ".zfs")
"""Names at the top of a tree that belong to us and to ZFS."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_MAX_INT64 = 2**63 - 1
_KINDS = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device node",
    stat.S_IFBLK: "a device node",
}
_row: Callable[[os.stat_result], tuple[int, ...]] = attrgetter(
    "st_mode", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"
)


class Ignores(Protocol):
    """What the walk asks about ignored paths."""

    def match(self, path: str, is_dir: bool) -> bool:
        """Tell whether ``path`` is ignored, given that none of its parents is."""


class Listing(NamedTuple):
    """One directory: its files' and links' sorted names and rows (as in the index).

    ``fd`` is open only until the next listing is asked for. ``all_regular`` promises that there are
    no links; False promises nothing.
    """

    path: str
    fd: int
    dev: int
    names: list[str]
    rows: bytes
    is_empty: bool
    all_regular: bool


class Problems:
    """Everything wrong with a tree, by the kind of error it will be."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.tree: list[str] = []


def walk(root: str, ignore: Ignores | None, problems: Problems) -> Iterator[Listing]:
    """Yield every directory beneath ``root`` that is not ignored, the root ('') first.

    Adds what cannot be published to ``problems``. Raises :class:`SourceChanged` if a directory or
    file goes away meanwhile.
    """
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        top = os.fstat(root_fd)
        waiting = [("", top.st_ino, top.st_dev)]
        while waiting:
            path, ino, dev = waiting.pop()
            fd = _open(root_fd, path, ino, dev, problems)
            if fd is None:
                continue
            try:
                names, stats, below = _list(path, fd, ignore, problems)
                below.reverse()  # so that the first is popped first
                waiting.extend(below)
                regular = all(map(stat.S_ISREG, [found.st_mode for found in stats]))
                rows = _pack(path, names, stats, problems)
                yield Listing(path, fd, dev, names, rows, not names and not below, regular)
            finally:
                os.close(fd)
    finally:
        os.close(root_fd)


def _open(root_fd: int, path: str, ino: int, dev: int, problems: Problems) -> int | None:
    """Open a directory. Whatever its parents were swapped for: it must be the one that was seen."""
    try:
        fd = os.open(path or ".", _OPEN, dir_fd=root_fd)
    except OSError as exc:
        if exc.errno in _CHANGED:
            raise _changed(path) from None
        problems.tree.append(f"{show(path)}: cannot be read: {os.strerror(exc.errno or 0)}")
        return None
    found = os.fstat(fd)
    if (found.st_ino, found.st_dev) != (ino, dev):
        os.close(fd)
        raise _changed(path)
    return fd


def _changed(path: str) -> SourceChanged:
    return SourceChanged("it went away or was replaced while the tree was read", object=path)


_Below = list[tuple[str, int, int]]


def _list(
    path: str, fd: int, ignore: Ignores | None, problems: Problems
) -> tuple[list[str], list[os.stat_result], _Below]:
    """Return names and stats of what is neither ignored nor a directory, and the directories."""
    names = os.listdir(fd)
    names.sort()
    if not path:
        names = [name for name in names if name not in SKIPPED]
    prefix = f"{path}/" if path else ""
    try:
        stats = list(map(partial(os.stat, dir_fd=fd, follow_symlinks=False), names))
    except OSError:
        names, stats = _stat_each(prefix, names, fd, ignore, problems)
    if ignore is not None:
        match = ignore.match
        kept = [
            (name, found)
            for name, found in zip(names, stats)
            if not match(prefix + name, stat.S_ISDIR(found.st_mode))
        ]
        names = [name for name, _unused in kept]
        stats = [found for _unused, found in kept]
    if set(map(stat.S_IFMT, [found.st_mode for found in stats])) <= {stat.S_IFREG}:
        return names, stats, []
    return _sort_out(prefix, names, stats, problems)


def _sort_out(
    prefix: str, names: list[str], stats: list[os.stat_result], problems: Problems
) -> tuple[list[str], list[os.stat_result], _Below]:
    """Part directories from files and links, and drop what cannot be published."""
    kept_names: list[str] = []
    kept_stats: list[os.stat_result] = []
    below: _Below = []
    for name, found in zip(names, stats):
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFREG or kind == stat.S_IFLNK:
            kept_names.append(name)
            kept_stats.append(found)
        elif kind != stat.S_IFDIR:
            what = _KINDS.get(kind, "a special file")
            problems.tree.append(f"{show(prefix + name)}: {what} cannot be published")
        elif name.startswith(".") and fold(name) in RESERVED:
            problems.paths.append(f"{show(prefix + name)}: the name is reserved and never content")
        else:
            below.append((prefix + name, found.st_ino, found.st_dev))
    return kept_names, kept_stats, below


def _stat_each(
    prefix: str, names: list[str], fd: int, ignore: Ignores | None, problems: Problems
) -> tuple[list[str], list[os.stat_result]]:
    """Stat one by one, to see which one fails."""
    found = []
    for name in names:
        path = prefix + name
        try:
            found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
        except OSError as exc:
            if ignore is not None and ignore.match(path, False):
                continue  # somebody's short-lived file
            if exc.errno in _CHANGED:
                raise _changed(path) from None
            problems.tree.append(f"{show(path)}: cannot be read: {os.strerror(exc.errno or 0)}")
    return [name for name, _unused in found], [one for _unused, one in found]


def _pack(path: str, names: list[str], stats: list[os.stat_result], problems: Problems) -> bytes:
    try:
        return array("q", chain.from_iterable(map(_row, stats))).tobytes()
    except OverflowError:
        values = [_fit(value) for value in chain.from_iterable(map(_row, stats))]
    for name, found in zip(names, stats):
        if not -_MAX_INT64 <= found.st_mtime_ns <= _MAX_INT64:
            problems.tree.append(
                f"{show(os.path.join(path, name))}: its modification time is not in 1678 to 2262"
            )
    return array("q", values).tobytes()


def _fit(value: int) -> int:
    """Wrap a large inode number (or a strange time) into 64 bits with sign."""
    return (value + 2**63) % 2**64 - 2**63
