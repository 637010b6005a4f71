# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host may send as much as it likes: it fills neither this side's memory, nor what this side keeps."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import pytest
from _core.backends.base import Upload
from _core.errors import DsgError
from _core.manifest.entry import FILE, Entry
from _core.posix import blocks
from _core.posix.blocks import DIGEST
from _core.transport import frames, patches
from _core.transport.channel import begin
from _core.transport.connect import connect, repository_at
from _core.transport.destination import Destination
from _core.transport.frames import DATA, END, MAX_FRAME, MAX_PAYLOAD, REPLY, ProtocolError, pack
from _core.transport.tail import KEPT

from tests.contract.driver import build
from tests.tools.collection import run
from tests.transport import limited
from tests.transport.evil_agent import LAST_WORDS, interpreter
from tests.transport.test_frames import Memory
from tests.transport.test_memory import MIB, MOST, ONE_ARENA

HEAD = build("tree", [Entry("a", FILE, 1, 0, 0o644, "a" * 64, "", "eve")], None, 1).header


# --- what comes in ---


@pytest.mark.parametrize("manifest", ["bomb", "endless"])
def test_a_manifest_without_end_is_refused(
    tmp_path: Path, server_at: Destination, manifest: str
) -> None:
    """By a client that could not hold a quarter of what the host says."""
    evil = interpreter(tmp_path, head=HEAD._asdict(), manifest=manifest)
    given = {
        "src": str(tmp_path / "src"),
        "repository": "tree",
        "backend": {"type": "directory", "base": "/srv"},
        "destination": server_at._replace(interpreter=evil)._asdict(),
        "longest_stream": 32 * MIB,
    }
    program = ["env", ONE_ARENA, sys.executable, limited.__file__, str(MOST), "sync"]
    done = run([*program, json.dumps(given)])
    assert "[DSG-CONNECTION] 'store1'" in done.stderr, done.stderr
    assert f"a stream of more than {32 * MIB} bytes" in done.stderr
    assert "MemoryError" not in done.stderr


def test_a_stream_may_take_a_share_of_this_machines_memory() -> None:
    """A manifest of ten million files has some three GiB: whoever has room for its entries may get it."""
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory = int(stream.readline().split()[1]) * 1024
    assert memory // 5 < frames.LONGEST_STREAM < memory // 3


def peak_of(content: bytes, longest: int) -> int:
    """Return how many bytes a stream took at most while its pieces were taken one by one."""
    pipe = Memory(content)
    tracemalloc.start()
    try:
        for piece in frames.receive_stream(pipe):
            assert len(piece) <= longest
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_frame_that_unpacks_to_a_lot_is_taken_in_pieces() -> None:
    content = pack(DATA, zlib.compress(bytes(300 * MIB), 9)) + pack(END, b"")
    assert len(content) < MIB
    assert peak_of(content, MAX_PAYLOAD) < 8 * MIB


def test_what_goes_on_behind_its_end_is_no_stream() -> None:
    more = pack(DATA, bytes(10)) * 3
    with pytest.raises(ProtocolError, match="behind its end"):
        peak_of(pack(DATA, zlib.compress(b"x")) + more + pack(END, b""), MAX_PAYLOAD)


def test_frames_that_say_nothing_take_nothing() -> None:
    empty = pack(DATA, b"") * 100_000
    stream = Memory(empty + pack(DATA, zlib.compress(b"x")) + pack(END, b""))
    answer = Memory(empty + pack(REPLY, b"x"))
    tracemalloc.start()
    try:
        assert frames.whole(frames.receive_stream(stream)) == b"x"
        assert frames.read_answer(answer) == b"x"
        assert tracemalloc.get_traced_memory()[1] < MIB // 2
    finally:
        tracemalloc.stop()


def test_an_error_may_be_long_and_no_longer() -> None:
    with pytest.raises(frames.Failed):
        frames.read_answer(Memory(pack(frames.FAILURE, bytes(MAX_FRAME))))
    with pytest.raises(ProtocolError):
        frames.read_answer(Memory(pack(frames.FAILURE, bytes(MAX_FRAME + 1))))


# --- blocks of large files ---

SIZE = 4 * MIB
ASKED = [Upload(Entry("big", FILE, SIZE, 0, 0o644, "", "", "ann"), (SIZE, 0, 0), True)]


def test_of_a_longer_old_file_no_more_is_kept_than_the_new_one_has() -> None:
    size = 1 << 40
    block = blocks.coarse(blocks.BLOCK, size)
    digests = size // block * DIGEST
    payloads = [patches._HEAD.pack(block, size), *[bytes(MIB)] * (digests // MIB)]
    old = patches.read_old(ASKED, iter(payloads))["big"]
    assert (old.size, len(old.digests)) == (size, SIZE // block * DIGEST)


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b"short"],
        [patches._HEAD.pack(1, SIZE), bytes(64)],
        [patches._HEAD.pack(blocks.BLOCK, 1 << 40), bytes(64)],
        [patches._HEAD.pack(1 << 20, SIZE), bytes(100)],
        [patches._HEAD.pack(1 << 20, SIZE), bytes(4 * DIGEST), b"more"],
    ],
)
def test_blocks_that_make_no_sense(payloads: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        patches.read_old(ASKED, payloads)


# --- what is said beside ---


def held() -> int:
    """Return how many bytes there are in files without a name that this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            seen = os.stat(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # what listed them
            continue
        if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0:
            found += seen.st_size
    return found


def open_now() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_of_a_lot_of_noise_the_end_is_kept(tmp_path: Path, server_at: Destination) -> None:
    evil = server_at._replace(interpreter=interpreter(tmp_path, start="noise"))
    before = open_now()
    channel = connect(evil)
    try:
        begin(channel, evil, b"")
        while channel.read(MIB):
            continue
        error = channel.failure(becoming=False)
        assert error.code == "DSG-CONNECT"
        assert error.details[-1] == LAST_WORDS
        assert len(channel.said()) <= KEPT
        assert held() < MIB
    finally:
        channel.close()
        channel.close()
    assert open_now() == before
    assert channel.said().endswith(f"{LAST_WORDS}\n"), "it can be told behind the end, too"


def test_noise_in_the_middle_of_the_work_is_no_hindrance(
    tmp_path: Path, server_at: Destination
) -> None:
    """Nobody reads it meanwhile, and still the host comes to its end."""
    program = interpreter(tmp_path, head=HEAD._asdict(), history="noise")
    evil = server_at._replace(interpreter=program)
    backend = {"type": "directory", "base": "/srv"}
    with repository_at(evil, backend, "tree") as repository:
        assert repository.head() == HEAD
        with pytest.raises(DsgError) as caught:
            repository.history(1)
    assert caught.value.code == "DSG-CONNECTION"
    assert LAST_WORDS in caught.value.details


def test_what_is_open_elsewhere_is_not_waited_for(tmp_path: Path, server_at: Destination) -> None:
    """As by OpenSSH's master, which may live on for hours."""
    client, stays = tmp_path / "ssh", tmp_path / "stays"
    os.mkfifo(stays)
    client.write_text(f'#!/bin/sh\ncat {stays} >/dev/null </dev/null & exec ssh "$@"\n')
    client.chmod(0o755)
    before = open_now()
    with stays.open("r+b", buffering=0):
        channel = connect(server_at._replace(executable=str(client)))
        channel.close()
        assert open_now()[1] == before[1]
