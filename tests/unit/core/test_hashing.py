# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are hashed as they are; what changes under the reader is an error, not a hash."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from _core.errors import SourceChanged, TreeError
from _core.manifest import hashing
from _core.manifest.hashing import BLOCK, hash_file, hash_paths, identity_of
from _core.posix import parallel


def seen(path: Path) -> hashing.Identity:
    return identity_of(path.lstat())


@pytest.mark.parametrize("size", [0, 1, 4095, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_the_hash_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    file = tmp_path / "file"
    file.write_bytes(data)
    assert hash_file(str(file), expected=seen(file)) == hashlib.sha256(data).hexdigest()


def test_a_name_is_looked_up_in_the_given_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert hash_file("file", dir_fd=fd) == hashlib.sha256(b"x").hexdigest()
    finally:
        os.close(fd)


def make_nothing(path: Path) -> None:
    """Leave it absent."""


def make_link(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"x")
    path.symlink_to(other)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [make_nothing, make_link, Path.mkdir, os.mkfifo, make_socket])
def test_what_is_no_regular_file_any_more_has_changed(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "thing"
    make(path)
    for expected in (None, hashing.Identity(1, 2, 3, 4)):
        with pytest.raises(SourceChanged) as caught:
            hash_file(str(path), expected=expected, path="in/tree/thing")
        assert caught.value.object == "in/tree/thing"


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"y")


def shrink(path: Path) -> None:
    os.truncate(path, 1)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    """Put another file there that differs in its inode only."""
    old = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [grow, shrink, touch, replace])
def test_a_change_before_reading_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    expected = seen(path)
    change(path)
    with pytest.raises(SourceChanged):
        hash_file(str(path), expected=expected)


@pytest.mark.parametrize("size", [100, 3 * BLOCK])
@pytest.mark.parametrize("change", [grow, shrink, touch])
def test_a_change_while_reading_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    expected = seen(path)
    changed: list[int] = []

    def reading(real: Callable[..., object]) -> Callable[..., object]:
        def read(*arguments: object) -> object:
            if not changed:
                changed.append(1)
                change(path)
            return real(*arguments)

        return read

    monkeypatch.setattr(os, "pread", reading(os.pread))
    monkeypatch.setattr(os, "readv", reading(os.readv))
    with pytest.raises(SourceChanged):
        hash_file(str(path), expected=expected)
    assert changed


def test_another_link_to_a_file_is_no_change_of_it(tmp_path: Path) -> None:
    """Backup tools make hard links, which alters the ctime only."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    expected = seen(path)
    os.link(path, tmp_path / "backup")
    assert seen(path) != expected
    assert hash_file(str(path), expected=expected) == hashlib.sha256(b"x").hexdigest()


def test_many_files_are_hashed_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MIN_COST", 0)  # fork even for these few
    sizes = [5, 9 * 1024 * 1024, 0, 70_000, 17 * 1024 * 1024, 5]
    files = []
    for number, size in enumerate(sizes):
        path = tmp_path / f"d{number % 2}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]) * size)
        files.append((f"d{number % 2}/f{number}", seen(path)))
    expected = [hashlib.sha256(bytes([n]) * size).digest() for n, size in enumerate(sizes)]
    assert hash_paths(str(tmp_path), files, workers=2) == (expected, [])


@pytest.mark.parametrize("workers", [1, 2])
def test_unreadable_files_are_all_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    files = []
    for name in ("a", "bad1", "c", "bad2"):
        (tmp_path / name).write_bytes(b"x")
        files.append((name, seen(tmp_path / name)))
    real = os.open

    def refuse(path: str, *arguments: object, **named: object) -> int:
        if path in ("bad1", "bad2"):
            raise OSError({"bad1": errno.EACCES, "bad2": errno.EIO}[path], "refused", path)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(parallel, "MIN_COST", 0)
    digests, unreadable = hash_paths(str(tmp_path), files, workers=workers)
    hashed = hashlib.sha256(b"x").digest()
    assert digests == [hashed, b"", hashed, b""]
    assert unreadable == [
        "'bad1': cannot be read: Permission denied",
        "'bad2': cannot be read: Input/output error",
    ]
    with pytest.raises(TreeError, match="Permission denied"):
        hash_file("bad1", dir_fd=None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_gone_from_many_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(parallel, "MIN_COST", 0)
    (tmp_path / "d").mkdir()
    for name in ("d/a", "d/b"):
        (tmp_path / name).write_bytes(b"x")
    files = [(name, seen(tmp_path / name)) for name in ("d/a", "d/b")]
    (tmp_path / "d/b").unlink()
    with pytest.raises(SourceChanged) as caught:
        hash_paths(str(tmp_path), files, workers=workers)
    assert caught.value.object == "d/b"


def test_a_directory_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (tree / "d", outside):
        folder.mkdir(parents=True)
    (tree / "d/f").write_bytes(b"x")
    files = [("d/f", seen(tree / "d/f"))]
    (tree / "d/f").rename(outside / "f")
    (tree / "d").rmdir()
    (tree / "d").symlink_to(outside)
    with pytest.raises(SourceChanged):
        hash_paths(str(tree), files)
