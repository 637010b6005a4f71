# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths resolved beneath one directory, by directory descriptors, never through a symbolic link."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import BinaryIO

from ..errors import PathError

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait, as a fifo would let us.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CACHED = 64
_NO_NAMES = ("", ".", "..")


class Beneath:
    """A directory and what lies beneath it.

    ``at(path)`` gives ``(descriptor of the parent directory, last component)`` for the ``*at`` family
    of calls. A component that is none (``..`` and the like) raises :class:`PathError`; one that is a
    symbolic link raises ``NotADirectoryError`` (or ``ELOOP``): nobody
    can redirect a write out of the tree by swapping a directory for a link. Descriptors of recently
    used directories stay open, for work that goes through a tree in order. What is made has ``mode``.
    """

    def __init__(self, root: str, *, fd: int | None = None, mode: int = 0o777) -> None:
        self.root = root
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if fd is None else fd
        self._mode = mode
        self._open: dict[str, int] = {}

    def within(self, path: str) -> Beneath:
        """Return one of the tree's directories as a tree of its own: no link leads there."""
        return Beneath(os.path.join(self.root, path), fd=os.dup(self.directory(path)))

    def __enter__(self) -> Beneath:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor."""
        self.forget()
        os.close(self.fd)

    def forget(self) -> None:
        """Drop the cached directories, after some were renamed or removed."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def at(self, path: str, *, make_parents: bool = False) -> tuple[int, str]:
        """Return the parent's descriptor and the name; the parents may be made on the way."""
        parent, _unused, name = path.rpartition("/")
        if name in _NO_NAMES:
            raise _no_path(path)
        return self.directory(parent, make=make_parents), name

    def open_file(self, path: str) -> BinaryIO | None:
        """Open a regular file for reading; None stands for any other that is no directory."""
        parent, name = self.at(path)
        fd = os.open(name, _OPEN_FILE, dir_fd=parent)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(fd, "rb")
        os.close(fd)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return None

    def directory(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of the directory ``path`` ('' is the root), valid until forgotten."""
        if not path:
            return self.fd
        known, missing = path, []
        if path.startswith("/"):
            raise _no_path(path)
        while known and known not in self._open:
            known, _unused, name = known.rpartition("/")
            missing.append(name)
        fd = self._open.pop(known) if known else self.fd
        if known:
            self._open[known] = fd  # now the most recently used
        for name in reversed(missing):  # a loop, as a tree may be deeper than Python's stack
            known = f"{known}/{name}" if known else name
            fd = self._enter(fd, name, known, make)
            if len(self._open) >= _CACHED:
                os.close(self._open.pop(next(iter(self._open))))  # least recently used
            self._open[known] = fd
        return fd

    def _enter(self, parent: int, name: str, path: str, make: bool) -> int:
        if name in _NO_NAMES:
            raise _no_path(path)
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise FileNotFoundError(2, os.strerror(2), os.path.join(self.root, path)) from None
        try:
            os.mkdir(name, self._mode, dir_fd=parent)
        except FileExistsError:  # another worker made it meanwhile
            pass
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)

    def lstat(self, path: str) -> os.stat_result | None:
        """Return the entry's stat, or None where it (or a parent) does not exist."""
        try:
            fd, name = self.at(path)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None


def _no_path(path: str) -> PathError:
    return PathError("this is no path within a tree", object=path)
