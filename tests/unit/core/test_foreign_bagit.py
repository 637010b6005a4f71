# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bags: the tag files as text, and whole bags written and verified."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from pathlib import Path

import pytest
from _core.errors import ArgumentError, LockedError, ManifestError, SourceChanged, SystemCallError
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.foreign import bagit
from _core.manifest.foreign.bag_read import read_bag, verify_bag
from _core.manifest.foreign.bag_write import MANIFEST, TAG_MANIFEST, write_bag

CONTENT = "0123456789abcdef" * 4


def entry(root: Path, path: str) -> Entry:
    data = (root / path).read_bytes()
    status = (root / path).stat()
    content = hashlib.sha256(data).hexdigest()
    mode = status.st_mode & 0o777
    return Entry(path, FILE, len(data), status.st_mtime_ns, mode, content, "", "")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "d" / "100%").write_bytes(b"percent")
    (root / "a b").write_bytes(b"spaced")
    (root / "a b").chmod(0o751)
    os.utime(root / "a b", ns=(1, 1_500_000_000_123_456_789))
    return root


@pytest.fixture
def entries(tree: Path) -> list[Entry]:
    return [entry(tree, "a b"), entry(tree, "d/100%")]


@pytest.fixture
def bag(tmp_path: Path, tree: Path, entries: list[Entry]) -> Path:
    write_bag(str(tree), entries, str(tmp_path / "bag"))
    return tmp_path / "bag"


# --- as text ---


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("100%", "100%25"),
        ("100%25", "100%2525"),
        ("a\rb\nc", "a%0Db%0Ac"),
        ("ü b#=%0A", "ü b#=%250A"),
    ],
)
def test_paths_are_encoded_as_the_rfc_says_and_no_further(path: str, written: str) -> None:
    assert bagit.encode_path(path) == written
    assert bagit.decode_path(written) == path


def test_foreign_percent_signs_stay_and_lower_case_is_read() -> None:
    assert bagit.decode_path("50%/%20/%0a%0d") == "50%/%20/\n\r"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_of_the_rfc_is_read(end: str) -> None:
    data = f"{CONTENT}  data/a{end}{CONTENT.upper()}\tdata/b c{end}".encode()
    found = bagit.parse(io.BytesIO(data), "m")
    assert [(e.path, e.sha256) for e in found.entries] == [("a", CONTENT), ("b c", CONTENT)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (f"{CONTENT}  data/a\n{CONTENT}  b\n", "line 2: the path is not in data/"),
        (f"{CONTENT}  data/a\n\n", "line 2: not a line of a manifest"),
        (f"{CONTENT}data/a\n", "line 1: not a line"),
        ("d41d8cd98f00b204e9800998ecf8427e  data/a\n", "line 1: not a line"),
        (f"{CONTENT}  data/a%0Ab\n", "line 1: a path breaks the path rules"),
        (f"{CONTENT}  data/../../x\n", "line 1: a path breaks the path rules"),
        (f"{CONTENT}  data/\n", "line 1: a path breaks the path rules"),
    ],
)
def test_what_is_no_payload_manifest_is_refused(data: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        bagit.parse(io.BytesIO(data.encode()), "m")
    assert said in caught.value.message


def test_info_is_written_and_folded_lines_are_read() -> None:
    data = bagit.encode_info({"Source-Organization": "Ünïon: all"}, 3, 1000)
    assert data.decode() == "Source-Organization: Ünïon: all\nPayload-Oxum: 1000.3\n"
    assert bagit.read_tags(data, "i")["Source-Organization"] == "Ünïon: all"
    assert bagit.read_tags(b"A: one\n  two\n\tthree\nB: x\n", "i") == {
        "A": "one two three",
        "B": "x",
    }
    with pytest.raises(ManifestError, match="line 2"):
        bagit.read_tags(b"A: one\nno colon\n", "i")


@pytest.mark.parametrize(
    ("label", "value"),
    [("", "x"), ("a:b", "x"), (" a", "x"), ("a", "x\ny"), ("a", " x"), ("Payload-Oxum", "1.1")],
)
def test_info_that_would_not_be_read_back_is_refused(label: str, value: str) -> None:
    with pytest.raises(ArgumentError):
        bagit.encode_info({label: value}, 0, 0)


# --- written ---


@pytest.mark.parametrize("link", [False, True])
def test_a_bag_holds_the_files_and_says_so(
    tmp_path: Path, tree: Path, entries: list[Entry], link: bool
) -> None:
    bag = tmp_path / "bag"
    assert write_bag(str(tree), entries, str(bag), link=link, info={"Contact-Name": "Ada"}) == []
    assert sorted(os.listdir(bag)) == ["bag-info.txt", "bagit.txt", "data", MANIFEST, TAG_MANIFEST]
    assert (bag / "bagit.txt").read_text() == (
        "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    )
    info = (bag / "bag-info.txt").read_text().splitlines()
    assert info[0].startswith("Bagging-Date: 2")
    assert info[1:] == ["Contact-Name: Ada", "Payload-Oxum: 13.2"]
    assert entry(bag / "data", "a b") == entries[0]
    assert (bag / "data" / "a b").samefile(tree / "a b") == link
    assert [(e.path, e.sha256) for e in read_bag(str(bag)).entries] == [
        (e.path, e.sha256) for e in entries
    ]
    assert verify_bag(str(bag)).valid
    assert sorted(os.listdir(tmp_path)) == ["bag", "tree"]


def test_what_a_bag_has_no_words_for_is_named(tmp_path: Path, tree: Path) -> None:
    more = [
        entry(tree, "a b"),
        Entry("empty", DIRECTORY, 0, 0, 0, "", "", ""),
        Entry("link", LINK, 0, 0, 0, "", "a b", ""),
    ]
    assert write_bag(str(tree), more, str(tmp_path / "bag")) == ["empty", "link"]
    assert verify_bag(str(tmp_path / "bag")).valid


def test_an_empty_tree_makes_an_empty_bag(tmp_path: Path, tree: Path) -> None:
    write_bag(str(tree), [], str(tmp_path / "bag"))
    assert verify_bag(str(tmp_path / "bag")).valid
    assert read_bag(str(tmp_path / "bag")).entries == []


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_an_existing_destination_is_refused_and_left_alone(
    tmp_path: Path, tree: Path, entries: list[Entry], kind: str
) -> None:
    bag = tmp_path / "bag"
    if kind == "file":
        bag.write_text("mine")
    elif kind == "directory":
        bag.mkdir()
    else:
        bag.symlink_to("nowhere")
    with pytest.raises(ArgumentError, match="exists already"):
        write_bag(str(tree), entries, str(bag))
    assert sorted(os.listdir(tmp_path)) == ["bag", "tree"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("change", ["content", "size", "gone", "link", "parent", "fifo"])
def test_a_tree_that_changed_makes_no_bag(
    tmp_path: Path, tree: Path, entries: list[Entry], change: str, link: bool
) -> None:
    victim = tree / "d" / "100%"
    if change == "content":
        victim.write_bytes(b"PERCENT")
    elif change == "size":
        victim.write_bytes(b"percent!")
    elif change == "parent":
        (tree / "d").rename(tmp_path / "elsewhere")
        (tree / "d").symlink_to(tmp_path / "elsewhere")
    else:
        victim.unlink()
        if change == "link":
            victim.symlink_to("../a b")
        elif change == "fifo":
            os.mkfifo(victim)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SourceChanged) as caught:
        write_bag(str(tree), entries, str(tmp_path / "bag"), link=link)
    assert caught.value.object == "d/100%"
    assert sorted(os.listdir(tmp_path)) == before


def test_entries_that_are_not_hashed_are_hashed_in_the_bag(
    tmp_path: Path, tree: Path, entries: list[Entry]
) -> None:
    unhashed = [entry._replace(sha256="") for entry in entries]
    write_bag(str(tree), unhashed, str(tmp_path / "bag"))
    assert [e.sha256 for e in read_bag(str(tmp_path / "bag")).entries] == [
        e.sha256 for e in entries
    ]
    (tree / "a b").write_bytes(b"grown since the scan")
    with pytest.raises(SourceChanged):
        write_bag(str(tree), unhashed, str(tmp_path / "other"))


def test_what_an_interrupted_attempt_left_is_taken_away(
    tmp_path: Path, tree: Path, entries: list[Entry]
) -> None:
    left = tmp_path / ".bag.dsg-bag" / "data" / "half"
    left.mkdir(parents=True)
    (left / "x").write_text("old")
    write_bag(str(tree), entries, str(tmp_path / "bag"))
    assert verify_bag(str(tmp_path / "bag")).valid
    assert sorted(os.listdir(tmp_path)) == ["bag", "tree"]


def test_a_bag_that_another_process_writes_is_left_to_it(
    tmp_path: Path, tree: Path, entries: list[Entry]
) -> None:
    hidden = tmp_path / ".bag.dsg-bag"
    hidden.mkdir()
    (hidden / "theirs").write_text("theirs")
    fd = os.open(hidden, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            write_bag(str(tree), entries, str(tmp_path / "bag"))
    finally:
        os.close(fd)
    assert (hidden / "theirs").read_text() == "theirs"


def test_a_destination_without_a_parent_is_a_clear_error(
    tmp_path: Path, tree: Path, entries: list[Entry]
) -> None:
    with pytest.raises(SystemCallError, match="ENOENT"):
        write_bag(str(tree), entries, str(tmp_path / "missing" / "bag"))


# --- verified ---


def test_damage_to_the_payload_is_found(bag: Path) -> None:
    (bag / "data" / "a b").write_bytes(b"SPACED")
    (bag / "data" / "d" / "100%").unlink()
    (bag / "data" / "new").write_bytes(b"percent")
    (bag / "data" / "link").symlink_to("new")
    os.mkfifo(bag / "data" / "pipe")
    (bag / "data" / "empty").mkdir()
    found = verify_bag(str(bag))
    assert found.payload.changed == [("a b", ("sha256",))]
    assert found.payload.missing == ["d/100%"]
    assert found.payload.added == ["link", "new", "pipe"]
    assert found.payload.unchecked == ["d", "empty"]
    assert found.tags == []
    assert not found.valid


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bag-info.txt", b"Payload-Oxum: 13.2\n", "changed since the bag was made"),
        ("bag-info.txt", b"Payload-Oxum: 99.9\n", "Payload-Oxum is 99.9, the payload has 13.2"),
        ("bag-info.txt", None, "missing or unreadable"),
        (TAG_MANIFEST, f"{CONTENT}  ../../etc/passwd\n".encode(), "'.' and '..'"),
        (TAG_MANIFEST, f"{CONTENT}  meta/none\n".encode(), "missing or unreadable"),
    ],
)
def test_damage_to_the_tag_files_is_found(
    bag: Path, name: str, data: bytes | None, said: str
) -> None:
    (bag / name).unlink()
    if data is not None:
        (bag / name).write_bytes(data)
    found = verify_bag(str(bag))
    assert said in "\n".join(found.tags)
    assert found.payload.equal
    assert not found.valid


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bagit.txt", None, "no bagit.txt"),
        ("bagit.txt", b"", "version"),
        ("bagit.txt", b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n", "2.0"),
        ("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-16\n", "UTF-16"),
        ("bagit.txt", b"\xff\n", "UTF-8"),
        (MANIFEST, None, f"no {MANIFEST}"),
        (MANIFEST, b"nonsense\n", "line 1"),
        ("fetch.txt", b"http://example.org/ - data/a\n", "fetch.txt"),
    ],
)
def test_what_is_no_readable_bag_is_refused(
    bag: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is None:
        (bag / name).unlink()
    else:
        (bag / name).write_bytes(data)
    for work in (read_bag, verify_bag):
        with pytest.raises(ManifestError) as caught:
            work(str(bag))
        assert said in caught.value.message


def test_a_bag_without_its_payload_directory_is_refused(bag: Path) -> None:
    (bag / "data").rename(bag.parent / "data")
    with pytest.raises(ManifestError, match="no directory data"):
        verify_bag(str(bag))
    (bag / "data").symlink_to(bag.parent / "data")
    with pytest.raises(ManifestError, match="no directory data"):
        verify_bag(str(bag))


def test_a_bag_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SystemCallError, match="ENOENT"):
        read_bag(str(tmp_path / "missing"))


def test_a_writer_that_left_percent_signs_as_they_are_is_understood(bag: Path) -> None:
    data = bag / "data"
    (data / "d" / "100%").rename(data / "d" / "100%25")
    manifest = (bag / MANIFEST).read_bytes()
    assert b"100%25" in manifest  # decoded it would be 100%, which is not there
    assert [e.path for e in read_bag(str(bag)).entries] == ["a b", "d/100%25"]
