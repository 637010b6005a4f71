# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The escapes of vis(3), with which mtree spells names."""

from __future__ import annotations

import re

# What bsdtar leaves as it is, without the glob characters, which mtree would take for a pattern,
# and without "$" and "%", which some versions of unvis take for more than themselves.
_SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!&'()+,-./:;<>@]^_`{|}~"
)
_SPELLED = [chr(byte).encode() if byte in _SAFE else b"\\%03o" % byte for byte in range(128)]
_SPELLED += [b"\\%03o" % byte for byte in range(128, 256)]
_PLAIN = re.compile(r"[A-Za-z0-9!&'()+,\-./:;<>@\]^_`{|}~]*")

_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|M-(.)|M\^(.)|\^(.)|([abfnrstvE\\#*?\[$ ]))?", re.S
)
_LETTERS = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"s": b" ",
    b"t": b"\t",
    b"v": b"\v",
    b"E": b"\x1b",
    b"$": b"",
}


class BadEscape(ValueError):
    """A backslash that does not start an escape."""


def vis(text: str) -> bytes:
    """Spell ``text`` in printable ASCII without spaces, every other byte as three octal digits."""
    if _PLAIN.fullmatch(text):
        return text.encode("ascii")
    return b"".join(map(_SPELLED.__getitem__, text.encode("utf-8")))


def unvis(data: bytes) -> bytes:
    """Read what any of vis(3)'s styles wrote, or raise :class:`BadEscape`."""
    if b"\\" not in data:
        return data
    return _ESCAPE.sub(_plain, data)


def _plain(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, meta, meta_control, control, letter = found.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    if meta is not None:
        return bytes([meta[0] | 0x80])
    if meta_control is not None:
        return bytes([_control(meta_control[0]) | 0x80])
    if control is not None:
        return bytes([_control(control[0])])
    value = int(octal, 8) if octal else int(hexadecimal, 16) if hexadecimal else -1
    if not 0 <= value < 256:
        raise BadEscape("an unknown escape in a name")
    return bytes([value])


def _control(byte: int) -> int:
    return 0x7F if byte == ord("?") else byte & 0x1F
