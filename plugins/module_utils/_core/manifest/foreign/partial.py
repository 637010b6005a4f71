# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a foreign manifest tells of a tree, which may be less than there is to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from ...errors import ManifestError, PathError, capped
from ..entry import FILE, LINK, Entry
from ..paths import check_paths, link_problems, problems, show

ALL_FIELDS = frozenset(("sha256", "size", "mode", "mtime_ns"))
"""The fields of files that a form may carry."""
MAX_LINE = 1 << 16
"""Longest line that is read, in bytes: two paths of 4096 bytes, each byte escaped as four."""


class Partial(NamedTuple):
    """Entries read from a foreign form, sorted by path.

    ``kinds`` are the kinds of entries that the form could have listed, ``fields`` the fields that
    it gives for *every* file in it. The others hold 0 or "" and mean nothing, as ``user`` does.
    """

    entries: list[Entry]
    kinds: frozenset[str]
    fields: frozenset[str]


class Differences(NamedTuple):
    """How a tree differs from what a manifest says. All lists are sorted by path."""

    missing: list[str]
    added: list[str]
    changed: list[tuple[str, tuple[str, ...]]]
    """Path and the fields that differ: "type", "target", or fields of files."""
    unchecked: list[str]
    """Entries of kinds that the form cannot list, so that nothing can be said about them."""

    @property
    def equal(self) -> bool:
        """Tell whether nothing differs, as far as the form can tell."""
        return not (self.missing or self.added or self.changed)


def compare(expected: Partial, found: Iterable[Entry]) -> Differences:
    """Compare what a manifest says with the entries found in a tree, in the fields it carries."""
    wanted = {entry.path: entry for entry in expected.entries}
    result = Differences([], [], [], [])
    for entry in sorted(found, key=lambda entry: entry.path):
        other = wanted.pop(entry.path, None)
        if other is not None:
            fields = tuple(_differing(other, entry, expected.fields))
            if fields:
                result.changed.append((entry.path, fields))
        elif entry.kind in expected.kinds:
            result.added.append(entry.path)
        else:
            result.unchecked.append(entry.path)
    result.missing.extend(sorted(wanted))
    return result


def _differing(expected: Entry, found: Entry, fields: frozenset[str]) -> Iterator[str]:
    if expected.kind != found.kind:
        yield "type"
    elif expected.kind == LINK and expected.target != found.target:
        yield "target"
    elif expected.kind == FILE:
        for field in sorted(fields):
            if getattr(expected, field) != getattr(found, field):
                yield field


def malformed(number: int, problem: str, name: str) -> ManifestError:
    """Return the error for line ``number`` of the manifest ``name``."""
    return ManifestError(f"line {number}: {problem}", object=name)


def lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield ``(number, line without its end)``; the last line must be whole as well."""
    number = 0
    while True:
        line = file.readline(MAX_LINE + 1)
        if not line:
            return
        number += 1
        if not line.endswith(b"\n"):
            long = len(line) > MAX_LINE
            raise malformed(number, f"the line is {'too long' if long else 'cut off'}", name)
        if b"\0" in line:
            raise malformed(number, "the line holds a NUL byte", name)
        yield number, line[:-2] if line.endswith(b"\r\n") else line[:-1]


def decode(data: bytes, number: int, name: str) -> str:
    """Return ``data`` as text, or raise :class:`ManifestError` if it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed(number, "not valid UTF-8", name) from None


def finish(
    entries: Sequence[Entry], numbers: Mapping[str, int], name: str, limits: Partial
) -> Partial:
    """Sort and check ``entries``; ``numbers`` tells each path's line, ``limits`` kinds and fields.

    Raises :class:`ManifestError` where paths or link targets break the rules.
    """
    paths = [entry.path for entry in entries]
    try:
        check_paths(paths)
        found = []
    except PathError:
        found = problems(paths)
    found += link_problems((entry.path, entry.target) for entry in entries if entry.kind == LINK)
    if found:
        # The first finding may name two paths: the later line is the one that broke the rule.
        named = [number for path, number in numbers.items() if show(path) in found[0]]
        raise ManifestError(
            f"line {max(named, default=0)}: a path breaks the path rules",
            object=name,
            details=capped(found),
        )
    return limits._replace(entries=sorted(entries, key=lambda entry: entry.path))
