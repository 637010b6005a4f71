# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check files of sha256sum: its spellings, and what is none."""

from __future__ import annotations

import io

import pytest
from _core.errors import ManifestError
from _core.manifest.entry import FILE, Entry
from _core.manifest.foreign import sha256sum

CONTENT = "0123456789abcdef" * 4


def read(data: bytes) -> list[tuple[str, str]]:
    found = sha256sum.parse(io.BytesIO(data), "list")
    return [(entry.path, entry.sha256) for entry in found.entries]


def spelled(*paths: str) -> bytes:
    return b"".join(sha256sum.dump([Entry(path, FILE, 0, 0, 0, CONTENT, "", "") for path in paths]))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a b", f"{CONTENT}  a b\n"),
        ("back\\slash", f"\\{CONTENT}  back\\\\slash\n"),
        ("\\n", f"\\{CONTENT}  \\\\n\n"),
        ("-", f"{CONTENT}  ./-\n"),
        ("-dash", f"{CONTENT}  -dash\n"),
        (" lead", f"{CONTENT}   lead\n"),
        ("ünï", f"{CONTENT}  ünï\n"),
    ],
)
def test_names_are_spelled_as_sha256sum_spells_them(path: str, line: str) -> None:
    assert spelled(path) == line.encode()
    assert read(line.encode()) == [(path, CONTENT)]


@pytest.mark.parametrize(
    "line",
    [
        f"{CONTENT} *a/b\n",
        f"{CONTENT}  ./a/b\n",
        f"{CONTENT.upper()}  a/b\n",
        f"{CONTENT}  a/b\r\n",
        f"SHA256 (a/b) = {CONTENT}\n",
        f"\\SHA256 (a/b) = {CONTENT}\n",
        f"# comment\n{CONTENT}  a/b\n",
    ],
)
def test_other_spellings_of_a_line_are_read(line: str) -> None:
    assert read(line.encode()) == [("a/b", CONTENT)]


def test_entries_are_sorted() -> None:
    assert [path for path, _unused in read(spelled("b", "a/z", "a"[:1] + ".x"))] == [
        "a.x",
        "a/z",
        "b",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no check line at all"),
        (b"# only a comment\n", "no check line at all"),
        (b"\n", "line 1: not a line of sha256sum"),
        (f"{CONTENT}  a\n\n".encode(), "line 2: not a line"),
        (f"{CONTENT}  a\n{CONTENT}  b".encode(), "line 2: the line is cut off"),
        (f"{CONTENT}  a\n{CONTENT[1:]}  b\n".encode(), "line 2: not a line"),
        (f"{CONTENT} a\n".encode(), "line 1: not a line"),
        (f"{CONTENT}  \n".encode(), "line 1: not a line"),
        (f"{CONTENT}  a\0b\n".encode(), "line 1: the line holds a NUL"),
        (f"\\{CONTENT}  a\\tb\n".encode(), "line 1: an unknown escape"),
        (f"\\{CONTENT}  a\\\n".encode(), "line 1: an unknown escape"),
        (f"\\{CONTENT}  a\\nb\n".encode(), "line 1: a path breaks the path rules"),
        (f"{CONTENT}  ".encode() + b"x" * 70000 + b"\n", "line 1: the line is too long"),
        (b"d41d8cd98f00b204e9800998ecf8427e  md5\n", "line 1: not a line"),
    ],
)
def test_what_is_no_check_file_is_refused_with_its_line(data: bytes, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(data)
    assert caught.value.object == "list"
    assert said in caught.value.message
