# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests in the native form: canonical JSON lines, a header first, entries sorted by path.

A reader checks everything there is to check. What is damaged, incomplete or written in a version
that is not known is an error that names the line; it is never an empty manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from itertools import islice
from operator import attrgetter, lt
from typing import BinaryIO, NamedTuple

from ..errors import ManifestError, PathError, capped
from . import header as headers
from .digest import tree_digest
from .entry import DIRECTORY, FILE, LINK, Entry
from .header import Header
from .lines import BadLine, EntryParser, LineReader, encode_entries
from .paths import check_paths, link_problems, problems

_MAX_USER = 1000
by_path = attrgetter("path")
read_header = headers.read_header


class Manifest(NamedTuple):
    """A header and the entries it vouches for, sorted by path."""

    header: Header
    entries: list[Entry]


class _Facts(NamedTuple):
    """What a header says of its entries."""

    files: int
    links: int
    directories: int
    bytes: int
    digest: str
    body: str


def build(
    entries: Iterable[Entry],
    *,
    repository_id: str,
    repository: str,
    snapshot: int,
    parent: str,
    txn: str,
    created_at: str,
    created_by: str,
    message: str,
) -> Manifest:
    """Return the manifest of ``entries``, which are sorted here and must all be hashed.

    Raises :class:`ArgumentError` for a message or another field that a reader would refuse, and
    :class:`ManifestError` for entries that a reader would refuse.
    """
    ordered = sorted(entries, key=by_path)
    check_entries(ordered, {entry.user for entry in ordered}, "new manifest")
    body = sha256()
    for chunk in encode_entries(ordered):
        body.update(chunk)
    facts = _facts(ordered, body.hexdigest())
    header = Header(
        format=headers.FORMAT,
        repository_id=repository_id,
        repository=repository,
        snapshot=snapshot,
        parent=parent,
        txn=txn,
        created_at=created_at,
        created_by=created_by,
        message=headers.check_message(message),
        files=facts.files,
        links=facts.links,
        directories=facts.directories,
        bytes=facts.bytes,
        digest=facts.digest,
        body=facts.body,
        id="",
    )
    return Manifest(headers.seal(header), ordered)


def write(manifest: Manifest) -> Iterator[bytes]:
    """Yield the manifest's bytes in chunks of bounded size."""
    yield headers.encode(manifest.header)
    yield from encode_entries(manifest.entries)


def read(file: BinaryIO, name: str) -> Manifest:
    """Read and check a whole manifest; ``name`` is what errors call it.

    Raises :class:`ManifestError` for anything that :func:`write` would not have written.
    """
    return _read_entries(read_header(file, name), file, name)


def read_lines(header: Header, lines: bytes, name: str) -> Manifest:
    """Read and check entry lines that were found apart from their header."""
    return _read_entries(header, BytesIO(lines), name)


def _read_entries(header: Header, file: BinaryIO, name: str) -> Manifest:
    reader = LineReader(file, name)
    parser = EntryParser()
    entries: list[Entry] = []
    for first, text in reader.blocks():
        entries.extend(parse_block(parser, reader, first, text))
    _check_against_header(header, entries, reader.digest.hexdigest(), name)
    check_entries(entries, parser.users, name)
    return Manifest(header, entries)


def parse_block(parser: EntryParser, reader: LineReader, first: int, text: str) -> list[Entry]:
    """Return the entries of a block of lines, or raise :class:`ManifestError` for the first bad one."""
    try:
        return parser.parse(text)
    except BadLine:
        lines = text.split("\n")
    entries = []
    for number, line in enumerate(lines[:-1], first):
        try:
            entries.append(parser.parse_line(line + "\n"))
        except BadLine as exc:
            raise reader.error(number, str(exc)) from None
    return entries


def verify(header: Header, entries: Sequence[Entry], name: str) -> None:
    """Raise :class:`ManifestError` unless ``entries`` are exactly those that ``header`` vouches for."""
    body = sha256()
    for chunk in encode_entries(entries):
        body.update(chunk)
    _check_against_header(header, entries, body.hexdigest(), name)


def check_entries(entries: Sequence[Entry], users: Iterable[str], name: str) -> None:
    """Raise :class:`ManifestError` unless order, paths, links and users keep the rules."""
    paths = list(map(by_path, entries))
    if not all(map(lt, paths, islice(paths, 1, None))):
        number = next(i for i, pair in enumerate(zip(paths, paths[1:])) if not lt(*pair))
        raise ManifestError(
            f"line {number + 3}: the path is not behind the one before it (sorted, no duplicates)",
            object=name,
        )
    try:
        check_paths(paths)
    except PathError as exc:
        raise _path_error(paths, exc, name) from None
    found = link_problems((entry.path, entry.target) for entry in entries if entry.kind == LINK)
    if found:
        raise ManifestError("a link breaks the path rules", object=name, details=capped(found))
    for user in users:
        if not headers.is_line(user, _MAX_USER):
            raise ManifestError(f"the user {ascii(user)[:200]} is no plain text", object=name)


def _path_error(paths: Sequence[str], exc: PathError, name: str) -> ManifestError:
    number = next((i for i, path in enumerate(paths, 2) if problems([path])), 0)
    where = f"line {number}: " if number else ""
    return ManifestError(f"{where}{exc.message}", object=name, details=exc.details)


def _facts(entries: Sequence[Entry], body: str) -> _Facts:
    kinds = list(map(attrgetter("kind"), entries))
    return _Facts(
        files=kinds.count(FILE),
        links=kinds.count(LINK),
        directories=kinds.count(DIRECTORY),
        bytes=sum(map(attrgetter("size"), entries)),
        digest=tree_digest(entries),
        body=body,
    )


def _check_against_header(header: Header, entries: Sequence[Entry], body: str, name: str) -> None:
    if len(entries) != header.total:
        raise ManifestError(
            f"the header announces {header.total} entries, {len(entries)} are there", object=name
        )
    facts = _facts(entries, body)
    for field, value in facts._asdict().items():
        if getattr(header, field) != value:
            raise ManifestError(
                f"damaged: {field!r} is {getattr(header, field)} by the header, {value} by the entries",
                object=name,
            )
