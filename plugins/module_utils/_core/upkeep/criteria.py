# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which steps and which paths of a history somebody asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from fnmatch import translate
from json.encoder import encode_basestring
from typing import NamedTuple

from ..errors import ArgumentError
from ..manifest.header import Header
from ..manifest.ignore import Ignore

_NUMBER = re.compile(r"s?([1-9][0-9]{0,9})", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.0+)?)?)?(?:Z|\+00:00)?", re.ASCII
)
_FORMS = "a snapshot (12 or s12) or a time in UTC (2026-11-20 or 2026-11-20T22:41:00Z)"


class Bound(NamedTuple):
    """One end of a period: a snapshot's number, or (0) the time that manifests write."""

    snapshot: int
    time: str


class Period:
    """The snapshots between two bounds, both included; '' is no bound.

    A bound is a snapshot (``12`` or ``s12``) or a time in UTC (``2026-11-20``,
    ``2026-11-20T22:41``, ``2026-11-20T22:41:00Z``); what a time leaves out is all of it. Raises
    :class:`ArgumentError` for anything else.
    """

    def __init__(self, since: str = "", until: str = "") -> None:
        self._since = _bound("since", since, "00:00:00")
        self._until = _bound("until", until, "23:59:59")
        self.first = self._since.snapshot
        """No snapshot below this number is in the period. A clock may have gone wrong, so that
        times say nothing about the numbers."""

    def holds(self, header: Header) -> bool:
        """Tell whether a snapshot is in the period."""
        number, time = header.snapshot, header.created_at
        if number < self._since.snapshot or time < self._since.time:
            return False
        last, latest = self._until
        return (not last or number <= last) and (not latest or time <= latest)

    def require_known(self, newest: int) -> None:
        """Refuse a snapshot that is not there yet: a year, or a date in digits, would be taken for one."""
        for what, number in (("since", self._since.snapshot), ("until", self._until.snapshot)):
            if number > newest:
                raise ArgumentError(
                    f"{what} is snapshot s{number}, and the newest one is s{newest}",
                    object=str(number),
                    next_step=f"Write {_FORMS}.",
                )


def _bound(what: str, text: str, rest: str) -> Bound:
    text = text.strip()
    if not text:
        return Bound(0, "")
    number = _NUMBER.fullmatch(text)
    if number:
        return Bound(int(number[1]), "")
    time = _TIME.fullmatch(text)
    if not time:
        raise ArgumentError(f"{what} must be {_FORMS}", object=text)
    day, minute, second = time[1], time[2] or rest[:5], time[3] or rest[6:]
    bound = f"{day}T{minute}:{second}"
    try:
        datetime.fromisoformat(bound)
    except ValueError:
        raise ArgumentError(f"{what} is no day or time of day that there is", object=text) from None
    return Bound(0, f"{bound}Z")


class Authors:
    """Who made a snapshot or changed a path, by a pattern as the shell has them; '' is everybody.

    It may match the whole ``user@host``, or the user alone.
    """

    def __init__(self, pattern: str = "") -> None:
        self._pattern = re.compile(translate(pattern)) if pattern else None

    def match(self, who: str) -> bool:
        """Tell whether that is one of them."""
        if self._pattern is None:
            return True
        return any(self._pattern.match(name) for name in (who, user_of(who)))


def user_of(who: str) -> str:
    """Return the user of ``user@host``."""
    return who.rpartition("@")[0] or who


class Paths:
    """Paths by patterns as in a .gitignore: a name, a directory with all below it, a wildcard.

    False where there is no pattern: that is every path. Raises :class:`ArgumentError` for a pattern
    that can match nothing.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = Ignore(patterns)
        if self._patterns.invalid:
            raise ArgumentError(
                "a pattern for paths is malformed", object=self._patterns.invalid[0]
            )
        if any(patterns) and not self._patterns:
            raise ArgumentError("the patterns for paths match nothing", object=patterns[0])
        self._needles = [needle(text) for text in self._patterns.texts]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def may_be_in(self, lines: bytes) -> bool:
        """Tell whether lines of JSON may name such a path: a no is certain."""
        return not self or any(one in lines for one in self._needles)

    def match(self, path: str, is_directory: bool = False) -> bool:
        """Tell whether that is such a path."""
        return not self or self._patterns.covers(path, is_directory)

    def may_match(self, path: str) -> bool:
        """Tell whether it is one as a file or as a directory: a deletion does not say what it was."""
        return self.match(path) or self.match(path, True)

    def must_match(self, path: str) -> bool:
        """Tell whether it is one whatever it is."""
        return self.match(path) and self.match(path, True)


def needle(text: bytes) -> bytes:
    """Return a part of a name as lines of JSON spell it."""
    decoded = text.decode("utf-8", "surrogateescape")
    return encode_basestring(decoded)[1:-1].encode("utf-8", "surrogateescape")
