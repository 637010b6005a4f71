# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes that change beneath a file system: verification reads what the disk has, and names it."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _core.sync.verify import Verification, verify_repository

from tests.contract.conftest import MKFS, _do
from tests.integration.support import Site, make, put

SIZE = 512 * 1024 * 1024
FILES = {"a/large": 3 * 1024 * 1024 + 5, "b/small": 70_000, "intact": 70_000}


class Disk:
    """An image with a file system, which is mounted and unmounted as often as needed."""

    def __init__(self, kind: str, place: Path) -> None:
        self.image, self.ground = place / f"{kind}.img", place / kind
        self.ground.mkdir()
        with open(self.image, "wb") as stream:
            stream.truncate(SIZE)
        # btrfs would keep a second copy of what it finds damaged, but of metadata only.
        _do(*MKFS[kind], str(self.image))

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount it, with nothing of its files in the page cache.

        Another test that has taken a mount namespace of its own meanwhile keeps the file system mounted
        there: then it is neither written back nor forgotten by unmounting it here.
        """
        _do("mount", "-o", "loop,nosuid,nodev", str(self.image), str(self.ground))
        try:
            _forget(self.ground)
            yield self.ground
            _do("sync", "--file-system", str(self.ground))
        finally:
            _do("umount", str(self.ground))

    def flip(self, content: bytes, *, bit: int = 0x10) -> None:
        """Turn one bit of a file's content where it lies on the disk."""
        with open(self.image, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as disk:
            at = disk.find(content)
            assert at >= 0, "the content is not found on the disk"
            assert disk.find(content, at + 1) < 0
            disk[at] ^= bit
            disk.flush()


def _forget(root: Path) -> None:
    """Drop what the page cache has of the files below a directory."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture(params=list(MKFS))
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    assert os.geteuid() == 0, "these tests mount file systems: run them as root"
    return Disk(request.param, tmp_path)


def verified(site: Site, *snapshots: str) -> Verification:
    return verify_repository(site.name, site.backend, snapshots=snapshots or ("newest",))


def test_flipped_bytes_are_found_and_named_in_every_snapshot_that_has_them(disk, tmp_path):
    content = {path: os.urandom(size // 2).hex() for path, size in FILES.items()}
    source = make(str(tmp_path / "source"), content)
    with disk.mounted() as ground:
        site = Site(str(ground))
        site.sync(source)
        put(source, "b/small", "another version")
        site.sync(source)
        assert verified(site, "all").sound
    in_both, in_first = content["a/large"][-4096:][:64], content["b/small"][8192:8256]
    disk.flip(in_both.encode())  # one inode
    disk.flip(in_first.encode())
    with disk.mounted():
        found = verified(site, "all")
        told = {(one["snapshot"], one["live"], one["path"]) for one in found.problems}
        assert told == {(1, False, "a/large"), (1, False, "b/small"), (2, True, "a/large")}
        check_reasons(disk, found.problems)
        assert {one["path"] for one in verified(site).problems} == {"a/large"}
    disk.flip(damaged(in_both.encode()))
    disk.flip(damaged(in_first.encode()))
    with disk.mounted():
        assert verified(site, "all").sound


def damaged(data: bytes) -> bytes:
    return bytes((data[0] ^ 0x10,)) + data[1:]


def check_reasons(disk: Disk, problems: list[dict[str, Any]]) -> None:
    """XFS hands out what the disk has; btrfs knows better, and hands out an error."""
    if disk.ground.name == "btrfs":
        assert {one["what"] for one in problems} == {"unreadable"}
        assert all(errno.errorcode[errno.EIO] in one["detail"] for one in problems)
    else:
        assert {one["what"] for one in problems} == {"content"}


def test_flipped_bytes_of_manifest_and_history_are_named(disk, tmp_path):
    source = make(str(tmp_path / "source"), {f"{n:03}": str(n) for n in range(300)})
    with disk.mounted() as ground:
        site = Site(str(ground))
        site.sync(source)
        put(source, "000", "changed")
        site.sync(source)
        records = Path(site.live, ".dsg")
        line = (records / "manifest.jsonl").read_bytes().split(b"\n")[1]
        step = (records / "history" / "s1.jsonl").read_bytes()[-400:]
    for flipped, expected in (
        (line, {(".dsg/manifest.jsonl", "manifest")}),
        (step, {(".dsg/history/s1.jsonl", "history")}),
    ):
        disk.flip(flipped)
        with disk.mounted():
            for chosen in ("newest", "all"):
                found = verified(site, chosen)
                assert {(one["path"], one["what"]) for one in found.problems} == expected
        disk.flip(damaged(flipped))
    with disk.mounted():
        assert verified(site, "all").sound
