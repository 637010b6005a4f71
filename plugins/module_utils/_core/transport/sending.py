# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sending side of file contents: one after the other, in the order both sides know."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import SourceChanged, from_oserror
from ..manifest.entry import FILE, LINK, Entry
from ..posix.beneath import Beneath
from ..posix.progress import advance
from .frames import DATA, HEADER, MAX_PAYLOAD, Pipe
from .patches import Old, Ours, changed_ranges, send_ranges

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TYPE_MASK, _REGULAR = 0o170000, 0o100000

Identity = tuple[int, int, int]


class Item(NamedTuple):
    """An entry to send, and its source's (size, mtime_ns, ino) as planned (None: any).

    ``old`` is what the other side has of the file, where only the difference is to be sent.
    """

    entry: Entry
    identity: Identity | None
    old: Old | None = None


class Sender:
    """Sends the contents of files below ``root`` as data frames.

    Done is what went out, and what the other side has already; ``check`` may raise to stop.
    """

    def __init__(
        self,
        pipe: Pipe,
        root: str,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._pipe = pipe
        self._root = root
        self._check = check or (lambda: None)
        self._small: list[bytes] = []
        self._held = self._files = self._done = 0
        self._ours: Ours | None = None

    def send(self, items: Iterable[Item], ours: Ours | None = None) -> None:
        """Send every file among the items; raises :class:`SourceChanged` where one changed.

        ``ours`` has the digests of files of which only a part is sent.
        """
        self._ours = ours
        with Beneath(self._root) as tree:
            for item in items:
                if item.entry.kind == FILE:
                    self._send_file(tree, item)
                elif item.entry.kind == LINK:
                    _check_link(tree, item.entry)
        self._flush()

    def _send_file(self, tree: Beneath, item: Item) -> None:
        try:
            parent, name = tree.at(item.entry.path)
            fd = os.open(name, _READ, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceChanged("it vanished", object=item.entry.path) from None
        except OSError as exc:
            exc.filename = item.entry.path
            raise from_oserror(exc, "reading") from exc
        try:
            self._send_open(fd, item)
        except OSError as exc:
            if exc.filename is None and exc.errno in (errno.EIO, errno.ESTALE):
                exc.filename = item.entry.path
                raise from_oserror(exc, "reading") from exc
            raise
        finally:
            os.close(fd)

    def _send_open(self, fd: int, item: Item) -> None:
        path = item.entry.path
        before = os.fstat(fd)
        if before.st_mode & _TYPE_MASK != _REGULAR:
            raise SourceChanged("it is not a regular file any more", object=path)
        seen = (before.st_size, before.st_mtime_ns, before.st_ino)
        planned = item.identity or (item.entry.size, before.st_mtime_ns, before.st_ino)
        if seen != planned:
            raise SourceChanged("it changed after it was scanned", object=path)
        if item.old is not None and self._ours is not None:
            self._send_difference(fd, before.st_size, path, item.old, self._ours)
        else:
            self._send_bytes(fd, before.st_size, path)
        after = os.fstat(fd)
        changed = (after.st_size, after.st_mtime_ns, after.st_ino) != seen
        # ctime also tells of what leaves size and mtime alone; a published file may get more links.
        if changed or (item.identity is not None and after.st_ctime_ns != before.st_ctime_ns):
            raise SourceChanged("it changed while it was read", object=path)
        self._files += 1

    def _send_bytes(self, fd: int, size: int, path: str) -> None:
        left = size
        while left:
            block = os.read(fd, min(left, MAX_PAYLOAD))
            if not block:
                raise SourceChanged("it changed while it was read", object=path)
            left -= len(block)
            self._add(block, len(block))

    def _send_difference(self, fd: int, size: int, path: str, old: Old, ours: Ours) -> None:
        digests = ours.of(path, fd, size, old.block)
        done = 0
        for chunk, reached in send_ranges(fd, changed_ranges(old, digests, size), size, path):
            self._add(chunk, reached - done)
            done = reached

    def _add(self, block: bytes, done: int) -> None:
        if len(block) >= MAX_PAYLOAD // 4:
            self._flush()
        self._small.append(block)
        self._held += len(block)
        self._done += done
        if self._held >= MAX_PAYLOAD // 4:
            self._flush()

    def _flush(self) -> None:
        if self._small:
            self._check()
            self._pipe.write(HEADER.pack(DATA, self._held), b"".join(self._small))
        if self._small or self._files:
            advance(self._files, self._done)
        self._small.clear()
        self._held = self._files = self._done = 0


def _check_link(tree: Beneath, entry: Entry) -> None:
    try:
        parent, name = tree.at(entry.path)
        target = os.readlink(name, dir_fd=parent)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):
            raise
        raise SourceChanged("the symbolic link is gone", object=entry.path) from None
    if target != entry.target:
        raise SourceChanged("the symbolic link changed", object=entry.path)
