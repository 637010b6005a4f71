# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a disk is looked at before it is called blank."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _core.zfs import disks

GIB = 1 << 30


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A disk of 1 GiB without anything on it."""
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, GIB)
    return str(path)


def write(disk: str, offset: int, content: bytes = b"x") -> None:
    with open(disk, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def test_nothing_is_blank(disk: str) -> None:
    assert disks.is_blank(disk)
    assert disks.labelled(disk) == []


def test_erased_flash_is_blank(disk: str) -> None:
    write(disk, 0, b"\xff" * (1 << 20))
    assert disks.is_blank(disk)


@pytest.mark.parametrize("offset", [0, 510, (1 << 20) - 1, GIB - (1 << 20), GIB - 1])
def test_ends_are_read_whole(disk: str, offset: int) -> None:
    write(disk, offset)
    assert not disks.is_blank(disk)
    assert disks.labelled(disk) == [disk]


@pytest.mark.parametrize("offset", [GIB // 100 * percent + 4711 for percent in range(1, 99, 7)])
def test_data_without_a_label_is_met_wherever_it_lies(disk: str, offset: int) -> None:
    write(disk, offset, b"somebody's database" * (1 << 20 >> 4))  # 0.1% of the disk
    assert not disks.is_blank(disk)
    assert disks.labelled(disk) == []


@pytest.mark.parametrize("size", [1, 512, 1 << 20, (1 << 20) + 1])
def test_small_ones(tmp_path: Path, size: int) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(size))
    assert disks.is_blank(str(path))
    write(str(path), size // 2)
    assert not disks.is_blank(str(path))
