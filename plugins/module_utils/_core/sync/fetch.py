# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of a snapshot brought to a directory of this host, wherever the repository is.

Everything lands in a directory of its own beside the destination, is hashed on its way, and takes the
destination's name in one step when it is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from ..backends.base import Repository
from ..backends.origin import new_txn_id
from ..errors import ArgumentError, DsgError, LockedError, RepositoryError, from_oserror
from ..manifest.compare import compare_trees
from ..manifest.entry import DIRECTORY, FILE, Entry
from ..manifest.scan import scan_tree
from ..posix.beneath import Beneath
from ..posix.durable import sync_directory, sync_file_system
from ..posix.remove import remove_tree
from ..posix.syscalls import rename_exchange, rename_noreplace
from ..transport.connect import repository_at
from ..transport.destination import Destination
from ..upkeep.selection import Selection
from .progress import Meter

_FILES, _TREE = "files", "tree"
_UNCHANGED = "The repository and the destination are unchanged."


class FetchRequest(NamedTuple):
    """Bring ``paths`` (none: everything) of ``snapshot`` (0: the newest) to the directory ``dest``.

    ``dest`` has to be missing or empty; with ``force`` another one is moved aside. ``destination`` is
    the host that holds the repository, None for this one; ``lock_timeout`` is in seconds. With
    ``check`` nothing is changed.
    """

    repository: str
    backend: Mapping[str, object]
    dest: str
    snapshot: int = 0
    paths: Sequence[str] = ()
    force: bool = False
    lock_timeout: float = 60.0
    destination: Destination | None = None
    check: bool = False
    meter: Meter | None = None

    def advance(self, files: int, size: int) -> None:
        """Count files and bytes that travelled."""
        if self.meter is not None:
            self.meter.advance(files, size)


@dataclass
class FetchResult:
    """What was brought; ``backup`` is where a directory was moved that was in the way ('': none)."""

    changed: bool = False
    snapshot: int = 0
    entries: list[Entry] = field(default_factory=list)
    backup: str = ""


def fetch(request: FetchRequest) -> FetchResult:
    """Bring the paths; where the destination holds just them, nothing is done.

    Raises :class:`DriftError` for a file that is not what the snapshot's manifest says.
    """
    try:
        _check_destination(request.dest)
        selection = Selection(request.paths)
        with repository_at(
            request.destination, request.backend, request.repository, request.advance
        ) as repository:
            if request.destination is None:
                _refuse_overlap(repository, request.dest)
            return _fetch(repository, request, selection)
    except OSError as exc:
        error = from_oserror(exc, "fetching")
        error.unchanged = _UNCHANGED
        raise error from exc
    except DsgError as exc:
        if exc.unchanged == DsgError.unchanged:
            exc.unchanged = _UNCHANGED
        raise


def _check_destination(dest: str) -> None:
    if not os.path.isabs(dest) or os.path.normpath(dest) != dest or dest == "/" or "\0" in dest:
        raise ArgumentError("dest must be an absolute, normal path", object=dest)


def _refuse_overlap(repository: Repository, dest: str) -> None:
    try:
        repository.check_source(dest)
    except ArgumentError as exc:
        raise ArgumentError(
            "dest must not lie in what holds the repositories, or around it", object=dest
        ) from exc


def _fetch(repository: Repository, request: FetchRequest, selection: Selection) -> FetchResult:
    # Nobody removes the snapshot meanwhile; a dry run makes not even a lock file.
    lock = repository.lock(request.lock_timeout, shared=True)
    with nullcontext() if request.check else lock:
        head = repository.head()
        if head is None:
            raise RepositoryError(
                "the repository does not exist",
                object=repository.location,
                next_step="Correct repository or backend.",
            )
        result = FetchResult(snapshot=request.snapshot or head.snapshot)
        manifest = repository.snapshot_manifest(result.snapshot)
        selection.require_all((e.path for e in manifest.entries), f"snapshot s{result.snapshot}")
        result.entries = [e for e in manifest.entries if selection.covers(e.path)]
        present = _present(request.dest)
        if present is None or not _holds(request.dest, present, result.entries):
            _require_room(request, present)
            result.changed = True
            if not request.check:
                _bring(repository, request, result, bool(present))
        return result


def _present(dest: str) -> list[str] | None:
    """Return the names in the destination, None where it is missing."""
    try:
        if not stat.S_ISDIR(os.lstat(dest).st_mode):
            raise ArgumentError("dest is there, and is not a directory", object=dest)
        return os.listdir(dest)
    except FileNotFoundError:
        return None


def _holds(dest: str, present: Sequence[str], entries: Sequence[Entry]) -> bool:
    """Tell whether the destination has exactly these entries, hashed anew."""
    if not present:
        return not entries
    if len(present) > len(entries):
        return False
    try:
        found = scan_tree(dest, checksum=True).entries
    except DsgError:  # special files, names that no tree of ours has
        return False
    return not compare_trees(entries, found) and _times(found) == _times(entries)


def _times(entries: Sequence[Entry]) -> list[tuple[str, int]]:
    return [(entry.path, entry.mtime_ns) for entry in entries if entry.kind == FILE]


def _require_room(request: FetchRequest, present: Sequence[str] | None) -> None:
    if present and not request.force:
        raise ArgumentError(
            "dest is a directory that holds something else",
            object=request.dest,
            next_step="Choose a new directory, or have this one moved aside with force.",
        )
    if not os.path.isdir(os.path.dirname(request.dest)):
        raise ArgumentError(
            "the directory that dest is to be in does not exist",
            object=os.path.dirname(request.dest),
            next_step="Make it first.",
        )


def _bring(
    repository: Repository, request: FetchRequest, result: FetchResult, occupied: bool
) -> None:
    with _staging(request.dest) as staging:
        files, root = os.path.join(staging, _FILES), os.path.join(staging, _TREE)
        os.mkdir(files, 0o700)
        os.mkdir(root, 0o755)
        if request.meter is not None:
            wanted = [entry for entry in result.entries if entry.kind == FILE]
            request.meter.begin("download", len(wanted), sum(entry.size for entry in wanted))
        repository.fetch(result.entries, files, snapshot=result.snapshot)
        _arrange(files, root, result.entries)
        sync_file_system(staging)
        result.backup = _place(root, request.dest, occupied)


def _arrange(files: str, root: str, entries: Sequence[Entry]) -> None:
    """Give what landed its paths."""
    with Beneath(files) as landed, Beneath(root) as tree:
        for number, entry in enumerate(entries):
            if entry.kind == DIRECTORY:
                tree.directory(entry.path, make=True)
                continue
            parent, name = tree.at(entry.path, make_parents=True)
            os.rename(str(number), name, src_dir_fd=landed.fd, dst_dir_fd=parent)


def _place(root: str, dest: str, occupied: bool) -> str:
    """Give the tree the destination's name; return where what had it is now ('': there was nothing)."""
    backup = ""
    if occupied:
        rename_exchange(root, -100, dest, -100)
        backup = f"{dest}.before-{new_txn_id()}"
        rename_noreplace(root, -100, backup, -100)
    else:
        if os.path.isdir(dest):
            os.chmod(root, stat.S_IMODE(os.stat(dest).st_mode))
        os.rename(root, dest)  # fails where somebody has put something into it
    sync_directory(os.path.dirname(dest))
    return backup


@contextmanager
def _staging(dest: str) -> Iterator[str]:
    """Give a directory beside the destination, empty and for this process alone; it goes afterwards.

    What a dead process left in it is removed first.
    """
    parent, name = os.path.split(dest)
    path = os.path.join(parent, f".{name}.dsg-fetch")
    fd = _own(path, dest)
    try:
        for left in (_FILES, _TREE):
            remove_tree(left, dir_fd=fd)
        yield path
    finally:
        try:
            for left in (_FILES, _TREE):
                remove_tree(left, dir_fd=fd)
            os.rmdir(path)
        finally:
            os.close(fd)


def _own(path: str, dest: str) -> int:
    """Return a locked descriptor of the directory, which is there under its name."""
    while True:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # another one has just finished
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return fd
        except OSError as exc:
            os.close(fd)
            if exc.errno == errno.EWOULDBLOCK:
                raise LockedError("another process fetches to it", object=dest) from None
            raise
        os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
