# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first line of a manifest: which snapshot of which repository, and what must follow."""

from __future__ import annotations

import re
from hashlib import sha256
from json import JSONEncoder, loads
from typing import Any, BinaryIO, Callable, NamedTuple

from ..errors import ArgumentError, ManifestError

FORMAT = 1
"""The manifest version that this code writes, and the only one it reads."""
MAX_LINE = 64 * 1024
"""Longest line of a manifest, in bytes with its line feed."""
MAX_MESSAGE = 1000
"""Longest message, in characters."""
MAX_INT = 2**63 - 1

canonical: Callable[[Any], str] = JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
"""Write JSON in its one canonical form, without a line feed."""

_HEX_32 = re.compile("[0-9a-f]{32}")
_HEX_64 = re.compile("[0-9a-f]{64}")
_HEX_64_OR_NONE = re.compile("(?:[0-9a-f]{64})?")
_WHEN = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
# Control characters, line and paragraph separators, characters that turn the direction, surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Header(NamedTuple):
    """What a manifest says of itself.

    ``repository_id`` is 32 hex digits, ``repository`` its name, ``snapshot`` counts from 1,
    ``parent`` is the ``id`` of the manifest before ('' for the first), ``txn`` the transaction,
    ``created_at`` UTC as ``2026-11-20T22:41:00Z``, ``created_by`` ``user@host``, ``message`` one line.
    ``files``, ``links`` and ``directories`` count entries and ``bytes`` the files' sizes. ``digest``
    names the published content (:mod:`.digest`), ``body`` is the SHA-256 of all entry lines, and
    ``id`` the SHA-256 of this header's canonical line without ``id`` and line feed: as ``body`` and
    ``parent`` are in it, it vouches for the whole manifest and its history.
    """

    format: int
    repository_id: str
    repository: str
    snapshot: int
    parent: str
    txn: str
    created_at: str
    created_by: str
    message: str
    files: int
    links: int
    directories: int
    bytes: int
    digest: str
    body: str
    id: str

    @property
    def total(self) -> int:
        """Return the number of entries."""
        return self.files + self.links + self.directories


def check_line(text: str, what: str, limit: int) -> str:
    """Return ``text``, or raise :class:`ArgumentError` unless it is one plain line of text."""
    if len(text) > limit:
        raise ArgumentError(f"{what} is longer than {limit} characters")
    unsafe = _UNSAFE.search(text)
    if unsafe:
        raise ArgumentError(
            f"{what} must be one line without control characters, "
            f"it holds U+{ord(unsafe.group()):04X}"
        )
    return text


def is_line(text: str, limit: int) -> bool:
    """Tell whether ``text`` is one plain line of at most ``limit`` characters."""
    return len(text) <= limit and not _UNSAFE.search(text)


def check_message(message: str) -> str:
    """Return ``message``, or raise :class:`ArgumentError`: one line, at most 1000 characters."""
    return check_line(message, "the message", MAX_MESSAGE)


def seal(header: Header) -> Header:
    """Return the header with its ``id`` filled in, checked as a reader would check it."""
    fields = header._asdict()
    problem = _broken_rule({**fields, "id": "0" * 64})
    if problem:
        raise ArgumentError(f"cannot write this manifest: {problem}")
    return header._replace(id=_identity(fields))


def encode(header: Header) -> bytes:
    """Return the header's canonical line, with its line feed."""
    return canonical(header._asdict()).encode() + b"\n"


def read_header(file: BinaryIO, name: str) -> Header:
    """Read and check only the first line of a manifest.

    Raises :class:`ManifestError` that names ``name`` if the line is missing, damaged, not canonical
    or of another version. What follows the line is not looked at.
    """
    line = file.readline(MAX_LINE)
    if not line:
        raise ManifestError("the manifest is empty (0 bytes)", object=name)
    if not line.endswith(b"\n"):
        raise ManifestError("line 1: the header is cut off or no header at all", object=name)
    fields = _parse(line, name)
    problem = _broken_rule(fields)
    if not problem and canonical(fields).encode() + b"\n" != line:
        problem = "not in canonical form"
    problem = problem or _broken_seal(fields)
    if problem:
        raise ManifestError(f"line 1: {problem}", object=name)
    return Header(**fields)


def of_data(fields: object, name: str) -> Header:
    """Return a header that came as plain data, checked as if it were the first line of a manifest."""
    if not isinstance(fields, dict):
        raise ManifestError("what came is no header of a manifest", object=name)
    problem = _broken_rule(fields) or _broken_seal(fields)
    if problem:
        raise ManifestError(f"the header of a manifest: {problem}", object=name)
    return Header(**fields)


def _broken_seal(fields: dict[str, Any]) -> str:
    return "" if _identity(fields) == fields["id"] else "damaged: its id does not match its content"


def _identity(fields: dict[str, Any]) -> str:
    covered = {key: value for key, value in fields.items() if key != "id"}
    return sha256(canonical(covered).encode()).hexdigest()


def _parse(line: bytes, name: str) -> dict[str, Any]:
    try:
        fields = loads(line.decode())
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ManifestError("line 1: not a header of a manifest", object=name)
    version = fields.get("format")
    if version != FORMAT and is_integer(version):
        raise ManifestError(
            f"line 1: written in version {version}, only version {FORMAT} is known",
            object=name,
            next_step="Use a version of dsg.storage that knows this format.",
        )
    return fields


def is_digest(value: str) -> bool:
    """Tell whether it is a SHA-256 as hex."""
    return _HEX_64.fullmatch(value) is not None


def is_integer(value: Any) -> bool:
    """Tell whether a JSON value is an integer (Python counts true and false among them)."""
    return isinstance(value, int) and not isinstance(value, bool)


def _text(limit: int) -> Callable[[Any], bool]:
    def is_text(value: Any) -> bool:
        return isinstance(value, str) and is_line(value, limit)

    return is_text


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    def does_match(value: Any) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return does_match


def _is_moment(value: Any) -> bool:
    """Tell whether it is a moment of the calendar: the 30th of February has the right digits only.

    Without ``datetime``: every connection would wait for its import.
    """
    digits = _WHEN.fullmatch(value) if isinstance(value, str) else None
    if digits is None:
        return False
    year, month, day, hour, minute, second = map(int, digits.groups())
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = 28 + is_leap if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    is_date = year >= 1 and 1 <= month <= 12 and 1 <= day <= days
    return is_date and hour < 24 and minute < 60 and second < 60


def _integer(lowest: int) -> Callable[[Any], bool]:
    def is_in_range(value: Any) -> bool:
        return is_integer(value) and lowest <= value <= MAX_INT

    return is_in_range


_RULES: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: is_integer(value) and value == FORMAT,
    "repository_id": _matches(_HEX_32),
    "repository": _text(255),
    "snapshot": _integer(1),
    "parent": _matches(_HEX_64_OR_NONE),
    "txn": _text(255),
    "created_at": _is_moment,
    "created_by": _text(1000),
    "message": _text(MAX_MESSAGE),
    "files": _integer(0),
    "links": _integer(0),
    "directories": _integer(0),
    "bytes": _integer(0),
    "digest": _matches(_HEX_64),
    "body": _matches(_HEX_64),
    "id": _matches(_HEX_64),
}


def _broken_rule(fields: dict[str, Any]) -> str:
    """Return what is wrong with a header's keys or values, or ''."""
    missing = [key for key in _RULES if key not in fields]
    unknown = [key for key in fields if key not in _RULES]
    if missing or unknown:
        return f"missing keys {missing}, unknown keys {unknown!a}"
    for key, holds in _RULES.items():
        if not holds(fields[key]):
            return f"{key!r} has a value that is not allowed: {ascii(fields[key])[:200]}"
    if (fields["snapshot"] == 1) != (fields["parent"] == ""):
        return "the first snapshot, and only the first, has no parent"
    return ""
