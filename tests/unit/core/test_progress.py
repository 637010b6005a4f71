# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a meter counts where files are scanned, hashed and copied, by forked workers as well."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from _core.backends import tree
from _core.backends.base import Upload
from _core.manifest.scan import scan_tree
from _core.posix import blocks, parallel
from _core.posix.copy import copy_hashed
from _core.posix.lock import WAITING, locked
from _core.posix.progress import Meter, advance

SIZES = [0, 5, 70_000, 9 << 20, 300_000, 17 << 20]


class Every(Meter):
    """Keeps the bytes of every count, as far as this process does it."""

    def __init__(self) -> None:
        self.bytes: list[int] = []
        super().__init__()

    def advance(self, files: int, size: int) -> None:
        super().advance(files, size)
        self.bytes.append(size)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with files of all sizes."""
    made = tmp_path / "wc"
    for number, size in enumerate(SIZES):
        path = made / f"d{number % 2}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * size)
    return made


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many work; two are forked even for this little."""
    monkeypatch.setattr(parallel, "MIN_COST", 0)
    monkeypatch.setattr(parallel, "default_workers", lambda: request.param)
    return int(request.param)


@pytest.mark.usefixtures("workers")
def test_what_is_hashed_is_counted_against_what_is_to_be(root: Path) -> None:
    with Meter() as meter:
        scan_tree(str(root))
        assert meter.moment()[:-1] == ("hash", len(SIZES), len(SIZES), sum(SIZES), sum(SIZES))


def test_what_is_only_looked_at_is_counted_as_files(root: Path) -> None:
    with Meter() as meter:
        scan_tree(str(root), must_hash=lambda _path: False)
        assert meter.moment()[:-1] == ("start", len(SIZES), 0, 0, 0)


@pytest.mark.usefixtures("workers")
def test_what_is_copied_at_hand_is_counted(root: Path, tmp_path: Path) -> None:
    scan = scan_tree(str(root))
    uploads = [Upload(entry, identity_of(root, entry.path)) for entry in scan.entries]
    (tmp_path / "stage").mkdir()
    (tmp_path / "back").mkdir()
    with Meter() as meter:
        meter.begin("upload", len(SIZES), sum(SIZES))
        tree.upload(str(root), str(tmp_path / "stage"), uploads)
        assert meter.moment()[1:5] == (len(SIZES), len(SIZES), sum(SIZES), sum(SIZES))
        meter.begin("download")
        tree.fetch(str(tmp_path / "stage"), str(tmp_path / "back"), scan.entries)
        assert meter.moment()[1:5] == (len(SIZES), 0, sum(SIZES), 0)


def identity_of(root: Path, path: str) -> tuple[int, int, int]:
    found = os.stat(root / path)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def test_a_large_file_is_counted_as_it_goes_on(root: Path, tmp_path: Path) -> None:
    """One file may take hours: hashed, copied, or compared with its old version in place."""
    large = Path(root, f"d1/f{len(SIZES) - 1}")
    with Every() as hashing:
        scan_tree(str(root), workers=1)
    assert max(hashing.bytes) < SIZES[-1] / 10
    (tmp_path / "old").write_bytes(bytes(SIZES[-1]))
    for done in (copy_hashed, lambda one, other, _size: blocks.update(one, other)):
        with open(large, "rb") as new, open(tmp_path / "old", "r+b") as old, Every() as copying:
            done(new.fileno(), old.fileno(), SIZES[-1])
        assert sum(copying.bytes) == SIZES[-1]
        assert max(copying.bytes) < SIZES[-1]


def test_no_count_of_two_workers_is_lost() -> None:
    times = 20_000

    def count(items: Sequence[int]) -> Iterator[bytes]:
        for _unused in items:
            for _again in range(times):
                advance(1, 3)
            yield b""

    with Meter() as meter:
        parallel.fork_map(count, range(32), cost=lambda _item: parallel.MIN_COST, workers=2)
        assert meter.moment()[1:5] == (32 * times, 0, 96 * times, 0)
    advance(1, 3)
    assert meter.moment().files == 32 * times, "what is behind the block is not counted"


def test_who_waits_for_a_lock_is_in_another_phase(tmp_path: Path) -> None:
    """Behind it the counts go on where they were."""
    path = str(tmp_path / "lock")
    with Meter() as meter, open(path, "wb") as held:
        meter.begin("upload", 2, 10)
        meter.advance(1, 5)
        fcntl.flock(held, fcntl.LOCK_EX)
        seen: list[str] = []

        def let_go() -> None:
            while meter.moment().phase != WAITING:
                pass
            seen.append(meter.moment().phase)
            fcntl.flock(held, fcntl.LOCK_UN)

        other = threading.Thread(target=let_go, daemon=True)
        other.start()
        with locked(path, timeout=60.0, what="it"):
            assert meter.moment()[:-1] == ("upload", 1, 2, 5, 10)
        other.join()
    assert seen == [WAITING]
