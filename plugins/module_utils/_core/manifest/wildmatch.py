# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""git's wildcard matching, translated to regular expressions over the bytes of a path."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from re import Pattern
from typing import NamedTuple, Union

STAR = "*"
"""Any bytes but slashes."""
TREE_SLASH = "**/"
"""Nothing, or anything that ends in a slash."""
TREE = "**"
"""Anything."""

# A literal byte, one of the wildcards above, or the bytes that a single position may hold.
Token = Union[int, str, bytes]

_ANY_BYTE = bytes(byte for byte in range(256) if byte != ord("/"))
_SPECIAL = frozenset(b"*?[\\")

_ASCII = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, range(32))) + "\x7f",
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}
_CLASSES = {name.encode(): text.encode() for name, text in _ASCII.items()}


class Glob(NamedTuple):
    """One pattern. ``anchored``: to match the whole path, else the last component only.

    ``tokens`` is None where the pattern is malformed and so matches nothing. ``literal`` is the only
    text that it matches, ``ending`` what the text must end with, where it is as simple as that.
    """

    anchored: bool
    tokens: tuple[Token, ...] | None
    literal: str | None = None
    ending: str | None = None


def parse_glob(body: str) -> Glob:
    """Parse a pattern of git's, without its ``!`` in front and slash at the end."""
    anchored = "/" in body
    data = body[1:] if body.startswith("/") else body
    tokens = _tokens(data.encode("utf-8", "surrogateescape"), anchored)
    if tokens is None:
        return Glob(anchored, None)
    literal = _literal(tokens)
    if literal is None and not anchored and tokens[0] == STAR:
        return Glob(anchored, tuple(tokens), ending=_literal(tokens[1:]))
    return Glob(anchored, tuple(tokens), literal)


def compile_globs(globs: Sequence[Glob]) -> Pattern[bytes] | None:
    """Return one expression that fully matches what any of ``globs`` matches; None for none."""
    if not globs:
        return None
    numbers = _Numbers()
    return re.compile(
        "|".join(_regex(g.tokens or (), numbers) for g in globs).encode("latin-1"), re.S
    )


def longest_text(glob: Glob) -> bytes:
    """Return the longest run of bytes that whatever the pattern matches must hold."""
    best = run = b""
    for token in glob.tokens or ():
        run = run + bytes((token,)) if isinstance(token, int) else b""
        best = max(best, run, key=len)
    return best


def _literal(tokens: Sequence[Token]) -> str | None:
    values = [token for token in tokens if isinstance(token, int)]
    if len(values) != len(tokens):
        return None
    return bytes(values).decode("utf-8", "surrogateescape")


# --- Reading a pattern ---


def _tokens(data: bytes, anchored: bool) -> list[Token] | None:
    """Return the tokens of a pattern, or None when it is malformed."""
    tokens: list[Token] = []
    # git compares the literal start apart, and forgets it before it looks for a "**" at the start.
    start = next((at for at, byte in enumerate(data) if byte in _SPECIAL), len(data))
    at = 0
    while at < len(data):
        byte = data[at : at + 1]
        if byte == b"*":
            token, at = _star(data, at, at == start, anchored)
            tokens.append(token)
        elif byte == b"?":
            tokens.append(_ANY_BYTE)
            at += 1
        elif byte == b"[":
            found = _bracket(data, at + 1)
            if found is None:
                return None
            tokens.append(found[0])
            at = found[1]
        else:
            at += byte == b"\\"
            if at == len(data):
                return None
            tokens.append(data[at])
            at += 1
    return tokens


def _star(data: bytes, at: int, first: bool, anchored: bool) -> tuple[Token, int]:
    """Return the token for the asterisks at ``at``, and where the pattern goes on."""
    end = at
    while data[end : end + 1] == b"*":
        end += 1
    starts = first or data[at - 1 : at] == b"/"
    if not anchored or end - at < 2 or not starts:
        return STAR, end
    if data[end : end + 1] == b"/":
        return TREE_SLASH, end + 1
    if end == len(data) or data[end : end + 2] == b"\\/":
        return TREE, end
    return STAR, end


def _bracket(data: bytes, at: int) -> tuple[bytes, int] | None:
    """Read a set of bytes whose ``[`` is before ``at``; return it and where the pattern goes on."""
    negated = data[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    previous: int | None = None  # what a range may start from
    first = True
    while first or data[at : at + 1] != b"]":
        first = False
        item = _bracket_item(data, at, previous, members)
        if item is None:
            return None
        previous, at = item
    if negated:
        members = set(range(256)) - members
    return bytes(sorted(members - {ord("/")})), at + 1


def _bracket_item(
    data: bytes, at: int, previous: int | None, members: set[int]
) -> tuple[int | None, int] | None:
    """Add one character, range or class to ``members``; None when the pattern ends too early."""
    if at >= len(data):
        return None
    byte = data[at : at + 1]
    if byte == b"-" and previous and data[at + 1 : at + 2] not in (b"", b"]"):
        at += 1 + (data[at + 1 : at + 2] == b"\\")
        if at >= len(data):
            return None
        members.update(range(previous, data[at] + 1))
        return None, at + 1
    if data[at : at + 2] == b"[:":
        end = data.find(b"]", at + 2)
        if end < 0:
            return None
        if end > at + 2 and data[end - 1 : end] == b":":
            known = _CLASSES.get(data[at + 2 : end - 1])
            if known is None:
                return None
            members.update(known)
            return None, end + 1
    at += byte == b"\\"
    if at >= len(data):
        return None
    members.add(data[at])
    return data[at], at + 1


# --- Writing an expression ---


class _Numbers:
    """Hands out the numbers of the groups of one expression."""

    def __init__(self) -> None:
        self.last = 0

    def once(self, regex: str) -> str:
        """Wrap ``regex`` so that its first match is final: no backtracking into it.

        The first place where a part fits between two stars is as good as any later one, and
        without the wrap a pattern of many stars could take hours.
        """
        self.last += 1
        return f"(?=({regex}))\\{self.last}(?:)"


def _regex(tokens: Sequence[Token], numbers: _Numbers) -> str:
    """Return the expression for ``tokens``, as text whose characters stand for bytes."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token in (TREE, TREE_SLASH):
            parts.append([])
        parts[-1].append(token)
    pieces = []
    for index, part in enumerate(parts):
        middle = 0 < index < len(parts) - 1
        if not middle:
            pieces.append(_part_regex(part, numbers, lazy=False))
        else:
            numbers.last += 1
            own = numbers.last
            pieces.append(f"(?=({_part_regex(part, numbers, lazy=True)}))\\{own}(?:)")
    return "(?:" + "".join(pieces) + ")"


def _part_regex(part: Sequence[Token], numbers: _Numbers, lazy: bool) -> str:
    """Return the expression for a leading ``**`` or ``**/``, if any, and what follows it."""
    front = ""
    if part and part[0] == TREE_SLASH:
        front = "(?:.*?/)??" if lazy else "(?:.*/)?"
    elif part and part[0] == TREE:
        front = ".*?" if lazy else ".*"
    return front + _components_regex(part[1:] if front else part, numbers)


def _components_regex(tokens: Sequence[Token], numbers: _Numbers) -> str:
    out: list[str] = []
    at = 0
    while at < len(tokens):
        if tokens[at] != STAR:
            out.append(_byte_regex(tokens[at]))
            at += 1
            continue
        end = at + 1
        while end < len(tokens) and tokens[end] not in (STAR, ord("/")):
            end += 1
        fixed = "".join(map(_byte_regex, tokens[at + 1 : end]))
        if end < len(tokens) and tokens[end] == STAR:
            out.append(numbers.once(f"[^/]*?{fixed}"))
        else:
            out.append(f"[^/]*{fixed}")
        at = end
    return "".join(out)


def _byte_regex(token: Token) -> str:
    if isinstance(token, int):
        return re.escape(chr(token))
    if token is _ANY_BYTE:
        return "[^/]"
    if not isinstance(token, bytes):
        raise TypeError(f"a star has no expression of its own: {token!r}")
    if not token:
        return "(?!)"
    return "[" + "".join(f"\\x{byte:02x}" for byte in token) + "]"
