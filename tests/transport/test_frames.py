# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames, values and contents as they come in: whole, damaged, cut off, or made up by somebody hostile."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from json import dumps
from pathlib import Path
from typing import Any

import pytest
from _core import error_codec
from _core.errors import DsgError, ManifestError, SourceChanged
from _core.manifest import codec
from _core.manifest.entry import Entry
from _core.transport import frames, wire
from _core.transport.agent import Agent
from _core.transport.frames import DATA, END, HEADER, MAX_FRAME, MAX_PAYLOAD, ProtocolError, pack
from _core.transport.pipe import FdPipe, Silence
from _core.transport.receiving import Receiver
from _core.transport.sending import Item, Sender
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.driver import build
from tests.integration.support import Site

KINDS = b"CRXDEAK"
ENDS = (ProtocolError, EOFError, frames.Aborted, frames.Failed)

frame = st.tuples(st.sampled_from([bytes([kind]) for kind in KINDS]), st.binary(max_size=40))


class Memory:
    """A pipe of bytes that are there already; what is written is kept apart."""

    def __init__(self, content: bytes = b"") -> None:
        self._stream = io.BytesIO(content)
        self.written = b""

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def write(self, *buffers: Any) -> None:
        self.written += b"".join(bytes(buffer) for buffer in buffers)


# --- frames ---


@given(st.lists(frame))
def test_frames_come_back_as_they_went(sent):
    pipe = Memory(b"".join(pack(*one) for one in sent))
    found = []
    while (one := frames.read_frame(pipe)) is not None:
        found.append((one.kind, one.payload))
    assert found == [one for one in sent if one[0] != frames.ALIVE]


@given(st.lists(frame, min_size=1), st.data())
def test_a_cut_off_frame_is_told(sent, data):
    whole = b"".join(pack(*one) for one in sent)
    ends = {0}
    for one in sent:
        ends.add(max(ends) + len(pack(*one)))
    cut = data.draw(st.integers(0, len(whole) - 1))
    pipe = Memory(whole[:cut])

    def read_all() -> None:
        while frames.read_frame(pipe) is not None:
            continue

    if cut in ends:
        read_all()
    else:
        with pytest.raises(ProtocolError):
            read_all()


@given(st.integers(MAX_FRAME + 1, 2**32 - 1))
def test_a_frame_that_is_too_long_is_not_waited_for(length):
    with pytest.raises(ProtocolError):
        frames.read_frame(Memory(HEADER.pack(DATA, length)))


@given(st.lists(st.binary(max_size=100)))
def test_streams_come_back_as_they_went(chunks):
    pipe = Memory()
    frames.send_stream(pipe, chunks)
    assert b"".join(frames.receive_stream(Memory(pipe.written))) == b"".join(chunks)


@pytest.mark.parametrize(
    "length", [0, 1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD]
)
def test_an_answer_of_any_length_comes_back_as_it_went(length):
    """In frames that are no longer than those of a stream, and nothing of the next answer with it."""
    pipe, content = Memory(), os.urandom(length)
    frames.send_answer(pipe, content)
    frames.send_answer(pipe, b"the next")
    back = Memory(pipe.written)
    assert frames.read_answer(back) == content
    assert frames.read_answer(back) == b"the next"
    back = Memory(pipe.written)
    sizes = []
    while (one := frames.read_frame(back)) is not None:
        sizes.append(len(one.payload))
    assert max(sizes) <= MAX_PAYLOAD
    assert len(sizes) == max(1, -(-length // MAX_PAYLOAD)) + 1


def test_an_answer_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr(frames, "LONGEST_ANSWER", 4096)
    frames.read_answer(Memory(pack(DATA, bytes(4095)) + pack(frames.REPLY, b"x")))
    with pytest.raises(frames.ProtocolError, match="more than 4096 bytes"):
        frames.read_answer(Memory(pack(DATA, bytes(4096)) + pack(DATA, b"x")))


@pytest.mark.parametrize(
    ("behind", "raised"),
    [
        (b"", EOFError),
        (pack(END, b""), ProtocolError),
        (pack(frames.CALL, b"{}"), ProtocolError),
        (pack(frames.REPLY, b"abc")[:-1], ProtocolError),
        (pack(frames.FAILURE, b"told"), frames.Failed),
    ],
)
def test_an_answer_that_breaks_off_is_none(behind, raised):
    with pytest.raises(raised):
        frames.read_answer(Memory(pack(DATA, b"the first part") + behind))


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_damaged_stream_is_never_taken_for_a_whole_one(content, data):
    """A damaged one ends as such, or says the same: zlib's own sum vouches for that."""
    pipe = Memory()
    frames.send_stream(pipe, [content])
    damaged = bytearray(pipe.written)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = b"".join(frames.receive_stream(Memory(bytes(damaged))))
    except ENDS:
        return
    assert found == content


@given(st.binary(max_size=60))
def test_any_bytes_end_a_stream_in_a_known_way(noise):
    try:
        for _unused in frames.receive_stream(Memory(noise)):
            continue
    except ENDS:
        return


# --- values ---

texts = st.text(max_size=12)
entries = st.builds(
    Entry, texts, texts, st.integers(), st.integers(), st.integers(), texts, texts, texts
)


@given(st.lists(entries), st.lists(texts))
def test_values_come_back_as_they_went(some, strings):
    assert wire.entries_in(wire.entries_out(some)) == some
    assert wire.strings_in(wire.strings_out(strings)) == strings


@pytest.mark.parametrize(
    "line", ["[]", "1", "null", '["a","file"]', '["a","file","1",0,0,"","",""]', "[", "\ud800"]
)
def test_an_entry_that_is_none_is_an_error(line):
    with pytest.raises(ManifestError):
        wire.entries_in([line.encode("utf-8", "surrogatepass") + b"\n"])


def test_a_manifest_of_hostile_paths_is_refused():
    """A host may say what it likes: nothing that leaves the tree gets into a plan."""
    for path in ("../up", "/etc/passwd", "a/../../b", ".dsg/journal", "a//b", "nul\0"):
        entry = Entry(path, "file", 1, 0, 0o644, "0" * 64, "", "eve")
        text = b"".join(codec.write(build("tree", [Entry("x", *entry[1:])], None, 1)))
        forged = text.replace(b'"path":"x"', b'"path":' + repr(path).replace("'", '"').encode())
        with pytest.raises(DsgError):
            wire.manifest_in([forged], None, "store1")


def test_a_change_of_another_manifest_is_refused():
    def manifest(*names: str, base: Any = None, number: int = 1) -> codec.Manifest:
        found = [Entry(name, "file", 1, 0, 0o644, "0" * 64, "", "ann") for name in names]
        return build("tree", found, base, number)

    one = manifest("a", "b")
    two = manifest("a", "c", base=one, number=2)
    other = manifest("b", "c")
    change = b"".join(wire.manifest_out(two, one))
    assert wire.manifest_in([change], one, "store1") == two
    assert wire.history_in([change], one, "store1") == two
    for take in (wire.manifest_in, wire.history_in):
        with pytest.raises(ManifestError):
            take([change], other, "store1")
        with pytest.raises(ManifestError):
            take([change[:-10]], one, "store1")


# --- contents ---

HOSTILE = ["../escaped", "link/escaped", "/etc/escaped", "a/../../escaped", "..", "link"]


@pytest.mark.parametrize("path", HOSTILE)
def test_contents_land_nowhere_but_below_their_directory(tmp_path, path):
    """Whoever sends may name any path: it is opened component by component, through no link."""
    stage, outside = tmp_path / "stage", tmp_path / "outside"
    stage.mkdir()
    outside.mkdir()
    (stage / "link").symlink_to(outside)
    before = sorted(tmp_path.iterdir())
    entry = Entry(path, "file", 4, 0, 0o644, "", "", "eve")
    with pytest.raises((DsgError, OSError)):
        Receiver([b"evil"]).land(str(stage), [entry])
    assert sorted(tmp_path.iterdir()) == before
    assert not list(outside.iterdir())
    assert not Path("/etc/escaped").exists()


def uploads_of(contents: list[bytes]) -> list[Entry]:
    return [
        Entry(f"d{n % 3}/f{n}", "file", len(c), n, 0o644, hashlib.sha256(c).hexdigest(), "", "ann")
        for n, c in enumerate(contents)
    ]


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_contents_come_back_however_they_were_cut(tmp_path_factory, contents, data):
    root = tmp_path_factory.mktemp("contents")
    (root / "stage").mkdir()
    whole = b"".join(contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])]
    wanted = uploads_of(contents)
    landed = Receiver(pieces).land(str(root / "stage"), wanted)
    assert [entry.sha256 for entry in landed] == [entry.sha256 for entry in wanted]
    for entry, content in zip(wanted, contents):
        assert (root / "stage" / entry.path).read_bytes() == content


@pytest.mark.parametrize("pieces", [[], [b"abc"], [b"abcdefg"], [b"xbcdef"]])
def test_contents_that_are_not_what_was_announced(tmp_path, pieces):
    with pytest.raises(SourceChanged):
        Receiver(pieces).land(str(tmp_path), uploads_of([b"abc", b"def"]))


def test_a_large_content_is_hashed_as_it_comes(tmp_path):
    content = os.urandom(9_000_001)
    (entry,) = uploads_of([content])
    pieces = [content[n : n + 999_999] for n in range(0, len(content), 999_999)]
    (tmp_path / "stage").mkdir()
    assert Receiver(pieces).land(str(tmp_path / "stage"), [entry])[0].sha256 == entry.sha256
    with pytest.raises(SourceChanged):
        Receiver([content[:-1] + b"?"]).land(str(tmp_path), [entry])


def test_what_is_sent_is_what_was_planned(tmp_path):
    (tmp_path / "d0").mkdir()
    (tmp_path / "d0" / "f0").write_bytes(b"content")
    (entry,) = uploads_of([b"content"])
    found = (tmp_path / "d0" / "f0").stat()
    pipe = Memory()
    Sender(pipe, str(tmp_path)).send([Item(entry, (7, found.st_mtime_ns, found.st_ino))])
    assert pipe.written == pack(DATA, b"content")
    for identity in ((8, found.st_mtime_ns, found.st_ino), (7, 1, found.st_ino)):
        with pytest.raises(SourceChanged):
            Sender(Memory(), str(tmp_path)).send([Item(entry, identity)])


# --- descriptors ---


def test_a_pipe_reads_what_was_read_early_and_then_the_rest():
    reading, writing = os.pipe()
    back, out = os.pipe()
    pipe = FdPipe(reading, out, b"ear")
    os.write(writing, b"ly\nand more")
    assert pipe.has_input()
    assert pipe.read_line(100) == b"early\n"
    assert pipe.has_input(), "what is kept counts"
    assert pipe.read(3) == b"and"
    os.close(writing)
    assert pipe.read(100) == b" more"
    assert pipe.read(1) == b""
    pipe.close()
    os.close(back)


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(1, 60)))
def test_a_pipe_gives_as_many_bytes_as_are_asked_for(pieces, sizes):
    reading, writing = os.pipe()
    back, out = os.pipe()
    pipe, whole = FdPipe(reading, out), b"".join(pieces)
    os.write(writing, whole)
    os.close(writing)
    found = [pipe.read(size) for size in [*sizes, len(whole) + 1]]
    assert b"".join(found) == whole
    pipe.close()
    os.close(back)


def test_silence_ends_a_wait_for_reading_and_for_writing():
    reading, writing = os.pipe()
    back, out = os.pipe()
    pipe = FdPipe(reading, out)
    pipe.expect_signs(0.05)
    with pytest.raises(Silence):
        pipe.read(1)
    with pytest.raises(Silence):
        pipe.write(b"x" * (4 << 20))
    for fd in (writing, back):
        os.close(fd)
    pipe.close()


def test_whoever_takes_nothing_but_gives_signs_is_waited_for():
    reading, writing = os.pipe()
    back, out = os.pipe()
    pipe = FdPipe(reading, out)
    pipe.expect_signs(5.0)
    content = b"x" * (4 << 20)
    signs = pack(frames.ALIVE, b"") * 3
    taken = []

    def other() -> None:
        os.write(writing, signs)
        with os.fdopen(back, "rb") as stream:
            taken.append(stream.read(len(content)))
        os.write(writing, pack(END, b""))

    thread = threading.Thread(target=other)
    thread.start()
    pipe.write(content)
    thread.join()
    assert taken == [content]
    assert frames.read_frame(pipe) == (END, b"")
    os.close(writing)
    pipe.close()


def test_an_offer_waits_for_nobody():
    reading, writing = os.pipe()
    back, out = os.pipe()
    pipe = FdPipe(reading, out)
    os.set_blocking(out, False)
    try:
        while True:
            os.write(out, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(out, True)
    pipe.offer(b"sign")
    os.close(back)
    pipe.offer(b"sign")
    pipe.close()
    pipe.offer(b"sign")
    os.close(writing)


# --- the agent, and whatever comes in ---


def ask(tmp_path: Path, content: bytes) -> list[frames.Frame]:
    """Give an agent these bytes; return what it answers until it ends."""
    reading, writing = os.pipe()
    back, out = os.pipe()
    agent = Agent(FdPipe(reading, out))
    os.write(writing, content)
    os.close(writing)
    try:
        agent.serve()
    except ENDS:
        pass
    finally:
        agent.close()
        agent._pipe.close()
    with os.fdopen(back, "rb") as stream:
        pipe = Memory(stream.read())
    found = []
    while (one := frames.read_frame(pipe)) is not None:
        found.append(one)
    return found


CALLS: list[Any] = [
    {"do": "close"},
    {"do": "_fail", "exc": 1},
    {"do": "__init__"},
    {"do": "serve"},
    {"do": "head"},
    {"do": "begin", "txn_id": "x", "base_id": ""},
    {"do": "commit"},
    {"do": "open", "backend": {"type": "directory", "base": "/"}, "name": "../x"},
    {"do": "open", "backend": {"type": "else"}, "name": "x"},
    {"do": "open"},
    {},
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_an_agent_does_what_it_has_verbs_for(tmp_path, call):
    (answer,) = ask(tmp_path, pack(frames.CALL, dumps(call).encode()))
    assert answer.kind == frames.FAILURE
    assert isinstance(error_codec.decode(answer.payload, RuntimeError), (DsgError, RuntimeError))


@given(st.binary(max_size=80))
def test_an_agent_ends_on_any_bytes(tmp_path_factory, noise):
    ask(tmp_path_factory.getbasetemp(), noise)


def test_nothing_changes_without_the_lock(tmp_path):
    site = Site(str(tmp_path))
    before = site.held()
    opening = {"do": "open", "backend": site.backend, "name": site.name}
    for call in (
        {"do": "begin", "txn_id": "20260101T000000Z-000000000001", "base_id": ""},
        {"do": "recover"},
        {"do": "resume", "txn_id": "20260101T000000Z-000000000001"},
    ):
        content = b"".join(pack(frames.CALL, dumps(one).encode()) for one in (opening, call))
        assert [one.kind for one in ask(tmp_path, content)] == [frames.REPLY, frames.FAILURE]
    assert site.held() == before
