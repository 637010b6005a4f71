# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index is a cache: it comes back as it was stored, or not at all."""

from __future__ import annotations

import os
import stat
from array import array
from pathlib import Path

import pytest
from _core.manifest import index
from _core.manifest.columns import UNHASHED, Counts, Directory
from _core.manifest.index import Clock, Index, without_racy

OLD, NEW = 1_000_000_000, 5_000_000_000
CLOCK = Clock(limit_ns=3_000_000_000, dev=1)
FILE = stat.S_IFREG | 0o644
LINK = stat.S_IFLNK | 0o777


def rows(*found: tuple[int, int, int, int, int]) -> bytes:
    return array("q", [value for row in found for value in row]).tobytes()


SAMPLE = Index(
    {
        "": Directory("b\udcff/link/é", rows(*[(FILE, 1, 2, -3, 4)] * 3), b"x" * 96, ("é",)),
        "empty": Directory("", b"", b"", is_empty=True),
        "full/of": Directory(
            "l1/l2", rows(*[(LINK, 1, 2, 3, 4)] * 2), b"\0" * 64, ("a", "b\udcff")
        ),
        "parent": Directory("", b"", b""),
    },
    "ab" * 32,
    Counts(1, 3, 1, 2),
)


def plain(found: Index | None) -> object:
    """An index as values that can be compared."""
    assert found is not None
    return found._replace(
        directories={  # type: ignore[arg-type]
            path: [
                bytes(v) if isinstance(v, bytearray) else v
                for v in map(d.__getattribute__, d.__slots__)
            ]
            for path, d in found.directories.items()
        }
    )


@pytest.mark.parametrize(
    "sample",
    [
        SAMPLE,
        SAMPLE._replace(digest=""),
        Index({"": Directory("", b"", b"", is_empty=True)}, "", Counts(0, 0, 0, 0)),
    ],
)
def test_what_is_stored_is_loaded(tmp_path: Path, sample: Index) -> None:
    path = str(tmp_path / "index")
    index.save(path, sample)
    assert plain(index.load(path)) == plain(sample)
    assert os.listdir(tmp_path) == ["index"]


def test_storing_replaces_what_was_there_even_half_written(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"old")
    (tmp_path / "index.new").write_bytes(b"half")
    index.save(str(path), SAMPLE)
    assert plain(index.load(str(path))) == plain(SAMPLE)


@pytest.mark.parametrize("data", [b"", b"x", b"dsg-index 0 le\n" + b"\0" * 100, b"\0" * 5000])
def test_what_is_no_index_counts_as_absent(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "index").write_bytes(data)
    assert index.load(str(tmp_path / "index")) is None


def test_an_absent_index_is_absent(tmp_path: Path) -> None:
    assert index.load(str(tmp_path / "index")) is None
    assert index.load(str(tmp_path)) is None  # a directory


def test_a_damaged_index_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index.save(str(path), SAMPLE)
    data = path.read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert index.load(str(path)) is None
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert index.load(str(path)) is None


# --- racy time stamps ---


def is_trusted(mtime_ns: int, ctime_ns: int, digest: bytes = b"x" * 32, mode: int = FILE) -> bool:
    """Tell whether the next scan would believe a row with these stamps."""
    old = rows((FILE, 7, 9, OLD, OLD))
    row = rows((mode, 8, 9, mtime_ns, ctime_ns))
    kept = without_racy(Directory("a/b", old + row, b"x" * 32 + digest), CLOCK)
    assert kept.rows[: len(old)] == old
    return kept.rows[len(old) :] == row


def test_only_what_is_older_than_the_clock_is_trusted() -> None:
    assert is_trusted(OLD, OLD)
    assert is_trusted(CLOCK.limit_ns - 1, CLOCK.limit_ns - 1)
    assert not is_trusted(OLD, CLOCK.limit_ns)
    assert not is_trusted(CLOCK.limit_ns, OLD)
    assert not is_trusted(NEW, NEW)


def test_links_may_be_racy_too() -> None:
    assert is_trusted(OLD, OLD, UNHASHED, LINK)
    assert not is_trusted(OLD, NEW, UNHASHED, LINK)


def test_a_file_without_hash_is_not_trusted() -> None:
    assert not is_trusted(OLD, OLD, UNHASHED)


def test_nothing_is_trusted_without_a_clock() -> None:
    row = rows((FILE, 7, 9, OLD, OLD))
    assert without_racy(Directory("a", row, b"x" * 32), None).rows != row


def test_the_clock_is_that_of_the_file_system(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.touch()
    clock = index.read_clock(str(tmp_path))
    assert clock.dev == tmp_path.stat().st_dev
    assert clock.limit_ns <= witness.stat().st_mtime_ns
    assert os.listdir(tmp_path) == ["witness"]


def test_a_clock_without_fraction_counts_in_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        st_mtime_ns = 10_000_000_000
        st_dev = 1

    monkeypatch.setattr(os, "lstat", lambda _path: Found)
    assert index.read_clock(str(tmp_path)).limit_ns == 8_000_000_000
