# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as they travel: entries, headers and manifests, each as lines of text or bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..backends.base import Upload
from ..errors import ManifestError
from ..manifest import codec, delta
from ..manifest import header as headers
from ..manifest.codec import Manifest
from ..manifest.entry import FILE, Entry
from ..manifest.header import Header
from .frames import whole
from .shape import Row, fits

FULL, DELTA = "full", "delta"
_BATCH = 1024
_LANDED = Row(str, int, int)


def uploads_out(uploads: Sequence[Upload]) -> Iterator[bytes]:
    """Yield uploads as lines; a file's size is the one that it had when it was scanned."""
    return _lines([*_as_scanned(item), item.patch] for item in uploads)


def _as_scanned(item: Upload) -> Entry:
    return item.entry._replace(size=item.identity[0]) if item.entry.kind == FILE else item.entry


def uploads_in(chunks: Iterable[bytes]) -> list[Upload]:
    """Return uploads; the identity of their sources is checked where they are read."""
    return [_upload(row) for row in _rows(chunks)]


def _upload(row: object) -> Upload:
    if not isinstance(row, list) or not isinstance(row[-1], bool):
        raise ManifestError("an entry on the channel is malformed")
    entry = _entry(row[:-1])
    return Upload(entry, (entry.size, 0, 0), row[-1])


def entries_out(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield entries as lines, hashed or not."""
    return _lines([*entry] for entry in entries)


def entries_in(chunks: Iterable[bytes]) -> list[Entry]:
    """Return entries; their types are checked, their paths where they are used."""
    return [_entry(row) for row in _rows(chunks)]


def _entry(row: object) -> Entry:
    kinds = (str, str, int, int, int, str, str, str)
    if not isinstance(row, list) or len(row) != len(kinds):
        raise ManifestError("an entry on the channel is malformed")
    if not all(isinstance(value, kind) for value, kind in zip(row, kinds)):
        raise ManifestError("an entry on the channel is malformed")
    return Entry(*row)


def strings_out(strings: Iterable[str]) -> Iterator[bytes]:
    """Yield texts as lines."""
    return _lines(strings)


def strings_in(chunks: Iterable[bytes]) -> list[str]:
    """Return texts."""
    return [str(row) for row in _rows(chunks)]


def landed_out(uploads: Sequence[Upload], landed: Sequence[Entry]) -> Iterator[bytes]:
    """Yield what landing changed of each upload: nothing, or hash, size and mtime."""
    return _lines(
        0 if entry == item.entry else [entry.sha256, entry.size, entry.mtime_ns]
        for item, entry in zip(uploads, landed)
    )


def landed_in(uploads: Sequence[Upload], chunks: Iterable[bytes]) -> list[Entry]:
    """Return the uploads' entries as they landed."""
    rows = _rows(chunks)
    if len(rows) != len(uploads):
        raise ManifestError(f"{len(uploads)} entries were sent, {len(rows)} landed")
    return [_landed(item, row) for item, row in zip(uploads, rows)]


def _landed(item: Upload, row: Any) -> Entry:
    if row == 0:
        return _as_scanned(item)
    if not fits(row, _LANDED) or not headers.is_digest(row[0]):
        raise ManifestError("what landed is malformed", object=item.entry.path)
    sha256, size, mtime_ns = row
    return item.entry._replace(sha256=sha256, size=size, mtime_ns=mtime_ns)


def header_out(header: Header | None) -> dict[str, object] | None:
    """Return a header as JSON data."""
    return None if header is None else header._asdict()


def header_in(data: object, name: str) -> Header | None:
    """Return a header, checked, or None; ``name`` is what errors call its repository."""
    return None if data is None else headers.of_data(data, name)


def manifest_out(manifest: Manifest, base: Manifest | None) -> Iterator[bytes]:
    """Yield a manifest, as its difference to ``base`` where there is one."""
    if base is None:
        return codec.write(manifest)
    return delta.write_delta(manifest.header, base.entries, manifest.entries)


def manifest_in(chunks: Iterable[bytes], base: Manifest | None, name: str) -> Manifest:
    """Return a manifest, checked in full."""
    stream = io.BytesIO(whole(chunks))
    if base is None:
        return codec.read(stream, name)
    return _as_tree(_applied(stream, base.entries, name), name)


def history_in(chunks: Iterable[bytes], base: Manifest, name: str) -> Manifest:
    """Return the manifest that several steps of history, one behind the other, make of ``base``.

    It is checked in full; those between are not looked at as trees, as nobody gets them.
    """
    content = whole(chunks)
    manifest = base
    for step in _steps(content):
        manifest = _applied(io.BytesIO(step), manifest.entries, name)
    return manifest if manifest is base else _as_tree(manifest, name)


def _steps(content: bytes) -> Iterator[bytes]:
    """Cut a sequence of deltas behind the last line of each; what is left at the end is one as well."""
    start = 0
    for end in _ends(content):
        yield content[start:end]
        start = end
    if start < len(content):
        yield content[start:]


def _ends(content: bytes) -> Iterator[int]:
    mark = b'\n{"lines":'
    position = content.find(mark)
    while position >= 0:
        position = content.find(b"\n", position + 1) + 1 or len(content)
        yield position
        position = content.find(mark, position)


def _applied(stream: io.BytesIO, parent: Sequence[Entry], name: str) -> Manifest:
    change = delta.read_delta(stream, name)
    entries = delta.apply_delta(parent, change.puts, change.deletes)
    codec.verify(change.header, entries, name)
    return Manifest(change.header, entries)


def _as_tree(manifest: Manifest, name: str) -> Manifest:
    """Return a manifest, or raise :class:`ManifestError` where its paths cannot live in one tree.

    What a change puts is checked by itself; what it is put beside is in the base.
    """
    codec.check_entries(manifest.entries, (), name)
    return manifest


def _lines(values: Iterable[object]) -> Iterator[bytes]:
    dump: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
    batch: list[str] = []
    for value in values:
        batch.append(dump(value))
        if len(batch) >= _BATCH:
            yield ("\n".join(batch) + "\n").encode()
            batch.clear()
    if batch:
        yield ("\n".join(batch) + "\n").encode()


def _rows(chunks: Iterable[bytes]) -> list[object]:
    try:
        text = whole(chunks).decode()
        return list(json.loads("[" + ",".join(text.splitlines()) + "]"))
    except ValueError:
        raise ManifestError("a list on the channel is damaged") from None
