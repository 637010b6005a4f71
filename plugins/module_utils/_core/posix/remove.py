# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removal of a tree that is ours: beneath its parent, not through links, resumable."""

from __future__ import annotations

import os

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(name: str, *, dir_fd: int) -> None:
    """Remove ``name`` beneath ``dir_fd``: a file, a link, or a directory with all it holds.

    Absent is fine: an earlier removal may have been interrupted anywhere.
    """
    try:
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except OSError:  # a file or a link
        _unlink(name, dir_fd)
        return
    try:
        _empty(fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(fd: int) -> None:
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        if is_directory:
            remove_tree(name, dir_fd=fd)
        else:
            _unlink(name, fd)


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
