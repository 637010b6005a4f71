# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removal of a tree that is ours: beneath its parent, not through links, resumable."""

from __future__ import annotations

import errno
import os

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 100
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def remove_tree(name: str, *, dir_fd: int) -> None:
    """Remove ``name`` beneath ``dir_fd``: a file, a link, or a directory with all it holds.

    Absent is fine: an earlier removal may have been interrupted anywhere.
    """
    while True:  # opened anew each time: btrfs lists what was there at the time
        try:
            top = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
        except FileNotFoundError:
            return
        except OSError:  # a file or a link
            _unlink(name, dir_fd)
            return
        try:
            moved = _empty(top, top, 0)
        finally:
            os.close(top)
        if not moved:
            os.rmdir(name, dir_fd=dir_fd)
            return


def _empty(fd: int, top: int, depth: int) -> bool:
    """Remove what a directory holds; tell whether something was moved to ``top`` instead.

    That is what lies deeper than descriptors and stack should reach.
    """
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    moved = False
    for name, is_directory in entries:
        if not is_directory:
            _unlink(name, fd)
        elif depth < _DEEPEST:
            moved |= _remove_below(name, fd, top, depth)
        else:
            _move_up(name, fd, top)
            moved = True
    return moved


def _remove_below(name: str, dir_fd: int, top: int, depth: int) -> bool:
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        moved = _empty(fd, top, depth + 1)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)
    return moved


def _move_up(name: str, dir_fd: int, top: int) -> None:
    number = 0
    while True:
        try:
            os.rename(name, f".dsg-deep-{number}", src_dir_fd=dir_fd, dst_dir_fd=top)
            return
        except OSError as exc:
            if exc.errno not in _TAKEN:
                raise
        number += 1


def _unlink(name: str, dir_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def remove_tree_at(path: str) -> None:
    """Remove the tree at an absolute path whose parent may be absent."""
    parent, name = os.path.split(path)
    try:
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree(name, dir_fd=fd)
    finally:
        os.close(fd)
