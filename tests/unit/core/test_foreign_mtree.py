# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mtree specifications: both layouts, the escapes, and what is refused."""

from __future__ import annotations

import io

import pytest
from _core.errors import ManifestError
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.foreign import Partial, mtree
from _core.manifest.foreign.vis import BadEscape, unvis, vis
from hypothesis import given
from hypothesis import strategies as st

CONTENT = "0123456789abcdef" * 4
SHA = f"sha256digest={CONTENT}"


def read(text: str) -> Partial:
    return mtree.parse(io.BytesIO(text.encode()), "spec")


def test_every_directory_is_written_before_what_it_holds() -> None:
    entries = [
        Entry("a/b/empty", DIRECTORY, 0, 0, 0, "", "", ""),
        Entry("a/b/f", FILE, 3, 1_500_000_000_000_000_005, 0o640, CONTENT, "", ""),
        Entry("a/l", LINK, 0, 0, 0, "", "b/f", ""),
    ]
    assert b"".join(mtree.dump(entries)).decode().splitlines() == [
        "#mtree",
        ". type=dir",
        "./a type=dir",
        "./a/b type=dir",
        "./a/b/empty type=dir",
        f"./a/b/f type=file mode=0640 size=3 time=1500000000.000000005 {SHA}",
        "./a/l type=link link=b/f",
    ]


def test_an_empty_tree_is_a_specification_too() -> None:
    assert read(b"".join(mtree.dump([])).decode()).entries == []


def test_the_nested_layout_with_defaults_is_read() -> None:
    text = f"""#mtree v1
# .
/set type=file mode=0644 uid=0
.               type=dir mode=0755
    top         size=1 time=7.000000001 \\
                {SHA}

# ./d
d               type=dir
    inner       size=2 time=8.5 mode=0600 {SHA}
    e           type=dir
    ..
    link        type=link link=inner\\sfile
# ./d
..
last            size=3 time=9 {SHA}
/unset mode
"""
    found = read(text)
    assert found.fields == {"size", "mode", "mtime_ns", "sha256"}
    assert found.entries == [
        Entry("d/e", DIRECTORY, 0, 0, 0, "", "", ""),
        Entry("d/inner", FILE, 2, 8_000_000_005, 0o600, CONTENT, "", ""),
        Entry("d/link", LINK, 0, 0, 0, "", "inner file", ""),
        Entry("last", FILE, 3, 9_000_000_000, 0o644, CONTENT, "", ""),
        Entry("top", FILE, 1, 7_000_000_001, 0o644, CONTENT, "", ""),
    ]


def test_an_escape_that_holds_a_slash_does_not_make_a_path() -> None:
    text = f"d type=dir\n\\M-C\\M-/ type=dir\nf type=file {SHA}\n..\n..\n"
    assert [entry.path for entry in read(text).entries] == ["d/ï/f"]


def test_fields_are_those_that_every_file_has() -> None:
    text = f"./a type=file size=1 mode=0644 {SHA}\n./b type=file size=1 time=5 {SHA}\n"
    assert read(text).fields == {"size", "sha256"}


def test_defaults_end_where_they_are_unset() -> None:
    text = f"/set type=file mode=0644\n./a {SHA}\n/unset mode\n./b {SHA}\n"
    assert read(text).fields == {"sha256"}
    with pytest.raises(ManifestError, match="line 4: no type="):
        read(f"/set type=file mode=0644\n./a {SHA}\n/unset all\n./b {SHA}\n")


def test_bits_that_are_never_published_are_cut_from_the_mode() -> None:
    assert read(f"./a type=file mode=04755 {SHA}\n").entries[0].mode == 0o755


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no entry at all"),
        ("#mtree\n", "no entry at all"),
        ("/set type=file\n", "no entry at all"),
        (f". type=dir\n./a type=file {SHA}", "line 2: the line is cut off"),
        (f". type=dir\n./a type=file {SHA} \\\n", "line 2: the last line is to be continued"),
        ("./a type=file size=1\n", "line 1: a file without sha256digest="),
        (f"./a {SHA}\n", "line 1: no type="),
        ("./a type=link\n", "line 1: a link without link="),
        (f"./a type=fifo {SHA}\n", "line 1: type=fifo is not one of"),
        (f"./a type=file optional {SHA}\n", "line 1: the keyword optional is not supported"),
        (f"./a type=dir ignore {SHA}\n", "line 1: the keyword ignore is not supported"),
        (f"./a type=file {SHA} {SHA}\n", "line 1: the keyword sha256digest is there twice"),
        (f"./a type=file size=-1 {SHA}\n", "line 1: a value is malformed: -1"),
        (f"./a type=file size=0x1 {SHA}\n", "line 1: a value is malformed"),
        (f"./a type=file mode=u=rw {SHA}\n", "line 1: a value is malformed"),
        (f"./a type=file mode=0888 {SHA}\n", "line 1: a value is malformed"),
        (f"./a type=file time=1.0000000001 {SHA}\n", "line 1: a value is malformed"),
        (f"./a type=file time=now {SHA}\n", "line 1: a value is malformed"),
        ("./a type=file sha256digest=abc\n", "line 1: a value is malformed"),
        (f"./a\\q type=file {SHA}\n", "line 1: an unknown escape"),
        (f"./a\\777 type=file {SHA}\n", "line 1: an unknown escape"),
        (f"./a\\012b type=file {SHA}\n", "line 1: a path breaks the path rules"),
        (f". type=file {SHA}\n", "line 1: '.' is not a directory"),
        (f"..\n./a type=file {SHA}\n", "line 1: '..' where no directory is open"),
        (f"/etc/passwd type=file {SHA}\n", "line 1: an unknown command or an absolute path"),
        ("./l type=link link=/etc\n", "line 1: a path breaks the path rules"),
        ("./l type=link link=../x\n", "line 1: a path breaks the path rules"),
        (f"./a type=file {SHA}\n./b type=dir\n./B type=dir\n", "line 3: a path breaks"),
        (f"./a type=file {SHA}\n./a/b type=dir\n", "line 2: a path breaks"),
    ],
)
def test_what_is_no_specification_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert caught.value.object == "spec"
    assert said in caught.value.message


@given(st.text())
def test_any_text_survives_its_spelling(text: str) -> None:
    spelled = vis(text)
    assert not set(spelled) & set(b' \t\n\r#=*?["$%')
    assert all(32 < byte < 127 for byte in spelled)
    assert unvis(spelled) == text.encode()


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        (rb"\s\t\n\r\a\b\f\v\\\#\*", b" \t\n\r\a\b\f\v\\#*"),
        (rb"\0\40\040\303\251", b"\0  \xc3\xa9"),
        (rb"\M-C\M-)", b"\xc3\xa9"),
        (rb"\^A\^?", b"\x01\x7f"),
        (rb"\M^A\M^?", b"\x81\xff"),
        (rb"\x41\E", b"A\x1b"),
        (rb"\$x", b"x"),
        ("é".encode(), "é".encode()),
    ],
)
def test_the_other_styles_of_vis_are_read(spelled: bytes, plain: bytes) -> None:
    assert unvis(spelled) == plain


@pytest.mark.parametrize("spelled", [b"\\", b"a\\q", rb"\400", rb"\xg1", rb"\M"])
def test_a_backslash_that_starts_nothing_is_refused(spelled: bytes) -> None:
    with pytest.raises(BadEscape):
        unvis(spelled)
