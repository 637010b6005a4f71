# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots to keep: rules over the times and messages of all of them. Pure functions.

Every rule is for itself, and a snapshot stays that any of them keeps. Calendar rules keep the newest
snapshot of each of the last N hours (days, …) in which there is one, by UTC; where there are fewer
than N, the oldest snapshot of all stays as well, so that a long history does not begin with a gap.
``within`` counts back from the time of the newest snapshot: a repository that nobody publishes to any
more keeps what it has. Only where that time has not come yet, by the clock of who prunes, it counts
back from now: a clock that was ahead must not make everything else look old. The newest snapshot, which
is the one with the highest number, always stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..errors import ArgumentError, ManifestError

ALL = -1
"""Instead of a number: every hour, day, …"""
REGEX = "re:"
"""How a pattern begins that is a regular expression; others are globs."""

_WITHIN = re.compile(r"(?=.)(?:(\d{1,4})y)?(?:(\d{1,4})m)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Not within a word, nor the fragment of an address.
_HASHED = re.compile(r"(?<![\w#&/])#([\w.-]+)")


class Keep(NamedTuple):
    """Rules. Numbers are of snapshots, hours, days and so on: 0 for none, :data:`ALL` for every one.

    ``within`` is a time as ``1y6m7d12h``. ``messages`` are patterns for the whole message (globs), or
    for a part of it (``re:`` and a regular expression). ``tags`` are words that stand in the message
    with a ``#`` in front, as :func:`tags` finds them.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str = ""
    messages: Sequence[str] = ()
    tags: Sequence[str] = ()

    def check(self) -> None:
        """Refuse rules that nobody can mean; without any, everything would go."""
        if not any(self):
            raise ArgumentError("no rule is given that keeps anything: give at least one")
        for name in ("last", *_CALENDAR):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < ALL:
                raise ArgumentError(
                    f"keep.{name} is a whole number from 0, or -1 for all of them",
                    object=repr(number),
                )
        if self.within and not _WITHIN.fullmatch(self.within):
            raise ArgumentError(
                "keep.within is a time such as 36h, 14d, 6m or 1y6m (hours, days, months, years)",
                object=self.within,
            )
        for pattern in self.messages:
            _matcher(pattern)
        for tag in self.tags:
            if not _TAG.fullmatch(tag):
                raise ArgumentError(
                    "a tag has letters, digits, '.', '_' and '-', without the '#'", object=tag
                )


class Candidate(NamedTuple):
    """A snapshot as the rules see it; ``created_at`` as in manifests, ``2026-11-20T22:41:00Z``."""

    number: int
    created_at: str
    message: str


def reasons(
    candidates: Sequence[Candidate], keep: Keep, now: datetime = datetime.max
) -> dict[int, list[str]]:
    """Return why each snapshot is kept, by number; an empty list: no rule keeps it.

    Times come from the clocks of those who published. One of the future, behind ``now`` (UTC), must
    not make everything else look old.
    """
    newest_first = sorted(candidates, key=lambda one: one.number, reverse=True)
    found: dict[int, list[str]] = {one.number: [] for one in newest_first}
    if newest_first:
        for number, reason in _said(newest_first, keep, now):
            found[number].append(reason)
    return found


def _said(
    newest_first: Sequence[Candidate], keep: Keep, now: datetime
) -> Iterator[tuple[int, str]]:
    yield newest_first[0].number, "newest"
    times = {one.number: _time(one) for one in newest_first}
    last = newest_first if keep.last == ALL else newest_first[: keep.last]
    yield from ((one.number, "last") for one in last)
    for name, period in _CALENDAR.items():
        yield from _by_calendar(newest_first, times, name, period, getattr(keep, name))
    if keep.within:
        since = _before(min(times[newest_first[0].number], now), keep.within)
        yield from (
            (one.number, f"within {keep.within}")
            for one in newest_first
            if times[one.number] >= since
        )
    for pattern in keep.messages:
        matches = _matcher(pattern)
        yield from (
            (one.number, f"message {pattern}") for one in newest_first if matches(one.message)
        )
    for tag in keep.tags:
        yield from ((one.number, f"tag {tag}") for one in newest_first if tag in tags(one.message))


def tags(message: str) -> set[str]:
    """Return the words of a message that have a ``#`` in front.

    Punctuation around them is none of theirs: ``(#release)``, ``#release,``. A word that ends with some
    that tags may hold is found with it and without (``#v2.``), as both may be meant.
    """
    words = _HASHED.findall(message)
    found = {*words, *(word.rstrip("._-") for word in words)}
    return {word for word in found if _TAG.fullmatch(word)}


Period = Callable[[datetime], tuple[int, ...]]

_CALENDAR: Mapping[str, Period] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: tuple(time.isocalendar())[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}


def _by_calendar(
    newest_first: Sequence[Candidate],
    times: Mapping[int, datetime],
    name: str,
    period: Period,
    number: int,
) -> Iterator[tuple[int, str]]:
    if not number:
        return
    seen: set[tuple[int, ...]] = set()
    for one in newest_first:
        key = period(times[one.number])
        if key not in seen and (number == ALL or len(seen) < number):
            seen.add(key)
            yield one.number, name
    if number != ALL and len(seen) < number:
        yield newest_first[-1].number, f"oldest, {name}"


def _time(one: Candidate) -> datetime:
    # Not strptime: this is for thousands of them, and it imports what nothing else needs.
    try:
        date, _unused, time = one.created_at.rstrip("Z").partition("T")
        return datetime(*map(int, (*date.split("-"), *time.split(":"))))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise ManifestError(
            f"the time of the snapshot is none: {one.created_at!r}", object=f"s{one.number}"
        ) from None


def _before(time: datetime, within: str) -> datetime:
    """Return the moment that many years, months, days and hours before; the calendar's start at most."""
    match = _WITHIN.fullmatch(within)
    years, months, days, hours = (int(text or 0) for text in match.groups()) if match else (0,) * 4
    month = time.year * 12 + time.month - 1 - years * 12 - months
    if month < 12:
        return datetime.min
    year, index = divmod(month, 12)
    start = time.replace(year=year, month=index + 1, day=1)
    try:
        # A day that the month does not have is its last one, as on a calendar.
        following = (start + timedelta(days=31)).replace(day=1)
        day = min(time.day, (following - start).days)
        return start.replace(day=day) - timedelta(days=days, hours=hours)
    except OverflowError:
        return datetime.min


def _matcher(pattern: str) -> Callable[[str], bool]:
    if not pattern.startswith(REGEX):
        return lambda message: fnmatchcase(message, pattern)
    try:
        expression = re.compile(pattern[len(REGEX) :])
    except re.error as exc:
        raise ArgumentError(f"this is no regular expression: {exc}", object=pattern) from None
    return lambda message: expression.search(message) is not None
