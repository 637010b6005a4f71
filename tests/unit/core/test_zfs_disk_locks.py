# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks on disks are shared ones: udev's events go on, and partitions stay."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from _core.errors import DsgError
from _core.zfs import disk_locks
from _core.zfs.steps import DiskError


def free_for(path: Path, kind: int) -> bool:
    """Tell whether another program could take this lock now."""
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("first", "second")]
    for path in found:
        path.touch()
    return found


def test_no_other_program_gets_a_disk_for_itself_meanwhile(two: list[Path]) -> None:
    with disk_locks.shared(map(str, two)):
        for path in two:
            assert not free_for(path, fcntl.LOCK_EX)
            assert free_for(path, fcntl.LOCK_SH)
    for path in two:
        assert free_for(path, fcntl.LOCK_EX)


def test_one_that_is_not_free_is_named_and_the_others_are_let_go(two: list[Path]) -> None:
    with open(two[1], "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(DiskError) as caught, disk_locks.shared(map(str, two), patience=0):
            pytest.fail("it went on")
    assert caught.value.object == str(two[1])
    assert "Let it end" in caught.value.next_step
    assert free_for(two[0], fcntl.LOCK_EX)


def test_one_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DsgError, match="No such file"), disk_locks.shared([str(tmp_path / "no")]):
        pytest.fail("it went on")
