# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files written whole: a reader or a crash sees the old content or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; ``os.write`` alone may write fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_new(
    path: str,
    chunks: Iterable[bytes],
    *,
    mode: int = 0o644,
    sync: bool = True,
    dir_fd: int | None = None,
) -> None:
    """Create ``path`` (it must not exist) with the chunks as content, durable if ``sync``."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=dir_fd)
    with _closing(fd, path):
        for chunk in chunks:
            write_all(fd, chunk)
        if sync:
            os.fsync(fd)


def replace(path: str, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write ``path`` anew, durably: a sibling is written, synced and renamed over it."""
    temporary = path + ".new"
    discard(temporary)
    try:
        write_new(temporary, chunks, mode=mode)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):  # what it holds is what a full disk lacks
            discard(temporary)
        raise
    sync_directory(os.path.dirname(path))


def discard(path: str, *, dir_fd: int | None = None) -> None:
    """Unlink a file that may be absent."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _closing(fd, path):
        os.fsync(fd)


def sync_file_system(path: str) -> None:
    """Make everything on the file system that holds ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _closing(fd, path):
        from .syscalls import (
            syncfs,
        )  # imports ctypes, which costs more than a run with nothing to do

        syncfs(fd)


@contextmanager
def _closing(fd: int, path: str) -> Iterator[None]:
    """Close a descriptor behind the block; name its file in errors of calls that only had the fd."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            exc.filename = path
        raise
    finally:
        os.close(fd)
