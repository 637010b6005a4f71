# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees of files as backends hold them: compare with a manifest, link, fill, read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence

from ..errors import DriftError, SourceChanged, SystemCallError, from_oserror
from ..manifest.entry import DIRECTORY, FILE, LINK, MODE_MASK, Entry
from ..manifest.hashing import hash_file
from ..manifest.paths import show
from ..posix import blocks
from ..posix.beneath import Beneath
from ..posix.copy import copy_hashed, copy_plain
from ..posix.modes import change_mode
from ..posix.parallel import fork_map
from ..posix.progress import advance
from .base import Upload

_RECORDS, _CONTROL = ".dsg", ".zfs"
_CONTROL_INODE = 0xFFFFFFFFFFFF
"""Of the directory of snapshots that OpenZFS shows at a file system's root, and of nothing else."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATCH = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_KIND_BITS = {FILE: 0o100000, LINK: 0o120000, DIRECTORY: 0o040000}
_TYPE_MASK = 0o170000


def drift(tree: Beneath, entries: Sequence[Entry]) -> list[str]:
    """Compare a tree's names and stat data with a manifest; one line per difference.

    A file that was written in place shows by size or mtime; ``verify`` re-hashes.
    """
    found: list[str] = []
    for directory, expected in by_directory(entries).items():
        found += _drift_of_directory(tree, directory, expected)
    return found


def by_directory(entries: Iterable[Entry]) -> dict[str, dict[str, Entry | None]]:
    """Group entries: directory → name → entry, or None for a directory that holds others."""
    listing: dict[str, dict[str, Entry | None]] = {"": {}}
    for entry in entries:
        parent, _unused, name = entry.path.rpartition("/")
        names = listing.get(parent)
        if names is None:
            names = listing[parent] = {}
            _imply(listing, parent)
        names[name] = entry
        if entry.kind == DIRECTORY:
            listing.setdefault(entry.path, {})
    return listing


def _imply(listing: dict[str, dict[str, Entry | None]], directory: str) -> None:
    while directory:
        parent, _unused, name = directory.rpartition("/")
        names = listing.setdefault(parent, {})
        if name in names:
            return
        names[name] = None
        directory = parent


def _drift_of_directory(
    tree: Beneath, directory: str, expected: dict[str, Entry | None]
) -> list[str]:
    prefix = directory + "/" if directory else ""
    try:
        fd = tree.directory(directory)
        present = content_of(fd, directory)
    except FileNotFoundError:
        return [f"{directory}: the directory is gone"]
    except OSError as exc:
        if exc.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        return [f"{directory}: is not a directory any more"]
    added = [prefix + name for name in sorted(present - expected.keys())]
    found = [f"{path if path.isprintable() else show(path)}: not in the manifest" for path in added]
    for name, entry in expected.items():
        if name not in present:
            found.append(f"{prefix}{name}: missing")
        elif entry is not None and entry.kind != DIRECTORY:
            difference = _difference(fd, name, entry)
            if difference:
                found.append(f"{prefix}{name}: {difference}")
    return found


def content_of(fd: int, directory: str) -> set[str]:
    """List a directory of a published tree, without what is none of its content at the root.

    These are our records, and what OpenZFS shows of its snapshots; anything else of that name is
    somebody's.
    """
    names = set(os.listdir(fd))
    if not directory:
        names.discard(_RECORDS)
        if _CONTROL in names:
            found = os.stat(_CONTROL, dir_fd=fd, follow_symlinks=False)
            names -= {_CONTROL} if found.st_ino == _CONTROL_INODE else set()
    return names


def difference_at(tree: Beneath, entry: Entry) -> str:
    """Say how what is at an entry's path differs by stat data, '' where it does not."""
    if tree.lstat(entry.path) is None:
        return "missing"
    fd, name = tree.at(entry.path)
    return "" if entry.kind == DIRECTORY else _difference(fd, name, entry)


def _difference(fd: int, name: str, entry: Entry) -> str:
    stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if stat.st_mode & _TYPE_MASK != _KIND_BITS[entry.kind]:
        return f"is not a {entry.kind} any more"
    if entry.kind == LINK:
        target = os.readlink(name, dir_fd=fd)
        return "" if target == entry.target else f"points to {target!r} now"
    if stat.st_size != entry.size:
        return f"has {stat.st_size} bytes instead of {entry.size}"
    if stat.st_mtime_ns != entry.mtime_ns:
        return "was modified"
    if stat.st_mode & MODE_MASK != entry.mode:
        return f"has mode {stat.st_mode & MODE_MASK:04o} instead of {entry.mode:04o}"
    return ""


def link_tree(source: Beneath, target: Beneath, entries: Sequence[Entry]) -> None:
    """Give ``target`` the entries as hard links to ``source``, in directories like its own."""
    for directory, names in by_directory(entries).items():
        source_fd = source.directory(directory)
        target_fd = target.directory(directory, make=True)
        _copy_directory_mode(source_fd, target_fd)
        for name, entry in names.items():
            if entry is not None and entry.kind != DIRECTORY:
                link_entry(source_fd, target_fd, name, entry)


def _copy_directory_mode(source_fd: int, target_fd: int) -> None:
    wanted, present = os.fstat(source_fd), os.fstat(target_fd)
    if (wanted.st_uid, wanted.st_gid) != (present.st_uid, present.st_gid):
        os.fchown(target_fd, wanted.st_uid, wanted.st_gid)
    if wanted.st_mode != present.st_mode:
        os.fchmod(target_fd, wanted.st_mode & 0o7777)


def link_entry(source_fd: int, target_fd: int, name: str, entry: Entry) -> None:
    """Give a directory a hard link to a file or link of the same name in another one."""
    try:
        os.link(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as exc:
        if exc.errno == errno.EMLINK:  # ext4: 65,000 links; a copy starts a new count
            copy_entry(source_fd, name, target_fd, name, entry, identity=None)
        elif exc.errno == errno.EPERM:
            raise SystemCallError(
                "the system does not let this user hard-link a file of another owner",
                object=entry.path,
                next_step="Give the published tree to the user that syncs (role repository).",
            ) from exc
        else:
            raise


def clear(work: Beneath, entries: Sequence[Entry], replaced: set[str]) -> None:
    """Remove replaced entries from a copy of a tree, and the directories that hold nothing then."""
    kept = by_directory(entry for entry in entries if entry.path not in replaced)
    for entry in entries:
        if entry.path in replaced and entry.kind != DIRECTORY:
            fd, name = work.at(entry.path)
            os.unlink(name, dir_fd=fd)
    work.forget()
    for directory in sorted(by_directory(entries).keys() - kept.keys(), reverse=True):
        fd, name = work.at(directory)
        os.rmdir(name, dir_fd=fd)
        work.forget()


def upload(source: str, target: str, uploads: Sequence[Upload]) -> list[Entry]:
    """Copy entries of the working copy into a tree; return them as they landed, hashed.

    ``source`` and ``target`` are the trees' roots. Many files are copied by several processes.
    """

    def copy_each(items: Sequence[Upload]) -> Iterator[bytes]:
        with Beneath(source) as reading, Beneath(target) as writing:
            for item in items:
                yield _pack(_upload(reading, writing, item))

    results = fork_map(copy_each, uploads, cost=lambda item: item.entry.size)
    return [_unpack(item.entry, result) for item, result in zip(uploads, results)]


def patchable(work: Beneath, uploads: Sequence[Upload]) -> list[Upload]:
    """Return the uploads; those whose old version must not be changed in place are to be made anew.

    A file with a second name would change under that as well. The others are made writable: who
    publishes may own a file that is published read-only.
    """
    return [
        item._replace(patch=False) if item.patch and not _opened_up(work, item) else item
        for item in uploads
    ]


def _opened_up(work: Beneath, item: Upload) -> bool:
    if not _has_one_name(work, item):
        return False
    fd, name = work.at(item.entry.path)
    try:
        change_mode(name, 0o600, dir_fd=fd)
    except PermissionError:  # another owner's
        return False
    return True


def _has_one_name(work: Beneath, item: Upload) -> bool:
    found = work.lstat(item.entry.path)
    regular = found is not None and found.st_mode & _TYPE_MASK == _KIND_BITS[FILE]
    return found is not None and regular and found.st_nlink == 1


def copy_old(live: Beneath, stage: Beneath, uploads: Sequence[Upload]) -> list[Upload]:
    """Give the stage files of its own to patch; the file system may share their blocks.

    Returns the uploads; one whose old version cannot be read any more is none to patch, and comes whole.
    """
    return [
        item._replace(patch=False)
        if item.patch and not _copy_to_patch(live, stage, item.entry.path)
        else item
        for item in uploads
    ]


def _copy_to_patch(live: Beneath, stage: Beneath, path: str) -> bool:
    """Copy one file; False, with nothing left of it, where the disk does not give it back."""
    source_fd, source_name = live.at(path)
    target_fd, target_name = stage.at(path, make_parents=True)
    reading = os.open(source_name, _READ, dir_fd=source_fd)
    try:
        writing = os.open(target_name, _CREATE, 0o600, dir_fd=target_fd)
        try:
            copy_plain(reading, writing)
        finally:
            os.close(writing)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        os.unlink(target_name, dir_fd=target_fd)
        return False
    finally:
        os.close(reading)
    return True


def give_to_owner(work: Beneath, paths: Iterable[str]) -> None:
    """Let what root has just made belong to whom the tree belongs, so that they can go on with it."""
    owner = os.fstat(work.fd)
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in paths:
        fd, name = work.at(path)
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=fd, follow_symlinks=False)
        while path:
            path = path.rpartition("/")[0]
            directory = work.directory(path)
            if os.fstat(directory).st_uid == 0:
                os.fchown(directory, owner.st_uid, owner.st_gid)


def _upload(source: Beneath, target: Beneath, item: Upload) -> Entry:
    entry = item.entry
    if entry.kind == DIRECTORY:
        target.directory(entry.path, make=True)
        return entry
    try:
        source_fd, source_name = source.at(item.source.path)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceChanged("its directory vanished", object=entry.path) from None
    try:
        target_fd, target_name = target.at(entry.path, make_parents=True)
        if entry.kind == LINK:
            return _copy_link(
                source_fd, source_name, target_fd, target_name, entry, item.source.target
            )
        return copy_entry(
            source_fd, source_name, target_fd, target_name, entry, item.identity, patch=item.patch
        )
    except OSError as exc:
        exc.filename = entry.path  # the call itself knew the last component only
        raise from_oserror(exc, "publishing") from exc


def _pack(entry: Entry) -> bytes:
    """Write what landing changes of an entry, for the way back from a worker."""
    return f"{entry.sha256} {entry.size} {entry.mtime_ns}".encode()


def _unpack(entry: Entry, result: bytes) -> Entry:
    sha256, size, mtime_ns = result.decode().split(" ")
    return entry._replace(sha256=sha256, size=int(size), mtime_ns=int(mtime_ns))


def fetch(source: str, target: str, entries: Sequence[Entry]) -> None:
    """Copy entries of a published tree to ``target/0``, ``target/1``, … and verify them."""

    def copy_each(items: Sequence[tuple[int, Entry]]) -> Iterator[bytes]:
        with Beneath(source) as reading, Beneath(target) as writing:
            for number, entry in items:
                _fetch(reading, writing, number, entry)
                yield b""

    fork_map(copy_each, list(enumerate(entries)), cost=lambda item: item[1].size)


def _fetch(source: Beneath, target: Beneath, number: int, entry: Entry) -> None:
    if entry.kind == DIRECTORY:
        return
    try:
        source_fd, name = source.at(entry.path)
        copy_entry(source_fd, name, target.fd, str(number), entry, identity=None)
    except (FileNotFoundError, NotADirectoryError, SourceChanged) as exc:
        raise DriftError(
            "the published file is not what the manifest says", object=entry.path
        ) from exc
    except OSError as exc:
        exc.filename = entry.path
        raise from_oserror(exc, "fetching") from exc


def copy_entry(
    source_fd: int,
    source_name: str,
    target_fd: int,
    target_name: str,
    entry: Entry,
    identity: tuple[int, int, int] | None,
    *,
    patch: bool = False,
) -> Entry:
    """Copy a file or link; return the entry as it landed.

    ``identity`` is the source's (size, mtime_ns, ino) as planned. Anything else than planned, a hash
    that differs, or a change while reading raises :class:`SourceChanged`. With ``patch`` the target is
    there, and only blocks that differ are written.
    """
    if entry.kind == LINK:
        return _copy_link(source_fd, source_name, target_fd, target_name, entry, entry.target)
    try:
        reading = os.open(source_name, _READ, dir_fd=source_fd)
    except FileNotFoundError:
        raise SourceChanged("it vanished", object=entry.path) from None
    except OSError as exc:
        exc.filename = entry.path
        raise from_oserror(exc, "reading") from exc
    try:
        return _copy_file(reading, target_fd, target_name, entry, identity, patch)
    finally:
        os.close(reading)


def _copy_file(
    reading: int,
    target_fd: int,
    target_name: str,
    entry: Entry,
    identity: tuple[int, int, int] | None,
    patch: bool,
) -> Entry:
    before = os.fstat(reading)
    if before.st_mode & _TYPE_MASK != _KIND_BITS[FILE]:
        raise SourceChanged("it is not a regular file any more", object=entry.path)
    seen = (before.st_size, before.st_mtime_ns, before.st_ino)
    if identity is not None and seen != identity:
        raise SourceChanged("it changed after it was scanned", object=entry.path)
    writing = os.open(target_name, _PATCH if patch else _CREATE, 0o600, dir_fd=target_fd)
    try:
        if patch:
            size, sha256 = blocks.update(reading, writing)
        else:
            size, sha256 = copy_hashed(reading, writing, before.st_size)
        os.fchmod(writing, entry.mode)
        os.utime(writing, ns=(entry.mtime_ns, entry.mtime_ns))
        mtime_ns = os.fstat(writing).st_mtime_ns  # a file system may store it coarser
    finally:
        os.close(writing)
    advance(1, 0)
    after = os.fstat(reading)
    if size != before.st_size or (after.st_size, after.st_mtime_ns, after.st_ino) != seen:
        raise SourceChanged("it changed while it was read", object=entry.path)
    if identity is not None and after.st_ctime_ns != before.st_ctime_ns:
        # Also set by what leaves size and mtime alone: a deletion, a new mode, a restored mtime.
        raise SourceChanged("it changed while it was read", object=entry.path)
    if sha256 != (entry.sha256 or sha256):
        raise SourceChanged("its content is not what was planned", object=entry.path)
    return entry._replace(sha256=sha256, size=size, mtime_ns=mtime_ns)


def _copy_link(
    source_fd: int, source_name: str, target_fd: int, target_name: str, entry: Entry, planned: str
) -> Entry:
    """Make the entry's link, where the source's text is the one that was planned upon."""
    try:
        target = os.readlink(source_name, dir_fd=source_fd)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.EINVAL):  # absent, or not a link
            raise
        raise SourceChanged("the symbolic link is gone", object=entry.path) from None
    if target != planned:
        raise SourceChanged("the symbolic link changed", object=entry.path)
    os.symlink(entry.target, target_name, dir_fd=target_fd)
    return entry


def damage(tree: Beneath, entries: Sequence[Entry]) -> list[str]:
    """Re-hash every file; one line for each whose bytes are not what the manifest says."""
    found = []
    for entry in entries:
        if entry.kind == FILE:
            fd, name = tree.at(entry.path)
            if hash_file(name, dir_fd=fd, path=entry.path) != entry.sha256:
                found.append(f"{entry.path}: its content is not what the manifest says")
    return found
