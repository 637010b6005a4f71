# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of a snapshot brought to a directory of this host, wherever the repository is.

Everything lands in a directory of its own beside the destination, is hashed on its way, and takes the
destination's name in one step when it is complete. What has that name is exchanged with it in that very
step, and so is at its final place at once: nothing of the user's ever lies where something is removed.
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
from ..errors import ArgumentError, DsgError, LockedError, RepositoryError, telling
from ..manifest.compare import compare_trees
from ..manifest.entry import DIRECTORY, FILE, Entry
from ..manifest.scan import scan_tree
from ..posix.beneath import Beneath
from ..posix.durable import discard, sync_directory, sync_file_system, write_new
from ..posix.progress import begin
from ..posix.remove import remove_tree
from ..posix.syscalls import rename_exchange, rename_noreplace
from ..transport.connect import repository_at
from ..transport.destination import Destination
from ..upkeep.selection import Selection

_FILES, _TREE, _PLACING = "files", "tree", "placing"
_ASIDE = ".before-"
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


@dataclass
class FetchResult:
    """What was brought; ``backup`` is where a directory was moved that was in the way ('': none).

    ``placed`` tells whether the destination has it already.
    """

    changed: bool = False
    snapshot: int = 0
    entries: list[Entry] = field(default_factory=list)
    backup: str = ""
    placed: bool = False


def fetch(request: FetchRequest) -> FetchResult:
    """Bring the paths; where the destination holds just them, nothing is done.

    Raises :class:`DriftError` for a file that is not what the snapshot's manifest says.
    """
    result = FetchResult()
    with telling("fetching", _UNCHANGED, lambda error: _say_what_stands(error, result)):
        _check_destination(request.dest)
        selection = Selection(request.paths)
        with repository_at(request.destination, request.backend, request.repository) as repository:
            if request.destination is None:
                _refuse_overlap(repository, request.dest)
            _fetch(repository, request, selection, result)
    return result


def _say_what_stands(error: DsgError, result: FetchResult) -> None:
    if result.placed:
        error.changed = True
        error.unchanged = "The repository is unchanged. All of it is at dest"
        error.unchanged += f"; what was there is at {result.backup}." if result.backup else "."


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


def _fetch(
    repository: Repository, request: FetchRequest, selection: Selection, result: FetchResult
) -> None:
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
        result.snapshot = request.snapshot or head.snapshot
        manifest = repository.snapshot_manifest(result.snapshot)
        selection.require_all((e.path for e in manifest.entries), f"snapshot s{result.snapshot}")
        result.entries = [e for e in manifest.entries if selection.covers(e.path)]
        present = _present(request.dest)
        if present is None or not _holds(request.dest, present, result.entries):
            backup = _require_room(request, present)
            result.changed = True
            if not request.check:
                _bring(repository, request, result, backup)
        elif not request.check:
            _tidy(request.dest)


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


def _require_room(request: FetchRequest, present: Sequence[str] | None) -> str:
    """Return where what the destination holds is to be moved ('': it holds nothing)."""
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
    _refuse_foreign(_staging_path(request.dest))
    return _backup_of(request.dest) if present else ""


def _backup_of(dest: str) -> str:
    """Return a name beside the destination that is free, and that the file system takes."""
    backup = f"{dest}{_ASIDE}{new_txn_id()}"
    try:
        os.lstat(backup)
    except FileNotFoundError:
        return backup
    except OSError as exc:
        if exc.errno != errno.ENAMETOOLONG:
            raise
        raise ArgumentError(
            "the name of dest is too long to be moved aside under it with an addition",
            object=dest,
            next_step="Choose a new directory, or move this one aside yourself.",
        ) from None
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), backup)


def _bring(repository: Repository, request: FetchRequest, result: FetchResult, backup: str) -> None:
    with _staging(request.dest) as staging:
        files, root = os.path.join(staging, _FILES), os.path.join(staging, _TREE)
        os.mkdir(files, 0o700)
        os.mkdir(root, 0o755)
        wanted = [entry for entry in result.entries if entry.kind == FILE]
        begin("download", len(wanted), sum(entry.size for entry in wanted))
        repository.fetch(result.entries, files, snapshot=result.snapshot)
        begin("place")
        _arrange(files, root, result.entries)
        sync_file_system(staging)
        if backup:
            _put_aside(staging, backup)
            rename_exchange(backup, -100, request.dest, -100)
        else:
            _take_name(root, request.dest)
        result.placed, result.backup = True, backup
        sync_directory(os.path.dirname(request.dest))


def _arrange(files: str, root: str, entries: Sequence[Entry]) -> None:
    """Give what landed its paths."""
    with Beneath(files) as landed, Beneath(root) as tree:
        for number, entry in enumerate(entries):
            if entry.kind == DIRECTORY:
                tree.directory(entry.path, make=True)
                continue
            parent, name = tree.at(entry.path, make_parents=True)
            os.rename(str(number), name, src_dir_fd=landed.fd, dst_dir_fd=parent)


def _put_aside(staging: str, backup: str) -> None:
    """Give the tree the name that what it is exchanged with is to have.

    Which directory it is, is on disk before: until the exchange that name is not the user's.
    """
    root, parent = os.path.join(staging, _TREE), os.path.dirname(backup)
    inode, changed = _mark(os.lstat(root))
    record = f"{inode} {changed} {os.path.basename(backup)}\n"
    write_new(os.path.join(staging, _PLACING), [os.fsencode(record)], mode=0o600)
    sync_directory(staging)
    rename_noreplace(root, -100, backup, -100)
    sync_directory(parent)


def _take_name(root: str, dest: str) -> None:
    """Give the tree the destination's name, which nothing has but an empty directory."""
    if os.path.isdir(dest):
        os.chmod(root, stat.S_IMODE(os.stat(dest).st_mode))
    os.rename(root, dest)  # fails where somebody has put something into it


def _mark(seen: os.stat_result) -> tuple[int, int]:
    """Return what a directory is told by that stays the same when it is renamed."""
    return seen.st_ino, seen.st_mtime_ns


@contextmanager
def _staging(dest: str) -> Iterator[str]:
    """Give a directory beside the destination, empty and for this process alone; it goes afterwards.

    What a dead process left in it is removed first.
    """
    path = _staging_path(dest)
    fd = _own(path, dest)
    try:
        _clear(fd, dest)
        yield path
    finally:
        try:
            _clear(fd, dest)
            os.rmdir(path)
        finally:
            os.close(fd)


def _staging_path(dest: str) -> str:
    parent, name = os.path.split(dest)
    return os.path.join(parent, f".{name}.dsg-fetch")


def _tidy(dest: str) -> None:
    """Remove what a dead process left; where that does not work, whoever fetches next will."""
    if os.path.lexists(_staging_path(dest)):
        try:
            with _staging(dest):
                pass
        except (ArgumentError, LockedError, OSError):
            pass


def _clear(fd: int, dest: str) -> None:
    """Remove what is ours from the staging directory, and from the backup's name."""
    _take_back(fd, dest)
    discard(_PLACING, dir_fd=fd)
    for left in (_FILES, _TREE):
        remove_tree(left, dir_fd=fd)


def _take_back(fd: int, dest: str) -> None:
    """Move a tree back that has the backup's name because it was never exchanged.

    Any other directory there is what the user had at the destination: it stays.
    """
    mark, name = _recorded(fd)
    if not name.startswith(f"{os.path.basename(dest)}{_ASIDE}") or "/" in name:
        return
    place = os.path.join(os.path.dirname(dest), name)
    try:
        seen = os.lstat(place)
    except FileNotFoundError:
        return
    beside = seen.st_dev == os.fstat(fd).st_dev
    if stat.S_ISDIR(seen.st_mode) and beside and _mark(seen) == mark:
        rename_noreplace(place, -100, _TREE, fd)


def _recorded(fd: int) -> tuple[tuple[int, int], str]:
    """Return mark and new name of the tree that was to be exchanged; no name: there was none.

    A record that is not whole was not yet acted upon, and one of another user is not believed.
    """
    nothing = (0, 0), ""
    try:
        record = os.open(_PLACING, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return nothing
    with os.fdopen(record, "rb") as stream:
        if os.fstat(record).st_uid != os.geteuid():
            return nothing
        parts = stream.read().split(b" ", 2)
    try:
        inode, changed, name = int(parts[0]), int(parts[1]), os.fsdecode(parts[2])
    except (IndexError, ValueError):
        return nothing
    return ((inode, changed), name[:-1]) if name.endswith("\n") else nothing


def _own(path: str, dest: str) -> int:
    """Return a locked descriptor of the directory, which is there under its name, and is ours.

    Anybody can take the name first where all may write. What this process has made is its own also where
    the file system says that it is another user's, as network file systems do.
    """
    while True:
        made = False
        try:
            os.mkdir(path, 0o700)
            made = True
        except FileExistsError:
            _refuse_foreign(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # another one has just finished
            continue
        try:
            if not made and not _is_ours(os.fstat(fd)):
                raise _taken(path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return fd
        except (DsgError, OSError) as exc:
            os.close(fd)
            if isinstance(exc, OSError) and exc.errno == errno.EWOULDBLOCK:
                raise LockedError(
                    "another process fetches to it",
                    object=dest,
                    next_step="Wait for the other process, then run again.",
                ) from None
            raise
        os.close(fd)


def _refuse_foreign(path: str) -> None:
    """Refuse to go on where the name of the staging directory has something that is not ours."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(seen.st_mode) or not _is_ours(seen):
        raise _taken(path)


def _is_ours(seen: os.stat_result) -> bool:
    return seen.st_uid == os.geteuid()


def _taken(path: str) -> ArgumentError:
    return ArgumentError(
        "dest is prepared under this name beside it, which something has that is not ours",
        object=path,
        next_step=(
            "Look at it: another user's interrupted fetch may have left it, or somebody put it there. "
            "Remove it, or choose a dest in a directory that nobody else can write to."
        ),
    )


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
