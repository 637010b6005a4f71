# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests survive writing and reading, and nothing that was not written so is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256

import pytest
from _core.errors import ArgumentError, ManifestError
from _core.manifest import codec, delta, header
from _core.manifest.digest import tree_digest
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from hypothesis import given
from hypothesis import strategies as st

FIELDS = {
    "repository_id": "0123456789abcdef" * 2,
    "repository": "climate",
    "snapshot": 1,
    "parent": "",
    "txn": "20261120T224100-1a2b",
    "created_at": "2026-11-20T22:41:00Z",
    "created_by": "anna@lab7",
    "message": "first publication",
}
HASH = sha256(b"x").hexdigest()
USER = "anna@lab7"


def a_file(path: str, **changes: object) -> Entry:
    return Entry(path, FILE, 12, 1_700_000_000_123_456_789, 0o644, HASH, "", USER)._replace(
        **changes
    )


SAMPLE = [
    a_file('a/quote".txt'),
    a_file("a/back\\slash", user="böb@höst"),
    a_file("é/ü.dat", mode=0, mtime_ns=-5, size=0),
    Entry("empty", DIRECTORY, 0, 0, 0, "", "", USER),
    Entry("link", LINK, 0, 0, 0, "", 'a/quote".txt', USER),
    Entry("z", LINK, 0, 0, 0, "", "link", ""),
]

names = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/."),
    min_size=1,
    max_size=8,
).filter(lambda name: header.is_line(name, 100) and codec.problems([name]) == [])
integers = st.integers(0, 2**50)
users = st.sampled_from(["", "anna@lab7", 'o"neil\\x@h', "Ωmega@δ"])
files = st.builds(
    Entry,
    path=st.just(""),
    kind=st.just(FILE),
    size=integers,
    mtime_ns=st.integers(1 - 2**63, 2**63 - 1),
    mode=st.integers(0, 0o777),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    target=st.just(""),
    user=users,
)
links = st.builds(lambda target, user: Entry("", LINK, 0, 0, 0, "", target, user), names, users)
directories = st.builds(lambda user: Entry("", DIRECTORY, 0, 0, 0, "", "", user), users)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries of one tree: at the top and in numbered folders, so that no name is also a parent."""
    found = draw(st.dictionaries(names, files | links | directories, max_size=12))
    entries = []
    for number, (name, entry) in enumerate(found.items()):
        folder = draw(st.sampled_from(["", f"dir {number}/", "shared/"]))
        entries.append(entry._replace(path=folder + name))
    paths = [entry.path for entry in entries]
    return entries if not codec.problems(paths) else entries[:1]


def written(entries: list[Entry], **changes: object) -> bytes:
    return b"".join(codec.write(codec.build(entries, **{**FIELDS, **changes})))


def read(data: bytes) -> codec.Manifest:
    return codec.read(io.BytesIO(data), "s1")


def resealed(lines: list[str], **changes: object) -> bytes:
    """A manifest with any lines, whose header vouches for them as well as it can."""
    body = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    fields = codec.build(SAMPLE, **FIELDS).header._asdict()
    fields.update(files=len(lines), links=0, directories=0, bytes=12 * len(lines))
    fields.update(body=sha256(body).hexdigest(), **changes)
    fields["id"] = header._identity(fields)
    return header.canonical(fields).encode() + b"\n" + body


def a_line(path: str) -> str:
    return (
        f'{{"mode":"0644","mtime_ns":5,"path":{header.canonical(path)},"sha256":"{HASH}",'
        f'"size":12,"type":"file","user":""}}'
    )


# --- what is written is read ---


@given(trees())
def test_what_is_written_is_read(entries: list[Entry]) -> None:
    manifest = codec.build(reversed(entries), **FIELDS)
    again = read(b"".join(codec.write(manifest)))
    assert again == manifest
    assert again.entries == sorted(entries, key=lambda entry: entry.path.encode())
    assert again.header.bytes == sum(entry.size for entry in entries)


def test_the_written_form_is_fixed() -> None:
    data = written([a_file("b"), Entry("a", LINK, 0, 0, 0, "", "b", "x")])
    first, second, third = data.decode().splitlines()
    assert second == '{"path":"a","target":"b","type":"symlink","user":"x"}'
    assert third == (
        f'{{"mode":"0644","mtime_ns":1700000000123456789,"path":"b","sha256":"{HASH}",'
        f'"size":12,"type":"file","user":"anna@lab7"}}'
    )
    assert first.startswith('{"body":"')
    assert '"format":1,' in first


def test_an_empty_tree_has_a_manifest() -> None:
    assert read(written([])).entries == []


def test_the_header_is_read_alone() -> None:
    manifest = codec.build(SAMPLE, **FIELDS)
    data = b"".join(codec.write(manifest))
    only = header.read_header(io.BytesIO(data[: data.index(b"\n") + 1]), "s1")
    assert only == manifest.header
    assert (only.files, only.links, only.directories) == (3, 2, 1)


def test_users_are_shared() -> None:
    entries = read(written([a_file(f"f{i}") for i in range(3)])).entries
    assert len({id(entry.user) for entry in entries}) == 1


# --- the digest ---


def test_the_digest_names_the_content_only() -> None:
    digest = tree_digest([a_file("a")])
    assert digest == tree_digest([a_file("a", user="other", mtime_ns=1, size=99)])
    for change in ({"path": "b"}, {"mode": 0o755}, {"sha256": "0" * 64}):
        assert digest != tree_digest([a_file("a")._replace(**change)])


def test_the_digest_can_be_computed_by_others() -> None:
    lines = f'{{"mode":"0644","path":"a","sha256":"{HASH}","type":"file"}}\n'
    lines += '{"path":"d","type":"directory"}\n'
    lines += '{"path":"l","target":"a","type":"symlink"}\n'
    entries = [
        a_file("a"),
        Entry("d", DIRECTORY, 0, 0, 0, "", "", ""),
        Entry("l", LINK, 0, 0, 0, "", "a", ""),
    ]
    assert tree_digest(entries) == sha256(lines.encode()).hexdigest()


# --- damage ---


def test_every_flipped_bit_is_noticed() -> None:
    data = written(SAMPLE)
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(ManifestError):
                read(bytes(damaged))


def test_every_truncation_is_noticed() -> None:
    data = written(SAMPLE)
    for length in range(len(data)):
        with pytest.raises(ManifestError):
            read(data[:length])


@pytest.mark.parametrize("tail", [b"\n", b"x", b"{}\n", b"\0", b"\xff", b" "])
def test_trailing_garbage_is_noticed(tail: bytes) -> None:
    with pytest.raises(ManifestError):
        read(written(SAMPLE) + tail)


def test_a_missing_line_is_noticed() -> None:
    lines = written(SAMPLE).splitlines(keepends=True)
    for number in range(1, len(lines)):
        with pytest.raises(ManifestError):
            read(b"".join(lines[:number] + lines[number + 1 :]))


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"[" * 60_000 + b"\n", b"\0" * 100]
)
def test_what_is_no_manifest_is_never_empty(data: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        read(data)
    assert caught.value.object == "s1"


def test_an_unknown_version_says_so() -> None:
    with pytest.raises(ManifestError, match="version 2, only version 1"):
        read(written(SAMPLE).replace(b'"format":1', b'"format":2', 1))


def test_an_endless_first_line_is_not_read_whole() -> None:
    file = io.BytesIO(b"x" * 1_000_000)
    with pytest.raises(ManifestError, match="cut off"):
        header.read_header(file, "s1")
    assert file.tell() <= header.MAX_LINE


# --- well-sealed nonsense: the hashes are right, the content is not ---


@pytest.mark.parametrize(
    "path",
    ["/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b", "a\nb", "e\u0301", "x" * 256, ".dsg/a"],
)
def test_bad_paths_are_refused(path: str) -> None:
    with pytest.raises(ManifestError, match="line 3"):
        read(resealed([a_line("!"), a_line(path)], digest=_digest_of(["!", path])))


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ManifestError, match="line 2"):
        read(resealed([a_line("")], digest=_digest_of([""])))


@pytest.mark.parametrize(
    "lines",
    [
        ["b", "a"],
        ["a", "a"],
        ["A", "a"],
        ["a", "a/b"],
    ],
)
def test_unsorted_double_and_colliding_paths_are_refused(lines: list[str]) -> None:
    with pytest.raises(ManifestError):
        read(resealed([a_line(path) for path in lines], digest=_digest_of(lines)))


def _digest_of(paths: list[str]) -> str:
    return tree_digest([a_file(path) for path in paths])


def test_the_nonsense_above_is_refused_for_its_lines_alone() -> None:
    lines = ["a", "b"]
    assert len(read(resealed([a_line(p) for p in lines], digest=_digest_of(lines))).entries) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mode":"0644"', '"mode":"0999"'),
        ('"mode":"0644"', '"mode":"4755"'),
        ('"mode":"0644"', '"mode":420'),
        ('"mtime_ns":5', '"mtime_ns":5.0'),
        ('"mtime_ns":5', '"mtime_ns":05'),
        ('"mtime_ns":5', '"mtime_ns":-0'),
        ('"mtime_ns":5', '"mtime_ns":true'),
        ('"mtime_ns":5', '"mtime_ns":9223372036854775808'),
        ('"mtime_ns":5', '"mtime_ns":5,"mtime_ns":5'),
        ('"size":12', '"size":-12'),
        ('"size":12', '"size":1e1'),
        ('"size":12', '"size":NaN'),
        ('"size":12', '"size":9999999999999999999'),
        ('"size":12', '"size":"12"'),
        ('"size":12', '"size": 12'),
        ('"size":12,', ""),
        ('"type":"file"', '"type":"fifo"'),
        ('"type":"file"', '"type":["file"]'),
        ('"type":"file"', '"type":"symlink"'),
        ('"user":""', '"user":"","zeal":1'),
        ('"user":""', '"user":null'),
        ('"user":""', '"user":"a\\nb"'),
        ('"user":""', '"user":"\\u0061"'),
        ('"user":""', '"user":"\\ud800"'),
        ('"user":""', '"user":"\u202e"'),
        (HASH, HASH.upper()),
        (HASH, HASH[:-1]),
        (HASH, ""),
        ('"path":"f"', '"path":"\\u0066"'),
        ('"path":"f"', '"path":["f"]'),
    ],
)
def test_lines_in_another_form_are_refused(old: str, new: str) -> None:
    line = a_line("f")
    assert old in line
    with pytest.raises(ManifestError):
        read(resealed([line.replace(old, new)], digest=_digest_of(["f"])))


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", ""])
def test_links_that_leave_the_tree_are_refused(target: str) -> None:
    line = f'{{"path":"l","target":{header.canonical(target)},"type":"symlink","user":""}}'
    entries = [Entry("l", LINK, 0, 0, 0, "", target, "")]
    data = resealed([line], files=0, links=1, bytes=0, digest=tree_digest(entries))
    with pytest.raises(ManifestError, match="link"):
        read(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1.0},
        {"format": True},
        {"snapshot": 0},
        {"snapshot": 2},
        {"parent": "0" * 64},
        {"repository_id": "X" * 32},
        {"created_at": "yesterday"},
        {"created_at": "2026-02-30T22:41:00Z"},
        {"created_at": "2100-02-29T22:41:00Z"},
        {"created_at": "2026-04-31T22:41:00Z"},
        {"created_at": "2026-13-01T22:41:00Z"},
        {"created_at": "2026-11-00T22:41:00Z"},
        {"created_at": "2026-11-20T24:00:00Z"},
        {"created_at": "2026-11-20T22:41:60Z"},
        {"created_at": "0000-11-20T22:41:00Z"},
        {"message": "two\nlines"},
        {"extra": 1},
        {"files": -1},
        {"bytes": 11},
        {"digest": "0" * 64},
    ],
)
def test_bad_headers_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ManifestError):
        read(resealed([a_line("f")], **{"digest": _digest_of(["f"]), **changes}))


def test_a_header_with_a_key_twice_is_refused() -> None:
    data = written([])
    with pytest.raises(ManifestError, match="canonical"):
        read(data.replace(b'"files":0', b'"files":0,"files":0', 1))


# --- writing refuses what reading would refuse ---


@pytest.mark.parametrize("message", ["a\nb", "a\x00b", "\x1b[31m", "\u2028", "\u202e", "x" * 1001])
def test_a_message_is_one_plain_line(message: str) -> None:
    with pytest.raises(ArgumentError, match="message"):
        codec.build([], **{**FIELDS, "message": message})


def test_a_long_plain_message_is_fine() -> None:
    assert read(written([], message="ü" * 1000)).header.message == "ü" * 1000


@pytest.mark.parametrize("changes", [{"snapshot": 0}, {"snapshot": 2}, {"created_at": "now"}])
def test_a_header_that_nobody_could_read_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        codec.build([], **{**FIELDS, **changes})


def test_a_file_without_hash_is_not_written() -> None:
    with pytest.raises(ManifestError, match="hashed"):
        codec.build([a_file("a", sha256="")], **FIELDS)


@pytest.mark.parametrize(
    "entries",
    [
        [a_file("a"), a_file("a")],
        [a_file("a"), a_file("A")],
        [a_file("../a")],
        [a_file("a", user="two\nlines")],
        [Entry("l", LINK, 0, 0, 0, "", "/etc", "")],
    ],
)
def test_entries_that_nobody_could_read_are_not_written(entries: list[Entry]) -> None:
    with pytest.raises(ManifestError):
        codec.build(entries, **FIELDS)


# --- deltas ---


def a_delta(before: list[Entry], after: list[Entry]) -> tuple[codec.Manifest, bytes]:
    manifest = codec.build(after, **{**FIELDS, "snapshot": 2, "parent": "1" * 64})
    ordered = codec.build(before, **FIELDS).entries
    return manifest, b"".join(delta.write_delta(manifest.header, ordered, manifest.entries))


@given(trees(), trees())
def test_a_delta_gives_the_child_of_its_parent(before: list[Entry], after: list[Entry]) -> None:
    manifest, data = a_delta(before, after)
    found = delta.read_delta(io.BytesIO(data), "s2")
    entries = delta.apply_delta(codec.build(before, **FIELDS).entries, found.puts, found.deletes)
    assert entries == manifest.entries
    assert found.header == manifest.header
    codec.verify(found.header, entries, "s2")


def test_a_delta_holds_only_what_changed() -> None:
    before = [a_file(f"f{i}") for i in range(9)]
    after = [before[0]._replace(mode=0o755), *before[2:]]
    _unused, data = a_delta(before, after)
    found = delta.read_delta(io.BytesIO(data), "s2")
    assert (found.puts, found.deletes) == ([after[0]], ["f1"])


def test_a_delta_applied_to_another_parent_is_noticed() -> None:
    before, after = [a_file("a"), a_file("b")], [a_file("a")]
    manifest, data = a_delta(before, after)
    found = delta.read_delta(io.BytesIO(data), "s2")
    with pytest.raises(ManifestError, match="parent"):
        delta.apply_delta([a_file("a")], found.puts, found.deletes)
    other = delta.apply_delta([a_file("b"), a_file("c")], found.puts, found.deletes)
    with pytest.raises(ManifestError):
        codec.verify(manifest.header, other, "s2")


def test_damage_to_a_delta_is_noticed() -> None:
    _unused, data = a_delta([*SAMPLE[1:], a_file("gone")], [*SAMPLE[:4], a_file("new")])
    delta.read_delta(io.BytesIO(data), "s2")
    for position in range(len(data)):
        with pytest.raises(ManifestError):
            delta.read_delta(io.BytesIO(data[:position]), "s2")
        damaged = bytearray(data)
        damaged[position] ^= 0x04
        with pytest.raises(ManifestError):
            delta.read_delta(io.BytesIO(bytes(damaged)), "s2")


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[::-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0].replace('"put"', '"move"'), *lines[1:]],
        lambda lines: [lines[0].replace('"op":"put",', ""), *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1].replace('"z"', '["z"]')],
        lambda lines: [*lines[:-1], lines[-1].replace('"z"', '"z","zz":1')],
        lambda lines: [lines[0].replace('"path":"a"', '"path":"/a"'), *lines[1:]],
    ],
)
def test_a_delta_in_another_form_is_refused(change: Callable[[list[str]], list[str]]) -> None:
    _unused, data = a_delta([a_file("z")], [a_file("a"), a_file("b")])
    first, *lines, _unused = data.decode().splitlines(keepends=True)
    assert delta.read_delta(io.BytesIO(sealed_delta(first, lines)), "s2").deletes == ["z"]
    with pytest.raises(ManifestError, match=r"line \d"):
        delta.read_delta(io.BytesIO(sealed_delta(first, change(lines))), "s2")


def sealed_delta(first: str, lines: list[str]) -> bytes:
    body = "".join(lines).encode()
    end = {"lines": len(lines), "op": "end", "sha256": sha256(body).hexdigest()}
    return first.encode() + body + header.canonical(end).encode() + b"\n"
