# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check files of coreutils: ``sha256sum -c`` reads them, ``sha256sum`` writes them.

They list files with their hashes and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ...errors import ManifestError
from ..entry import FILE, Entry
from .partial import Partial, decode, finish, lines, malformed

FIELDS = frozenset(("sha256",))

_PLAIN = re.compile(rb"(\\?)([0-9a-fA-F]{64}) [ *](.+)", re.S)
_TAGGED = re.compile(rb"(\\?)SHA256 \((.+)\) = ([0-9a-fA-F]{64})", re.S)
_ESCAPE = re.compile(rb"\\(.?)", re.S)
_ESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def dump(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield one line for each file; other entries are left out (``unexpressed`` names them).

    The check file of a tree without files is empty, and neither ``sha256sum -c`` nor
    :func:`parse` takes an empty file for one.
    """
    for entry in entries:
        if entry.kind == FILE:
            yield _line(entry)


def _line(entry: Entry) -> bytes:
    path = "./-" if entry.path == "-" else entry.path  # "-" alone is the standard input
    if "\\" in path:
        path = path.replace("\\", "\\\\")
        return f"\\{entry.sha256}  {path}\n".encode()
    return f"{entry.sha256}  {path}\n".encode()


def parse(file: BinaryIO, name: str) -> Partial:
    """Read a check file, in the plain or the ``--tag`` style.

    A ``./`` in front of a path, as from ``find``, is cut. Raises :class:`ManifestError` for any
    line that is neither a check nor a comment, and where there is no check at all.
    """
    entries: list[Entry] = []
    numbers: dict[str, int] = {}
    for number, line in lines(file, name):
        if line.startswith(b"#"):
            continue
        path, content = _read_line(line, number, name)
        numbers[path] = number
        entries.append(Entry(path, FILE, 0, 0, 0, content, "", ""))
    if not entries:
        raise ManifestError("holds no check line at all", object=name)
    return finish(entries, numbers, name, Partial([], frozenset((FILE,)), FIELDS))


def _read_line(line: bytes, number: int, name: str) -> tuple[str, str]:
    plain = _PLAIN.fullmatch(line)
    tagged = None if plain else _TAGGED.fullmatch(line)
    if plain:
        escaped, content, path = plain.groups()
    elif tagged:
        escaped, path, content = tagged.groups()
    else:
        raise malformed(number, "not a line of sha256sum: hash, two spaces, path", name)
    if escaped:
        path = _unescape(path, number, name)
    text = decode(path, number, name)
    return text[2:] if text.startswith("./") else text, content.decode().lower()


def _unescape(path: bytes, number: int, name: str) -> bytes:
    def plain(found: re.Match[bytes]) -> bytes:
        if found[1] not in _ESCAPED:
            raise malformed(number, "an unknown escape in the path", name)
        return _ESCAPED[found[1]]

    return _ESCAPE.sub(plain, path)
