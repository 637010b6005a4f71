# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A published file that the disk does not give back is replaced as a whole by its next version."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from _core.backends import tree
from _core.backends.base import Upload
from _core.manifest.scan import scan_tree
from _core.posix import blocks
from _core.posix.beneath import Beneath
from _core.transport import patches

SIZE = 3 * blocks.BLOCK


class Pipe:
    """What is written is kept."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, *parts: bytes) -> None:
        self.written += b"".join(parts)


@pytest.fixture
def uploads(tmp_path: Path) -> list[Upload]:
    for name in ("live", "stage", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sound").write_bytes(b"s" * SIZE)
        (tmp_path / name / "bad").write_bytes(b"b" * SIZE)
    entries = scan_tree(str(tmp_path / "new"), checksum=True).entries
    return [Upload(one, (one.size, one.mtime_ns, 0), patch=True) for one in entries]


def damage(monkeypatch: pytest.MonkeyPatch, name: str, *paths: Path, offset: int = 0) -> None:
    """Have a system call of ``os`` fail for these files, from an offset on."""
    call = getattr(os, name)
    bad = {path.stat().st_ino for path in paths}

    def fails(fd: int, *arguments: Any, **options: Any) -> Any:
        if os.fstat(fd).st_ino in bad and (name != "preadv" or arguments[1] >= offset):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(fd, *arguments, **options)

    monkeypatch.setattr(os, name, fails)


def test_over_ssh_in_a_clone(
    tmp_path: Path, uploads: list[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    damage(monkeypatch, "preadv", stage / "bad", offset=blocks.BLOCK)
    granted, pipe = {"bad", "sound"}, Pipe()
    patches.send_old(pipe, str(stage), uploads, granted)  # type: ignore[arg-type]
    assert granted == {"sound"}
    assert not (stage / "bad").exists()
    assert len(pipe.written) > 3 * blocks.DIGEST


def test_over_ssh_as_a_copy(
    tmp_path: Path, uploads: list[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "stage").iterdir():
        path.unlink()
    for name in ("copy_file_range", "sendfile", "read", "pread", "preadv"):
        if hasattr(os, name):
            damage(monkeypatch, name, tmp_path / "live" / "bad")
    with Beneath(str(tmp_path / "live")) as live, Beneath(str(tmp_path / "stage")) as stage:
        left = tree.copy_old(live, stage, uploads)
    assert [(one.entry.path, one.patch) for one in left] == [("bad", False), ("sound", True)]
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["sound"]


def test_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = SIZE + 77  # the last record is none that is written whole
    (tmp_path / "new").write_bytes(b"n" * size)
    (tmp_path / "old").write_bytes(b"o" * (size + 5))
    whole: list[bool] = []
    write = os.pwrite

    def careful(fd: int, data: bytes, offset: int) -> int:
        """A part of a bad record cannot be written, as it would have to be read."""
        whole.append(len(data) == blocks.BLOCK or os.fstat(fd).st_size <= offset)
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", careful)
    damage(monkeypatch, "preadv", tmp_path / "old", offset=blocks.BLOCK)
    with (tmp_path / "new").open("rb") as new, (tmp_path / "old").open("r+b") as old:
        assert blocks.update(new.fileno(), old.fileno())[0] == size
    monkeypatch.undo()
    assert (tmp_path / "old").read_bytes() == b"n" * size
    assert all(whole), whole
