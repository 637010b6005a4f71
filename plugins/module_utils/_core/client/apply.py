# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out a journal on the working copy; may be repeated after a crash at any step.

A local version that is not the one that was planned against is never replaced: the path is put off,
and the next run sees both versions as a conflict.

A repetition tells what was done by what has which name, and where names do not tell, by inode numbers.
These may be others than they were: a copy of the working copy has its own, and some file systems number
inodes anew at every mount. What they leave in doubt is put off, too, and no version is dropped but the
one that was planned against and the published one.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from ..posix.beneath import Beneath
from ..posix.syscalls import is_unsupported, rename_exchange, rename_noreplace
from .arriving import Arriving
from .journal import INSTALL, MKDIR, REMOVE, RENAME, RMDIR, Operation, Seen

KEPT = ".kept"
"""Ending of a mark: the slot's content was moved on, to the backups."""
OLD = ".old"
"""Ending of the name that the old version gets where no two names can be exchanged."""
ASIDE = ".aside"
"""Ending of the name that a slot's content gets which may be a local version, and cannot go back."""

_BLOCKED = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK)


class _Sides(NamedTuple):
    tree: Beneath
    slots: Beneath
    arriving: Arriving

    def has_new(self, operation: Operation, fd: int, name: str) -> bool:
        """Tell whether a name holds what is installed: by content, as a number may be another file's now."""
        if self.arriving.is_told:
            return self.arriving.is_at(operation.path, fd, name)
        found = _seen(fd, name)
        return found is not None and found.ino == operation.ino


def carry_out(
    operations: list[Operation], tree: Beneath, slots: Beneath, arriving: Arriving
) -> list[str]:
    """Apply the operations in their order; return the paths that were put off.

    ``slots`` is the staging directory: staged files by number, and afterwards what they replaced.
    """
    sides = _Sides(tree, slots, arriving)
    return [operation.path for operation in operations if not _apply(operation, sides)]


def _apply(operation: Operation, sides: _Sides) -> bool:
    try:
        return _ACTIONS[operation.do](operation, sides)
    except OSError as exc:
        if exc.errno in _BLOCKED:
            return False
        # What failed may be known by its slot's number only; whoever is to act looks for the path.
        exc.filename, exc.filename2 = os.path.join(sides.tree.root, operation.path), None
        raise


def _install(operation: Operation, sides: _Sides) -> bool:
    slots, slot = sides.slots, str(operation.slot)
    staged = _seen(slots.fd, slot)
    if staged is None or staged == operation.seen:
        # Done before a crash: the slot is empty or holds the old version.
        return slots.lstat(slot + ASIDE) is None
    in_steps = slots.lstat(slot + OLD) is not None
    if not in_steps and not _is_staged(operation, staged, sides):
        return _give_back(operation, sides)
    fd, name = sides.tree.at(operation.path, make_parents=True)
    if operation.seen is None:
        _move(slot, slots.fd, name, fd)
        return True
    if in_steps:
        return _replace(operation, slots, fd, name)
    if _seen(fd, name) != operation.seen:
        return False
    return _swap(operation, sides, fd, name)


def _is_staged(operation: Operation, found: Seen, sides: _Sides) -> bool:
    """Tell whether what was found in the slot is the staged file, and not what it was exchanged with.

    An inode number may be another file's by now: what is to be kept must not pass for staged by it.
    """
    if operation.seen is None:
        return True
    may_be_old = operation.backup and found[:2] == operation.seen[:2]
    if found.ino == operation.ino and not may_be_old:
        return True
    return sides.has_new(operation, sides.slots.fd, str(operation.slot))


def _swap(operation: Operation, sides: _Sides, fd: int, name: str) -> bool:
    slots, slot = sides.slots, str(operation.slot)
    try:
        rename_exchange(slot, slots.fd, name, fd)
    except OSError as exc:
        if not is_unsupported(exc):
            raise
        return _replace(operation, slots, fd, name)
    if _seen(slots.fd, slot) == operation.seen:
        return True
    return _give_back(operation, sides)


def _give_back(operation: Operation, sides: _Sides) -> bool:
    """Put back what a slot holds that is neither the staged file nor the old version; put the path off.

    Somebody saved it in the moment of the exchange. Or it is the old version, with another inode number.
    Where the new record is in its place, nothing goes back any more: it would be taken for a new edit.
    """
    slots, slot = sides.slots, str(operation.slot)
    try:
        fd, name = sides.tree.at(operation.path)
        if not sides.arriving.is_recorded and sides.has_new(operation, fd, name):
            rename_exchange(slot, slots.fd, name, fd)
    except OSError as exc:
        if not is_unsupported(exc) and exc.errno not in (*_BLOCKED, errno.ENOENT):
            raise
    if not sides.has_new(operation, slots.fd, slot):  # something else was saved meanwhile
        _set_aside(slots, slot)
    return False


def _replace(operation: Operation, slots: Beneath, fd: int, name: str) -> bool:
    """Do without an exchange: take away what has the name, look at it, then fill the name."""
    slot, old = str(operation.slot), f"{operation.slot}{OLD}"
    if slots.lstat(old) is None:
        os.rename(name, old, src_dir_fd=fd, dst_dir_fd=slots.fd)
    if _seen(slots.fd, old) == operation.seen:
        _move(slot, slots.fd, name, fd)
        return True
    _move(old, slots.fd, name, fd)  # somebody saved in between: theirs goes back
    return False


def _remove(operation: Operation, sides: _Sides) -> bool:
    tree, slots, slot = sides.tree, sides.slots, str(operation.slot)
    if slots.lstat(slot + KEPT) is not None:
        return True  # done before a crash
    if slots.lstat(slot) is None:
        if slots.lstat(slot + ASIDE) is not None:
            return False
        if tree.lstat(operation.path) is None:
            return True
        fd, name = tree.at(operation.path)
        if _seen(fd, name) != operation.seen:
            return False
        os.rename(name, slot, src_dir_fd=fd, dst_dir_fd=slots.fd)  # nobody else has that name
    if _seen(slots.fd, slot) == operation.seen:
        return True
    if sides.arriving.is_recorded or not _came_back(operation, sides):
        _set_aside(slots, slot)
    return False


def _came_back(operation: Operation, sides: _Sides) -> bool:
    """Give what was taken away its name again, for the reasons of :func:`_give_back`."""
    try:
        fd, name = sides.tree.at(operation.path, make_parents=True)
        _move(str(operation.slot), sides.slots.fd, name, fd)
    except OSError as exc:
        if exc.errno not in _BLOCKED:
            raise
        return False
    return True


def _set_aside(slots: Beneath, slot: str) -> None:
    os.rename(slot, slot + ASIDE, src_dir_fd=slots.fd, dst_dir_fd=slots.fd)


def _move(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename, never over an existing name; where a process died in between, go on."""
    try:
        _rename_new(source, source_fd, target, target_fd)
    except FileExistsError:
        if not _is_same(source, source_fd, target, target_fd):
            raise
        os.unlink(source, dir_fd=source_fd)


def _rename_new(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename, never over an existing name; some network file systems need two steps for that.

    Where there are no hard links either, a name that comes into being between look and rename is replaced.
    """
    try:
        rename_noreplace(source, source_fd, target, target_fd)
        return
    except OSError as exc:
        if not is_unsupported(exc):
            raise
    try:
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if _seen(target_fd, target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    else:
        os.unlink(source, dir_fd=source_fd)


def _is_same(source: str, source_fd: int, target: str, target_fd: int) -> bool:
    """Tell whether both names are one file's, linked and not yet unlinked."""
    one = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
    other = os.stat(target, dir_fd=target_fd, follow_symlinks=False)
    return one.st_nlink > 1 and os.path.samestat(one, other)


def _mkdir(operation: Operation, sides: _Sides) -> bool:
    sides.tree.directory(operation.path, make=True)
    return True


def _rmdir(operation: Operation, sides: _Sides) -> bool:
    """Remove a directory that the repository does not have; one with ignored content stays."""
    tree = sides.tree
    tree.forget()
    if tree.lstat(operation.path) is None:
        return True
    fd, name = tree.at(operation.path)
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    return True


def _rename(operation: Operation, sides: _Sides) -> bool:
    """Give a file, link or directory another name in its directory, never over an existing one.

    What was saved anew, moved away or deleted meanwhile is nothing to stop for: the next run compares it
    with what was published under the new name.
    """
    sides.tree.forget()
    try:
        fd, name = sides.tree.at(operation.path)
    except FileNotFoundError:
        return False  # a parent's renaming was put off
    if _seen(fd, operation.old) is None:
        return True  # done before a crash, or gone
    there = _seen(fd, name)
    if there is not None:
        return there.ino == operation.ino  # done before a crash, or in the way
    try:
        rename_noreplace(operation.old, fd, name, fd)
    except OSError as exc:
        if not is_unsupported(exc):
            raise
        os.rename(operation.old, name, src_dir_fd=fd, dst_dir_fd=fd)
    return True


def _seen(fd: int, name: str) -> Seen | None:
    try:
        stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino)


_ACTIONS = {
    INSTALL: _install,
    REMOVE: _remove,
    MKDIR: _mkdir,
    RMDIR: _rmdir,
    RENAME: _rename,
}
