# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree written as a new bag (BagIt, RFC 8493), whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ...errors import ArgumentError, LockedError, SourceChanged, from_oserror
from ...posix.beneath import Beneath
from ...posix.copy import copy_hashed
from ...posix.durable import sync_directory, sync_file_system, write_new
from ...posix.remove import remove_tree
from ...posix.syscalls import is_unsupported, rename_noreplace
from ..entry import FILE, Entry
from ..hashing import hash_file
from . import bagit

MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CANNOT_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

_At = tuple[int, str]  # descriptor of a directory, name in it


def write_bag(
    root: str,
    entries: Sequence[Entry],
    destination: str,
    *,
    link: bool = False,
    info: Mapping[str, str] | None = None,
) -> list[str]:
    """Make a bag at ``destination`` of the files of the tree at ``root``.

    The bag is built in a hidden sibling and renamed when it is complete and durable; what an
    interrupted attempt left there is taken away by the next one. Files are copied with mode and
    time, or with ``link`` hard-linked where the file system can. Either way each was hashed where
    it lies in the bag and is what its entry says. ``info`` are further tags for bag-info.txt.

    Returns the paths of links and empty directories, which a bag has no words for.
    Raises :class:`ArgumentError` where the destination exists or a tag cannot be written,
    :class:`SourceChanged` for a file that is not what its entry says.
    """
    chosen = [entry for entry in entries if entry.kind == FILE]
    tags = {"Bagging-Date": time.strftime("%Y-%m-%d", time.gmtime()), **(info or {})}
    bag_info = bagit.encode_info(tags, len(chosen), sum(entry.size for entry in chosen))
    try:
        with _building(os.path.abspath(destination)) as place:
            payload = os.path.join(place, "data")
            os.mkdir(payload)
            with Beneath(root) as source, Beneath(payload) as target:
                hashed = [_put(source, target, entry, link) for entry in chosen]
            _write_tags(place, hashed, bag_info)
    except OSError as exc:
        raise from_oserror(exc, "Writing the bag") from exc
    return [entry.path for entry in entries if entry.kind != FILE]


# --- the payload ---


def _put(source: Beneath, target: Beneath, entry: Entry, link: bool) -> Entry:
    """Put one file into the payload; return its entry with the hash that it has there."""
    to = target.at(entry.path, make_parents=True)
    try:
        at = source.at(entry.path)
        if link and _link(at, to):
            content = hash_file(to[1], dir_fd=to[0], path=entry.path)
            size = os.stat(to[1], dir_fd=to[0]).st_size
        else:
            size, content = _copy(at, to, entry)
    except OSError as exc:
        if exc.errno in _GONE:
            raise SourceChanged("it is gone, or no longer a file", object=entry.path) from None
        raise
    if size != entry.size or content != (entry.sha256 or content):
        raise SourceChanged("it is not what the manifest says", object=entry.path)
    return entry._replace(sha256=content)


def _link(at: _At, to: _At) -> bool:
    try:
        os.link(at[1], to[1], src_dir_fd=at[0], dst_dir_fd=to[0], follow_symlinks=False)
    except OSError as exc:
        if exc.errno in _CANNOT_LINK:
            return False
        raise
    return True


def _copy(at: _At, to: _At, entry: Entry) -> tuple[int, str]:
    source = os.open(at[1], _READ, dir_fd=at[0])
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise SourceChanged("it is no longer a file", object=entry.path)
        target = os.open(to[1], _WRITE, 0o600, dir_fd=to[0])
        try:
            result = copy_hashed(source, target, entry.size)
            os.fchmod(target, entry.mode)
            os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)
    return result


# --- the tag files ---


def _write_tags(place: str, entries: Sequence[Entry], bag_info: bytes) -> None:
    files = {
        "bag-info.txt": bag_info,
        "bagit.txt": bagit.DECLARATION,
        MANIFEST: b"".join(bagit.dump(entries)),
    }
    checks = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    files[TAG_MANIFEST] = "".join(checks).encode()
    for name, data in files.items():
        write_new(os.path.join(place, name), [data], sync=False)


# --- whole or not at all ---


@contextmanager
def _building(destination: str) -> Iterator[str]:
    """Give a new empty directory that becomes ``destination`` if the block succeeds.

    Its name is always the same, and whoever builds in it holds a lock on it: what is found
    there without the lock was left by an interrupted attempt.
    """
    parent, name = os.path.split(destination)
    parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    hidden = f".{name}.dsg-bag"
    try:
        _refuse_existing(parent_fd, name, destination)
        lock = _claim(parent_fd, hidden, destination)
        try:
            yield os.path.join(parent, hidden)
            sync_file_system(os.path.join(parent, hidden))
            _publish(parent_fd, hidden, name, destination)
        except BaseException:
            remove_tree(hidden, dir_fd=parent_fd)
            raise
        finally:
            os.close(lock)
        sync_directory(parent)
    finally:
        os.close(parent_fd)


def _claim(parent_fd: int, hidden: str, destination: str) -> int:
    """Make or empty the hidden directory; return a descriptor that holds the lock on it."""
    with suppress(FileExistsError):
        os.mkdir(hidden, dir_fd=parent_fd)
    fd = os.open(hidden, _DIRECTORY, dir_fd=parent_fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may just have renamed or removed it, and then it is not ours.
        if not os.path.samestat(os.fstat(fd), os.lstat(hidden, dir_fd=parent_fd)):
            raise BlockingIOError
        for left in os.listdir(fd):
            remove_tree(left, dir_fd=fd)
    except (BlockingIOError, FileNotFoundError):
        os.close(fd)
        raise LockedError("another process writes a bag there", object=destination) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _refuse_existing(parent_fd: int, name: str, destination: str) -> None:
    try:
        os.lstat(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    raise _exists(destination)


def _exists(destination: str) -> ArgumentError:
    return ArgumentError(
        "exists already; a bag is only ever written anew",
        object=destination,
        next_step="Name a destination that does not exist.",
    )


def _publish(parent_fd: int, hidden: str, name: str, destination: str) -> None:
    try:
        rename_noreplace(hidden, parent_fd, name, parent_fd)
    except FileExistsError:
        raise _exists(destination) from None
    except OSError as exc:
        if not is_unsupported(exc):
            raise
        _refuse_existing(parent_fd, name, destination)
        os.rename(hidden, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
