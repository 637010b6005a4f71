# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""History in small: a manifest written as what changed against its parent's entries.

Line 1 is the manifest's own header, so the entries that come out are checked against it. Then come
``{"op":"put",…}`` and ``{"op":"delete","path":…}``, sorted by path. The last line,
``{"lines":N,"op":"end","sha256":…}``, covers the lines between, so that damage shows without the parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from typing import BinaryIO, NamedTuple

from ..errors import ManifestError
from . import codec
from . import header as headers
from .codec import check_entries
from .entry import Entry
from .header import Header, read_header
from .lines import PUT, BadLine, EntryParser, LineReader, encode_entry, load_object

_BATCH = 1024
_DELETE = '{"op":"delete",'
_DELETES = re.compile(r'^\{"op":"delete","path":"([^"\\\x00-\x1f]+)"\}\n', re.MULTILINE)
_SIZES = re.compile(rb',"size":([0-9]+),"type":"file","user":"')


class Delta(NamedTuple):
    """A header, the entries to put and the paths to delete; both lists sorted by path."""

    header: Header
    puts: list[Entry]
    deletes: list[str]


class Step(NamedTuple):
    """A delta whose lines were counted and hashed, and are not parsed yet: ``body`` holds them."""

    header: Header
    body: bytes
    lines: int
    name: str

    def counts(self) -> tuple[int, int, int]:
        """Return the number of entries put, of paths deleted, and the bytes of the files put."""
        # No name can look like this: a quote or a line feed is escaped within one.
        start = _DELETE.encode()
        deletes = self.body.count(b"\n" + start) + self.body.startswith(start)
        return self.lines - deletes, deletes, sum(map(int, _SIZES.findall(self.body)))

    def changes(self) -> tuple[list[Entry], list[str]]:
        """Return the entries to put and the paths to delete; :class:`ManifestError` for bad lines.

        Every line is checked by itself; whether the paths keep the rules is for who makes a tree of
        them.
        """
        text = _decoded(self.body, self.name)
        parser = EntryParser(PUT)
        deletes = _DELETES.findall(text) if _DELETE in text else []  # most steps have none
        try:
            puts = parser.parse_all(text)
        except BadLine as exc:
            raise ManifestError(str(exc), object=self.name) from None
        if len(puts) + len(deletes) != self.lines:
            lines = [line + "\n" for line in text.split("\n")[:-1]]
            puts, deletes, _users = _parse(lines, self.name)
        return puts, deletes


def read_step(data: bytes, name: str) -> Step:
    """Check the header and the last line of a delta; :class:`ManifestError` where it is damaged."""
    header = read_header(BytesIO(data), name)
    start = data.index(b"\n") + 1
    stop = data.rfind(b"\n", start, len(data) - 1) + 1 or start
    body = data[start:stop]
    lines = body.count(b"\n")
    expected = _end(lines, sha256(body).hexdigest())
    if data[stop:] != expected:
        raise ManifestError("damaged: the last line does not match those before it", object=name)
    return Step(header, body, lines, name)


def _decoded(body: bytes, name: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        number = body.count(b"\n", 0, exc.start) + 2
        raise ManifestError(f"line {number}: not valid UTF-8", object=name) from None


def _end(lines: int, digest: str) -> bytes:
    end = {"lines": lines, "op": "end", "sha256": digest}
    return headers.canonical(end).encode() + b"\n"


def write_delta(
    header: Header, parent_entries: Sequence[Entry], entries: Sequence[Entry]
) -> Iterator[bytes]:
    """Yield the bytes of ``entries`` (those of ``header``) as changes to ``parent_entries``."""
    yield headers.encode(header)
    digest = sha256()
    count = 0
    for batch in _batches(_operations(parent_entries, entries)):
        data = "".join(batch).encode()
        digest.update(data)
        count += len(batch)
        yield data
    yield _end(count, digest.hexdigest())


def read_delta(file: BinaryIO, name: str) -> Delta:
    """Read and check a delta; :class:`ManifestError` for anything that was not written so."""
    header = read_header(file, name)
    lines, end = _split_end(LineReader(file, name))
    text = "".join(lines)
    digest = sha256(text.encode()).hexdigest()
    if end.encode() != _end(len(lines), digest):
        raise ManifestError("damaged: the last line does not match those before it", object=name)
    puts, deletes, users = _parse(lines, name)
    check_entries(puts, users, name)
    return Delta(header, puts, deletes)


def apply_delta(
    parent_entries: Sequence[Entry], puts: Sequence[Entry], deletes: Sequence[str]
) -> list[Entry]:
    """Return the parent's entries with the changes made; those unchanged are the same objects.

    Raises :class:`ManifestError` if a path to delete is not there: the delta has another parent.
    """
    by_path: dict[str, Entry] = {entry.path: entry for entry in parent_entries}
    for path in deletes:
        if by_path.pop(path, None) is None:
            raise ManifestError(
                "the delta belongs to another parent: nothing to delete", object=path
            )
    for entry in puts:
        by_path[entry.path] = entry
    return sorted(by_path.values(), key=codec.by_path)


def _operations(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[str]:
    known = {entry.path: entry for entry in before}
    changed = {entry.path: entry for entry in after if known.pop(entry.path, None) != entry}
    for path in sorted([*known, *changed]):
        entry = changed.get(path)
        yield encode_entry(entry, PUT.op) if entry is not None else _encode_delete(path)


def _encode_delete(path: str) -> str:
    return headers.canonical({"op": "delete", "path": path}) + "\n"


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _split_end(reader: LineReader) -> tuple[list[str], str]:
    lines: list[str] = []
    for _first, text in reader.blocks():
        lines.extend(line + "\n" for line in text.split("\n")[:-1])
    if not lines:
        raise reader.error(2, "the delta is cut off")
    return lines, lines.pop()


def _parse(lines: Sequence[str], name: str) -> tuple[list[Entry], list[str], list[str]]:
    parser = EntryParser(PUT)
    puts: list[Entry] = []
    deletes: list[str] = []
    last = ""
    for number, line in enumerate(lines, 2):
        try:
            path = _parse_line(parser, line, puts, deletes)
        except BadLine as exc:
            raise ManifestError(f"line {number}: {exc}", object=name) from None
        if path <= last:
            raise ManifestError(f"line {number}: not sorted by path, or twice", object=name)
        last = path
    return puts, deletes, list(parser.users)


def _parse_line(parser: EntryParser, line: str, puts: list[Entry], deletes: list[str]) -> str:
    if not line.startswith(_DELETE):
        entry = parser.parse_line(line)
        puts.append(entry)
        return entry.path
    path = load_object(line).get("path")
    if not isinstance(path, str) or _encode_delete(path) != line:
        raise BadLine("not in canonical form")
    deletes.append(path)
    return path
