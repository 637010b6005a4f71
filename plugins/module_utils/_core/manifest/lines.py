# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a manifest: one canonical JSON object for each entry.

Canonical means that every entry has exactly one spelling, so lines are read by a pattern of that
spelling, thousands at a time, and whatever the pattern does not know is not canonical. Only lines
with escapes in them (a quote or a backslash in a name) take the long way through a JSON parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from json import loads
from json.encoder import encode_basestring as quote
from typing import BinaryIO, Callable, NamedTuple

from ..errors import ManifestError
from .entry import DIRECTORY, FILE, LINK, MODE_MASK, Entry
from .header import MAX_INT, MAX_LINE

_BATCH = 1024  # lines that are written or parsed in one go
_BLOCK = 256 * 1024  # bytes that are read in one go

_TEXT = r'"([^"\\\x00-\x1f]*)"'
_NAME = r'"([^"\\\x00-\x1f]+)"'
_SIZE = r"(0|[1-9][0-9]{0,18})"
_TIME = r"(0|-?[1-9][0-9]{0,18})"


class Grammar(NamedTuple):
    """One spelling of entry lines: ``op`` is what stands between ``mtime_ns`` and ``path``."""

    op: str
    many: re.Pattern[str]


def _grammar(op: str) -> Grammar:
    pattern = (
        r"^\{(?:"
        rf'"mode":"0([0-7]{{3}})","mtime_ns":{_TIME},{op}"path":{_NAME},'
        rf'"sha256":"([0-9a-f]{{64}})","size":{_SIZE},"type":"file","user":{_TEXT}'
        rf'|{op}"path":{_NAME},"target":{_TEXT},"type":"symlink","user":{_TEXT}'
        rf'|{op}"path":{_NAME},"type":"directory","user":{_TEXT}'
        r")\}\n"
    )
    return Grammar(op, re.compile(pattern, re.MULTILINE))


PLAIN = _grammar("")
PUT = _grammar('"op":"put",')

_KEYS: dict[str, tuple[str, ...]] = {
    FILE: ("mode", "mtime_ns", "path", "sha256", "size", "type", "user"),
    LINK: ("path", "target", "type", "user"),
    DIRECTORY: ("path", "type", "user"),
}
_MODES = {f"{mode:03o}": mode for mode in range(MODE_MASK + 1)}
_OCTALS = [f'"0{mode:03o}"' for mode in range(MODE_MASK + 1)]


class BadLine(ValueError):
    """A line that is no entry; the text says why."""


# --- writing ---


def encode_entries(entries: Iterable[Entry], op: str = "") -> Iterator[bytes]:
    """Yield the lines of ``entries`` in chunks of bounded size."""
    lines: list[str] = []
    for entry in entries:
        lines.append(encode_entry(entry, op))
        if len(lines) >= _BATCH:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def encode_entry(entry: Entry, op: str = "") -> str:
    """Return the canonical line of one entry; ``op`` as in :class:`Grammar`."""
    path, kind, size, mtime_ns, mode, content, target, user = entry
    if kind == FILE:
        if len(content) != 64:
            raise ManifestError("cannot be written to a manifest before it is hashed", object=path)
        return (
            f'{{"mode":{_OCTALS[mode]},"mtime_ns":{mtime_ns},{op}"path":{quote(path)},'
            f'"sha256":"{content}","size":{size},"type":"file","user":{quote(user)}}}\n'
        )
    if kind == LINK:
        return (
            f'{{{op}"path":{quote(path)},"target":{quote(target)},'
            f'"type":"symlink","user":{quote(user)}}}\n'
        )
    return f'{{{op}"path":{quote(path)},"type":"directory","user":{quote(user)}}}\n'


# --- reading ---


class LineReader:
    """Reads the lines behind the header in blocks, hashes them and counts them.

    ``number`` is the number of the last line handed out (the header is line 1), ``digest`` the
    SHA-256 of everything handed out.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.number = 1
        self.digest = sha256()

    def blocks(self) -> Iterator[tuple[int, str]]:
        """Yield ``(number of the first line, text of whole lines)``."""
        rest = b""
        while True:
            data = self._file.read(_BLOCK)
            block, newline, tail = (rest + data).rpartition(b"\n")
            if not data:
                if tail:
                    raise self.error(self.number + 1, "the line is cut off")
                return
            rest = tail
            if len(rest) > MAX_LINE:
                raise self.error(self.number + 1, "the line is too long")
            if newline:
                self.digest.update(block)
                self.digest.update(newline)
                first = self.number + 1
                text = self._decode(block + newline, first)
                self.number += text.count("\n")
                yield first, text

    def error(self, number: int, problem: str) -> ManifestError:
        """Return the error that ``problem`` is on line ``number``."""
        return ManifestError(f"line {number}: {problem}", object=self.name)

    def _decode(self, block: bytes, first: int) -> str:
        try:
            return block.decode()
        except UnicodeDecodeError as exc:
            number = first + block.count(b"\n", 0, exc.start)
            raise self.error(number, "not valid UTF-8") from None


class EntryParser:
    """Turns lines into entries; equal users share one string."""

    def __init__(self, grammar: Grammar = PLAIN) -> None:
        self._grammar = grammar
        self._users: dict[str, str] = {}

    @property
    def users(self) -> Iterable[str]:
        """Return every user that was met."""
        return self._users

    def parse(self, text: str) -> list[Entry]:
        """Return the entries of ``text``, which holds whole lines.

        Raises :class:`BadLine` if any line is not canonical, without telling which one.
        """
        rows = self._grammar.many.findall(text)
        if len(rows) != text.count("\n"):
            raise BadLine("not a canonical entry")
        return list(map(self._entry, rows))

    def parse_all(self, text: str) -> list[Entry]:
        """Return the entries of those lines of ``text`` that are canonical and hold no escapes."""
        return list(map(self._entry, self._grammar.many.findall(text)))

    def parse_line(self, line: str) -> Entry:
        """Return the entry of one line, which may hold escapes, or raise :class:`BadLine`."""
        rows = self._grammar.many.findall(line)
        if len(rows) == 1:
            return self._entry(rows[0])
        entry = _load(line, self._grammar.op)
        if encode_entry(entry, self._grammar.op) != line:
            raise BadLine("not in canonical form")
        return entry._replace(user=self._users.setdefault(entry.user, entry.user))

    def _entry(self, row: Sequence[str]) -> Entry:
        mode, mtime, path, content, size, user, link, target, owner, directory, maker = row
        share = self._users.setdefault
        if path:
            mtime_ns = int(mtime)
            length = int(size)
            if length > MAX_INT or not -MAX_INT <= mtime_ns <= MAX_INT:
                raise BadLine("a number is out of range")
            mask = _MODES[mode]
            return _new(Entry, (path, FILE, length, mtime_ns, mask, content, "", share(user, user)))
        if link:
            return _new(Entry, (link, LINK, 0, 0, 0, "", target, share(owner, owner)))
        return _new(Entry, (directory, DIRECTORY, 0, 0, 0, "", "", share(maker, maker)))


_new: Callable[[type, tuple[object, ...]], Entry] = tuple.__new__


def load_object(line: str) -> dict[str, object]:
    """Return the JSON object of a line, or raise :class:`BadLine`."""
    try:
        fields = loads(line)
    except (ValueError, RecursionError):
        raise BadLine("not a JSON object") from None
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    return fields


def _load(line: str, op: str) -> Entry:
    fields = load_object(line)
    if op and fields.pop("op", None) != "put":
        raise BadLine("'op' is neither 'put' nor 'delete'")
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise BadLine(f"unknown type {ascii(kind)[:80]}")
    if tuple(sorted(fields)) != _KEYS[kind]:
        raise BadLine(f"a {kind} has the keys {', '.join(_KEYS[kind])} and no others")
    text = {key: _text(fields, key) for key in ("path", "target", "user") if key in fields}
    target = text.get("target", "")
    if kind != FILE:
        return Entry(text["path"], kind, 0, 0, 0, "", target, text["user"])
    size = _integer(fields, "size", 0)
    mtime_ns = _integer(fields, "mtime_ns", -MAX_INT)
    mode = _MODES.get(_text(fields, "mode")[1:])
    content = _text(fields, "sha256")
    if mode is None or not re.fullmatch("[0-9a-f]{64}", content):
        raise BadLine("mode or sha256 is malformed")
    return Entry(text["path"], FILE, size, mtime_ns, mode, content, "", text["user"])


def _text(fields: dict[str, object], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise BadLine(f"{key!r} is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadLine(f"{key!r} is not valid Unicode") from None
    return value


def _integer(fields: dict[str, object], key: str, lowest: int) -> int:
    value = fields[key]
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= MAX_INT:
        raise BadLine(f"{key!r} is not an integer in range")
    return value
