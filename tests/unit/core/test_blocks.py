# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blocks are whole records; those of giant files are larger, so that their digests fit into memory."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _core.backends.base import Upload
from _core.manifest.scan import scan_tree
from _core.posix import blocks
from _core.posix.syscalls import file_system
from _core.transport import frames, patches
from _core.transport.frames import END, MAX_PAYLOAD, pack
from _core.transport.receiving import Receiver
from _core.transport.sending import Item, Sender
from hypothesis import given
from hypothesis import strategies as st

RECORD = 16 * 1024
MOST = 10


@given(st.sampled_from([8192, 16384, 131072, 1 << 24]), st.integers(0, 1 << 50))
def test_a_block_is_the_least_multiple_that_gives_few_enough(record: int, size: int) -> None:
    block = blocks.coarse(record, size)
    assert block % record == 0
    assert -(-size // block) <= blocks.MOST
    assert block == record or -(-size // (block - record)) > blocks.MOST


@pytest.mark.parametrize(
    ("size", "kind", "block"),
    [
        (512, blocks._ZFS, 8192),
        (4096, blocks._ZFS, 8192),
        (16384, blocks._ZFS, 16384),
        (4096, 0xEF53, blocks.BLOCK),  # pages of ext4
        (4096, 0, blocks.BLOCK),
    ],
)
def test_small_records_of_openzfs_go_together(
    monkeypatch: pytest.MonkeyPatch, size: int, kind: int, block: int
) -> None:
    """To no more than has to be, whole ones, as one that changed is written with its neighbours."""
    told = SimpleNamespace(st_blksize=size)
    monkeypatch.setattr(blocks, "file_system", lambda fd: kind)
    monkeypatch.setattr(blocks, "os", SimpleNamespace(fstat=lambda fd: told))
    assert blocks.block_size(0) == block


@pytest.mark.parametrize(("place", "kind"), [("/proc", 0x9FA0), ("/sys", 0x62656572)])
def test_a_kind_of_file_system_is_told(place: str, kind: int) -> None:
    fd = os.open(place, os.O_RDONLY)
    try:
        assert file_system(fd) == kind
    finally:
        os.close(fd)


def test_digests_take_little_more_memory_than_they_are_long(tmp_path: Path) -> None:
    count, block = 1 << 14, 4096
    with (tmp_path / "large").open("w+b") as large:
        large.truncate(count * block)
        tracemalloc.start()
        try:
            found = blocks.digests(large.fileno(), count * block, block)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(found) == count * blocks.DIGEST
    assert peak < 2 * len(found)


# --- both sides of the channel, with a limit that small files meet ---


class Pipe:
    """What one side writes, the other reads."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, *buffers: Any) -> None:
        self.content += b"".join(buffers)

    def payloads(self) -> Iterator[bytes]:
        """Yield what came in, and begin anew."""
        stream, self.content = io.BytesIO(self.content + pack(END, b"")), b""
        return frames.raw_stream(stream)  # type: ignore[arg-type]


SIZES = {
    "as it was": (50 * RECORD + 7, 50 * RECORD + 7),
    "a multiple": (50 * RECORD, 50 * RECORD),
    "grown": (3 * RECORD + 7, 50 * RECORD),
    "shrunk": (50 * RECORD + 7, 3 * RECORD),
    "larger than frames": (30 * MAX_PAYLOAD, 30 * MAX_PAYLOAD + 1),
    "small": (MOST * RECORD, MOST * RECORD),
}


@pytest.fixture
def uploads(tmp_path: Path, request: pytest.FixtureRequest) -> list[Upload]:
    """Files that were changed in one place, and the old versions of them, two of each."""
    old, new = SIZES[request.param]
    for name in ("new", "stage"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        content = bytearray(random.Random(name).randbytes(max(old, new)))
        (tmp_path / "stage" / name).write_bytes(content[:old])
        content[min(old, new) // 2] ^= 1
        (tmp_path / "new" / name).write_bytes(content[:new])
    found = []
    for one in scan_tree(str(tmp_path / "new"), checksum=True).entries:
        ino = (tmp_path / "new" / one.path).stat().st_ino
        found.append(Upload(one, (one.size, one.mtime_ns, ino), patch=True))
    return found


@pytest.mark.parametrize("usual", [True, False], ids=["usual blocks", "others"])
@pytest.mark.parametrize("uploads", SIZES, indirect=True)
def test_a_giant_file_is_patched_with_few_digests(
    tmp_path: Path, uploads: list[Upload], monkeypatch: pytest.MonkeyPatch, usual: bool
) -> None:
    monkeypatch.setattr(blocks, "MOST", MOST)
    monkeypatch.setattr(blocks, "block_size", lambda fd: RECORD)
    monkeypatch.setattr(blocks, "BLOCK", RECORD if usual else 2 * RECORD)
    pipe, stage = Pipe(), str(tmp_path / "stage")

    patches.send_old(pipe, stage, uploads, {"a", "b"})  # type: ignore[arg-type]
    assert len(pipe.content) < 2 * (MOST * blocks.DIGEST + 100)
    old = patches.read_old(uploads, pipe.payloads())

    ours = patches.Ours(str(tmp_path / "new"), uploads)
    ours.start()
    items = [Item(one.source, one.identity, old[one.entry.path]) for one in uploads]
    Sender(pipe, str(tmp_path / "new")).send(items, ours)  # type: ignore[arg-type]
    sent = pipe.content
    entries = [one.entry for one in uploads]
    landed = Receiver(pipe.payloads()).land(stage, entries, {"a", "b"})
    assert [one.sha256 for one in landed] == [one.sha256 for one in entries]

    for name, one in old.items():
        assert one.block % RECORD == 0
        assert len(one.digests) <= MOST * blocks.DIGEST
        new_size = os.path.getsize(tmp_path / "new" / name)
        assert -(-new_size // one.block) <= MOST, "and no more digests on our side"
        changed = max(0, new_size - one.size) + 2 * one.block
        assert len(sent) <= 2 * changed + 1000


def test_no_frame_is_longer_than_others_are(tmp_path: Path) -> None:
    """A block may be: OpenZFS has records of 16 MiB."""
    (tmp_path / "large").write_bytes(os.urandom(5 * MAX_PAYLOAD + 3))
    with (tmp_path / "large").open("rb") as large:
        ranges = [(0, 5 * MAX_PAYLOAD + 3)]
        chunks = patches.send_ranges(large.fileno(), ranges, 5 * MAX_PAYLOAD + 3, "large")
        found = [(len(chunk), done) for chunk, done in chunks]
    assert max(found)[0] == MAX_PAYLOAD
    assert found[-2] == (3, 5 * MAX_PAYLOAD + 3)


@pytest.mark.parametrize("uploads", ["small"], indirect=True)
@pytest.mark.parametrize("how", ["cut off", "too much", "too much in a frame"])
def test_a_description_that_is_none_is_told(
    tmp_path: Path, uploads: list[Upload], how: str
) -> None:
    pipe = Pipe()
    patches.send_old(pipe, str(tmp_path / "stage"), uploads, {"a", "b"})  # type: ignore[arg-type]
    payloads = list(pipe.payloads())
    if how == "cut off":
        payloads[-1] = payloads[-1][:-1]
    elif how == "too much":
        payloads.append(b"more")
    else:
        payloads[-1] += b"more"
    with pytest.raises(frames.ProtocolError):
        patches.read_old(uploads, iter(payloads))
