# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One tree read in full and compared with what a manifest says of it, path by path.

Whatever is met is a finding that names the path, an input/output error as well as a wrong byte: a
disk that fails must not keep the rest of the tree from being checked.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from ..backends.tree import by_directory, content_of
from ..manifest.entry import DIRECTORY, FILE, LINK, Entry
from ..manifest.hashing import BLOCK, digest_blocks
from ..posix.beneath import Beneath
from ..posix.parallel import ITEM_COST, fork_map

MISSING, ADDED, CONTENT, MODE = "missing", "added", "content", "mode"
TYPE, TARGET, TIME, UNREADABLE = "type", "target", "time", "unreadable"

_FILES = 64  # files of one part
_LARGE = 8 * 1024 * 1024  # bytes of one part
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo must not block us
_REGULAR = stat.S_IFREG
_KINDS = {FILE: "file", LINK: "symbolic link", DIRECTORY: "directory"}

_TICK, _COARSE_TICK = 20_000_000, 4_000_000_000  # nanoseconds

_HEAD = struct.Struct("<IQQ")  # bytes of findings, files read, their bytes
_STATE = struct.Struct("<QQqqq")  # device, inode, size, time of modification, time of change
_DIGEST = 32


class Finding(NamedTuple):
    """One way in which a path is not what the manifest says: ``what`` is one of the words above."""

    path: str
    what: str
    detail: str


class Examined(NamedTuple):
    """What was found in a tree, sorted by path; ``files`` and ``bytes`` had to be read for it."""

    findings: list[Finding]
    files: int
    bytes: int


Known = dict[bytes, bytes]
"""The SHA-256 of files that were read before, by device, inode, size and times.

An inode that has not changed since is the same bytes on the same disk, by whatever name.
"""


class _Part(NamedTuple):
    """Files and links of one directory; ``names`` is all that belongs there, for its first part."""

    directory: str
    entries: Sequence[Entry]
    names: dict[str, Entry | None] | None
    size: int


def examine(
    root: str, entries: Sequence[Entry], known: Known, *, learn: bool, workers: int | None = None
) -> Examined:
    """Read the whole tree at ``root`` and compare it with ``entries``.

    Files of ``known`` are not read again; with ``learn`` those with several names are put into it.
    """
    parts = list(_parts(entries))
    parts.sort(key=lambda part: -(part.size // _LARGE))  # a large file begun last is waited for
    results = fork_map(
        partial(_examine_each, root, known, learn), parts, cost=_cost, workers=workers
    )
    findings: list[Finding] = []
    files = size = 0
    for result in results:
        length, read, read_bytes = _HEAD.unpack_from(result)
        files += read
        size += read_bytes
        start = _HEAD.size + length
        if length:
            told = json.loads(result[_HEAD.size : start])
            findings += [Finding(*one) for one in told]
        for at in range(start, len(result), _STATE.size + _DIGEST):
            middle = at + _STATE.size
            known[result[at:middle]] = result[middle : middle + _DIGEST]
    return Examined(_told_once(findings), files, size)


def _told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Return them sorted; a directory that cannot be entered is met by each of its parts."""
    found: dict[tuple[str, str], Finding] = {}
    for one in sorted(findings):
        found.setdefault((one.path, one.what), one)
    return list(found.values())


def _parts(entries: Sequence[Entry]) -> Iterator[_Part]:
    for directory, names in by_directory(entries).items():
        told: dict[str, Entry | None] | None = names
        found: list[Entry] = []
        size = 0
        for entry in names.values():
            if entry is None or entry.kind == DIRECTORY:
                continue
            found.append(entry)
            size += entry.size
            if size >= _LARGE or len(found) >= _FILES:
                yield _Part(directory, found, told, size)
                told, found, size = None, [], 0
        if found or told is not None:
            yield _Part(directory, found, told, size)


def _cost(part: _Part) -> int:
    return part.size + len(part.entries) * ITEM_COST


# --- a worker's side ---


def _examine_each(root: str, known: Known, learn: bool, parts: Sequence[_Part]) -> Iterator[bytes]:
    with Beneath(root) as tree:
        for part in parts:
            yield _Examiner(tree, known, learn).examine(part)


class _Examiner:
    """Looks at one part of a tree."""

    def __init__(self, tree: Beneath, known: Known, learn: bool) -> None:
        self._tree = tree
        self._known = known
        self._learn = learn
        self._findings: list[tuple[str, str, str]] = []
        self._strangers: list[str] = []
        self._learnt: list[bytes] = []
        self._files = self._bytes = 0

    def examine(self, part: _Part) -> bytes:
        """Return what was found and read, packed for the way to the parent."""
        try:
            fd = self._tree.directory(part.directory)
        except OSError as exc:
            self._cannot_enter(part, exc)
        else:
            if part.names is not None:
                self._compare_names(fd, part.directory, part.names)
            for entry in part.entries:
                self._compare(fd, entry)
            for path in self._strangers:  # last, as it may take the descriptor's place
                self._name_added(path)
        told = json.dumps(self._findings).encode() if self._findings else b""
        head = _HEAD.pack(len(told), self._files, self._bytes)
        return b"".join((head, told, *self._learnt))

    def _add(self, path: str, what: str, detail: str = "") -> None:
        self._findings.append((path, what, detail))

    def _cannot_enter(self, part: _Part, exc: OSError) -> None:
        is_gone = exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        if part.names is None and not is_gone:
            self._add(part.directory, UNREADABLE, f"{describe(exc)}; files in it were not checked")
        elif part.names is not None and not is_gone:
            number = sum(entry is not None for entry in part.names.values())
            detail = f"{describe(exc)}; {number} paths in it were not checked"
            self._add(part.directory, UNREADABLE, detail)
        elif part.names is not None and self._tree.lstat(part.directory) is not None:
            self._add(part.directory, TYPE, "it is not a directory")
        if is_gone:
            for entry in part.entries:
                self._add(entry.path, MISSING)

    def _compare_names(self, fd: int, directory: str, names: dict[str, Entry | None]) -> None:
        try:
            present = content_of(fd, directory)
        except OSError as exc:
            self._add(directory, UNREADABLE, describe(exc))
            return
        prefix = f"{directory}/" if directory else ""
        self._strangers += [prefix + name for name in present - names.keys()]
        for name, entry in names.items():
            if entry is not None and entry.kind == DIRECTORY and name not in present:
                self._add(entry.path, MISSING)

    def _name_added(self, path: str) -> None:
        """Name what does not belong there; of a directory what is in it."""
        waiting = [path]
        while waiting:  # a loop, as a tree may be deeper than Python's stack
            one = waiting.pop()
            try:
                found = self._tree.lstat(one)
                if found is None or not stat.S_ISDIR(found.st_mode):
                    self._add(one, ADDED)
                    continue
                names = os.listdir(self._tree.directory(one))
            except OSError as exc:
                self._add(one, ADDED, describe(exc))
                continue
            waiting.extend(f"{one}/{name}" for name in names)
            if not names:
                self._add(one, ADDED, "an empty directory")

    def _compare(self, fd: int, entry: Entry) -> None:
        name = entry.path.rpartition("/")[2]
        try:
            if entry.kind == LINK:
                self._compare_link(fd, name, entry)
            else:
                self._compare_file(fd, name, entry)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR):
                self._add(entry.path, MISSING)
            elif exc.errno in (errno.ELOOP, errno.ENXIO):
                self._add(entry.path, TYPE, f"it is not a {_KINDS[entry.kind]}")
            else:
                self._add(entry.path, UNREADABLE, describe(exc))

    def _compare_link(self, fd: int, name: str, entry: Entry) -> None:
        try:
            target = os.readlink(name, dir_fd=fd)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            self._add(entry.path, TYPE, "it is not a symbolic link")
            return
        if target != entry.target:
            self._add(entry.path, TARGET, f"it points to {target!r} instead of {entry.target!r}")

    def _compare_file(self, dir_fd: int, name: str, entry: Entry) -> None:
        if self._known and self._compare_known(dir_fd, name, entry):
            return
        fd = os.open(name, _OPEN, dir_fd=dir_fd)
        try:
            found = os.fstat(fd)
            if found.st_mode != _REGULAR | entry.mode or found.st_mtime_ns != entry.mtime_ns:
                self._compare_stat(found, entry)
            if not stat.S_ISREG(found.st_mode):
                return
            if found.st_size != entry.size:
                detail = f"it has {found.st_size} bytes instead of {entry.size}"
                self._add(entry.path, CONTENT, detail)
            elif self._digest(fd, found) != bytes.fromhex(entry.sha256):
                self._add(entry.path, CONTENT, "its SHA-256 is another one")
        finally:
            os.close(fd)

    def _compare_known(self, dir_fd: int, name: str, entry: Entry) -> bool:
        """Compare a file that another tree has as well; False where it was not read there."""
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        digest = self._known.get(_state(found)) if found.st_nlink > 1 else None
        if digest is None:
            return False
        self._compare_stat(found, entry)
        if digest.hex() != entry.sha256:
            self._add(entry.path, CONTENT, "its SHA-256 is another one")
        return True

    def _compare_stat(self, found: os.stat_result, entry: Entry) -> None:
        if not stat.S_ISREG(found.st_mode):
            self._add(entry.path, TYPE, "it is not a file")
            return
        mode = stat.S_IMODE(found.st_mode)
        if mode != entry.mode:
            self._add(entry.path, MODE, f"it has mode {mode:04o} instead of {entry.mode:04o}")
        if found.st_mtime_ns != entry.mtime_ns and found.st_size == entry.size:
            self._add(entry.path, TIME, "its time of modification is another one")

    def _digest(self, fd: int, found: os.stat_result) -> bytes:
        """Return the SHA-256 of a file's bytes."""
        digest = _read(fd, found.st_size)
        self._files += 1
        self._bytes += found.st_size
        if self._learn and found.st_nlink > 1 and _is_settled(found):
            self._learnt.append(_state(found) + digest)
        return digest


def _state(found: os.stat_result) -> bytes:
    times = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return _STATE.pack(found.st_dev, found.st_ino, *times)


def _is_settled(found: os.stat_result) -> bool:
    """Tell whether a change that comes now would show in the time of change, however it is rounded."""
    tick = _TICK if found.st_ctime_ns % 1_000_000_000 else _COARSE_TICK
    return time.time_ns() - found.st_ctime_ns > tick


def _read(fd: int, size: int) -> bytes:
    if size < BLOCK:
        data = os.pread(fd, size + 1, 0)
        if len(data) == size:
            return sha256(data).digest()
    return digest_blocks(fd)[1]


def describe(exc: OSError) -> str:
    """Return the system's own text and the name of the error."""
    name = errno.errorcode.get(exc.errno or 0, "unknown")
    return f"{os.strerror(exc.errno or 0)} ({name})"
