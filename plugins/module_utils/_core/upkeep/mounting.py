# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot shown at a path of its own, read-only, for as long as somebody wants to look at it.

Mounting takes root, and the path is the caller's choice: a service user may not do it, as no helper
could tell which paths of the host are harmless. The directory is reached without any symbolic link
but those of root, and it is this very directory that is mounted upon. A mount does not outlive the
host's next boot.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from ..backends.base import LocalRepository
from ..errors import ArgumentError, RepositoryError, SystemCallError, telling
from ..posix import mounted
from ..posix.beneath import Beneath

_MOST_LINKS = 40
_UNCHANGED = "Nothing was mounted or unmounted."


@dataclass
class MountResult:
    """``path`` without links, the snapshot that is mounted there (None: none), and if that is new."""

    path: str
    snapshot: int | None = None
    changed: bool = False


def mount(
    repository: LocalRepository,
    number: int,
    path: str,
    *,
    lock_timeout: float = 60.0,
    check: bool = False,
) -> MountResult:
    """Show a snapshot at ``path``, an empty directory that is made where it is missing.

    Raises :class:`ArgumentError` for a path that must not be used, and :class:`RepositoryError` where
    something else is mounted there.
    """
    with _by_root(), _shared(repository, lock_timeout, check):
        place = _place(repository, path)
        result = MountResult(place, number)
        if mounted.is_mountpoint(place):
            _require_same(repository, number, place)
            return result
        source = _resolved(repository.snapshot_tree(number))
        repository.snapshot_manifest(number)  # a damaged one is nothing to look at
        _require_empty(place)
        result.changed = True
        if not check:
            _mount(source, place)
        return result


def unmount(
    repository: LocalRepository,
    path: str,
    *,
    number: int | None = None,
    lock_timeout: float = 60.0,
    check: bool = False,
) -> MountResult:
    """Unmount a snapshot of the repository (``number``: only this one); the directory stays."""
    with _by_root(), _shared(repository, lock_timeout, check):
        place = _place(repository, path)
        if not mounted.is_mountpoint(place):
            return MountResult(place)
        found = repository.mounted_snapshot(place)
        if found is None or (number is not None and found != number):
            raise _other(found, place)
        if not check:
            _unmount(place)
        return MountResult(place, found, changed=True)


def _shared(
    repository: LocalRepository, lock_timeout: float, check: bool
) -> AbstractContextManager[None]:
    """Keep off who would remove the snapshot; a dry run makes not even a lock file."""
    return nullcontext() if check else repository.lock(lock_timeout, shared=True)


@contextmanager
def _by_root() -> Iterator[None]:
    with telling("mounting", _UNCHANGED):
        if os.geteuid() != 0:
            raise ArgumentError(
                "only root mounts snapshots: a service user may not choose where",
                next_step="Become root for this task, or fetch what you need with dsg_fetch.",
            )
        yield


def _place(repository: LocalRepository, path: str) -> str:
    """Return the path without links; refuse those that others could turn elsewhere, and our own."""
    if not os.path.isabs(path) or os.path.normpath(path) != path or path.startswith("//"):
        raise ArgumentError("path must be an absolute, normal path", object=path)
    place = _resolved(path)
    held = os.path.dirname(os.path.realpath(repository.tree()))
    if f"{place}/".startswith(f"{held}/"):
        raise ArgumentError(f"path lies in {held}, where repositories are held", object=path)
    return place


def _resolved(path: str) -> str:
    """Follow links of root only; what does not exist has none."""
    done, left, links = "/", path.split("/")[1:], 0
    while left:
        name = left.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            done = os.path.dirname(done)
            continue
        at = os.path.join(done, name)
        try:
            seen = os.lstat(at)
        except FileNotFoundError:
            return os.path.normpath(os.path.join(at, *left))
        if not stat.S_ISLNK(seen.st_mode):
            done = at
            continue
        links += 1
        if seen.st_uid != 0 or links > _MOST_LINKS:
            raise ArgumentError("path leads through a symbolic link that is not root's", object=at)
        target = os.readlink(at)
        done = "/" if target.startswith("/") else done
        left = target.split("/") + left
    return done


def _require_same(repository: LocalRepository, number: int, place: str) -> None:
    found = repository.mounted_snapshot(place)
    if found != number:
        raise _other(found, place)
    if not os.statvfs(place).f_flag & os.ST_RDONLY:
        raise RepositoryError("this snapshot is mounted there, but takes writes", object=place)


def _other(found: int | None, place: str) -> RepositoryError:
    what = "something else" if found is None else f"snapshot s{found}"
    return RepositoryError(
        f"{what} is mounted there", object=place, next_step="Choose another path, or unmount it."
    )


def _require_empty(place: str) -> None:
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ArgumentError("path is not a directory", object=place) from None
    if names:
        raise ArgumentError("path is a directory that is not empty", object=place)


def _mount(source: str, place: str) -> None:
    """Mount; neither path has a link in it, and whoever puts one there by now has it fail."""
    with Beneath("/") as held, Beneath("/") as root:
        reading = held.directory(source[1:])
        target = root.directory(place[1:], make=True)
        if os.listdir(target):
            raise ArgumentError("path is a directory that is not empty", object=place)
        mounted.mount_read_only(reading, target)


def _unmount(place: str) -> None:
    try:
        mounted.unmount(place)
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        raise SystemCallError(
            "somebody is in it or has a file of it open",
            object=place,
            next_step="End what uses it (`fuser -vm` tells who), then run again.",
        ) from exc
