# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of properties: what a playbook says, what OpenZFS prints, and when both mean the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ArgumentError

_NATIVE = re.compile(r"[a-z][a-z0-9_]*([@][A-Za-z0-9_.:-]+)?")
_USER = re.compile(r"(?=[^:]*:)[a-z0-9][a-z0-9:+._-]*")
_MAX_VALUE = 8191
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([kmgtpez]?)(?:i?b)?", re.IGNORECASE)
_UNITS = "_kmgtpez"

# Zero is no limit in these; a limit of zero in others (filesystem_limit).
_NONE_IS_ZERO = ("quota", "refquota", "reservation", "refreservation")
_QUOTA_OF = re.compile(r"(user|group|project)(obj)?quota@.+")

_TEXTS = ("comment", "compatibility", "mountpoint", "keylocation", "sharenfs", "sharesmb")

# OpenZFS takes the first and prints the second.
_ALIASES = {
    ("acltype", "posixacl"): "posix",
    ("acltype", "noacl"): "off",
    ("aclinherit", "secure"): "restricted",
    ("encryption", "on"): "aes-256-gcm",
    ("compression", "gzip-6"): "gzip",
    ("compression", "zstd-fast-1"): "zstd-fast",
    ("volmode", "geom"): "full",
}
_SINCE_2_3 = {("xattr", "sa"): "on"}

Values = dict[str, str]


def is_user_property(name: str) -> bool:
    """Tell whether a property has no meaning to OpenZFS."""
    return ":" in name.partition("@")[0]


def check_name(name: str) -> str:
    """Return ``name``, or raise :class:`ArgumentError` unless a property may be called so."""
    if not (_USER if is_user_property(name) else _NATIVE).fullmatch(name):
        raise ArgumentError("this is no name of a property", object=name)
    return name


def texts(wanted: Mapping[str, object]) -> Values:
    """Return declared values as OpenZFS takes them. Raises :class:`ArgumentError`.

    YAML's booleans are ``on`` and ``off``; lists, mappings and nothing are refused.
    """
    found = {}
    for name, value in wanted.items():
        if isinstance(value, bool):
            text = "on" if value else "off"
        elif isinstance(value, (str, int, float)):
            text = str(value)
        else:
            raise ArgumentError("a property's value is a string or a number", object=name)
        if not text or len(text.encode()) > _MAX_VALUE or not text.isprintable():
            raise ArgumentError(
                f"a property's value is on one line and has 1 to {_MAX_VALUE} bytes", object=name
            )
        found[check_name(name)] = text
    return found


def argument(name: str, text: str) -> str:
    """Return ``name=value`` for a command that sets it; OpenZFS wants quotas of 0 as ``none``."""
    if _zero_is_none(name) and number(text) == 0:
        text = "none"
    return f"{name}={text}"


def same(name: str, wanted: str, found: str, version: tuple[int, int] = (2, 3)) -> bool:
    """Tell whether a declared value is the one that OpenZFS ``version`` prints with ``-p``."""
    if wanted == found:
        return True
    if is_user_property(name) or name in _TEXTS:
        return False
    if _zero_is_none(name):
        wanted, found = (("0" if text == "none" else text) for text in (wanted, found))
    if name.startswith("feature@"):
        return (wanted, found) == ("enabled", "active")
    left, right = number(wanted), number(found)
    if left is not None and right is not None:
        return left == right
    aliases = {**_ALIASES, **_SINCE_2_3} if version >= (2, 3) else _ALIASES
    return aliases.get((name, wanted), wanted) == aliases.get((name, found), found)


def number(text: str) -> float | None:
    """Return what ``1M``, ``1.5GiB``, ``80%`` or ``1048576`` stand for, ``None`` for no number.

    OpenZFS cuts a fraction of a byte off, so ``1.2T`` is a whole number.
    """
    match = _NUMBER.fullmatch(text[:-1] if text.endswith("%") else text)
    if match is None:
        return None
    digits, unit = match.groups()
    shift = 10 * (_UNITS.index(unit.lower()) if unit else 0)
    if digits.isdigit():
        return int(digits) << shift
    return int(float(digits) * (1 << shift)) if shift else float(digits)


def _zero_is_none(name: str) -> bool:
    return name in _NONE_IS_ZERO or _QUOTA_OF.fullmatch(name) is not None
