# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out a journal on the working copy; may be repeated after a crash at any step.

A local version that is not the one that was planned against is never replaced: the path is put off,
and the next run sees both versions as a conflict.
"""

from __future__ import annotations

import errno
import os

from ..posix.beneath import Beneath
from ..posix.syscalls import is_unsupported, rename_exchange, rename_noreplace
from .journal import INSTALL, MKDIR, REMOVE, RENAME, RMDIR, Operation, Seen

KEPT = ".kept"
"""Ending of a mark: the slot's content was moved on, to the backups."""

_BLOCKED = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)


def carry_out(operations: list[Operation], tree: Beneath, slots: Beneath) -> list[str]:
    """Apply the operations in their order; return the paths that were put off.

    ``slots`` is the staging directory: staged files by number, and afterwards what they replaced.
    """
    return [operation.path for operation in operations if not _apply(operation, tree, slots)]


def _apply(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    try:
        return _ACTIONS[operation.do](operation, tree, slots)
    except OSError as exc:
        if exc.errno in _BLOCKED:
            return False
        # What failed may be known by its slot's number only; whoever is to act looks for the path.
        exc.filename, exc.filename2 = os.path.join(tree.root, operation.path), None
        raise


def _install(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    slot = str(operation.slot)
    staged = slots.lstat(slot)
    if staged is None or staged.st_ino != operation.ino:
        return True  # done before a crash: the slot is empty or holds the old version
    fd, name = tree.at(operation.path, make_parents=True)
    if operation.seen is None:
        _move(slot, slots.fd, name, fd)
        return True
    if _seen(fd, name) != operation.seen:
        return False
    return _swap(operation, (slots.fd, slot), (fd, name))


def _swap(operation: Operation, slot: tuple[int, str], target: tuple[int, str]) -> bool:
    (slot_fd, slot_name), (fd, name) = slot, target
    try:
        rename_exchange(slot_name, slot_fd, name, fd)
    except OSError as exc:
        if not is_unsupported(exc):
            raise
        # The old version gets a second name first, so that an edit in place is not lost either.
        os.link(name, f"{slot_name}.old", src_dir_fd=fd, dst_dir_fd=slot_fd, follow_symlinks=False)
        os.rename(slot_name, name, src_dir_fd=slot_fd, dst_dir_fd=fd)
        os.rename(f"{slot_name}.old", slot_name, src_dir_fd=slot_fd, dst_dir_fd=slot_fd)
        return True
    if _seen(slot_fd, slot_name) == operation.seen:
        return True
    rename_exchange(slot_name, slot_fd, name, fd)  # somebody saved in between: theirs goes back
    return False


def _remove(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    slot = str(operation.slot)
    if slots.lstat(slot) is not None or slots.lstat(slot + KEPT) is not None:
        return True  # done before a crash
    if tree.lstat(operation.path) is None:
        return True
    fd, name = tree.at(operation.path)
    if _seen(fd, name) != operation.seen:
        return False
    _move(name, fd, slot, slots.fd)
    if _seen(slots.fd, slot) == operation.seen:
        return True
    _move(slot, slots.fd, name, fd)  # somebody saved in between: theirs goes back
    return False


def _move(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename, never over an existing name (some network file systems need two steps for that)."""
    try:
        rename_noreplace(source, source_fd, target, target_fd)
    except OSError as exc:
        if not is_unsupported(exc):
            raise
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        os.unlink(source, dir_fd=source_fd)


def _mkdir(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    tree.directory(operation.path, make=True)
    return True


def _rmdir(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    """Remove a directory that the repository does not have; one with ignored content stays."""
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


def _rename(operation: Operation, tree: Beneath, slots: Beneath) -> bool:
    """Give a file, link or directory another name in its directory, never over an existing one.

    What was saved anew, moved away or deleted meanwhile is nothing to stop for: the next run compares it
    with what was published under the new name.
    """
    tree.forget()
    try:
        fd, name = tree.at(operation.path)
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
