# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Portable names: what a name would have to be to exist on every usual system, and whole trees of them.

Pure functions. A portable name is valid UTF-8 in NFC without control and direction characters, without
``< > : " | ? * \\``, does not end with a dot or a space, is none that Windows reserves for devices, and
has at most 255 bytes. No two names of a directory differ only in case or Unicode form.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from .paths import NAME_MAX, RESERVED, fold, is_plain

_DEVICES = ("con", "prn", "aux", "nul", "conin$", "conout$", "clock$")
_PORTS = tuple(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")
_WINDOWS = frozenset(_DEVICES + _PORTS)
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    '<>:"|?*\\\\]'
)
# In all paths of a tree as one text. "Yes" only means that it takes a closer look.
_SUSPICIOUS = re.compile(
    '[<>:"|?*\\\\]|[ .]/|/(?:con|prn|aux|nul|conin\\$|conout\\$|clock\\$|(?:com|lpt)[0-9¹²³]) *[./]',
    re.IGNORECASE,
)
_EXTENSION = 32
"""Bytes; what is longer behind a dot is no extension to be kept when a name is shortened."""
_TRIES = 10_000
_LINKS = 40
"""So many links are followed on the way to a link's target, as the kernel does."""


class Rename(NamedTuple):
    """A file, link or directory that gets another name; both are full paths relative to the tree.

    ``new`` has the new names of its parents too.
    """

    old: str
    new: str


class Retarget(NamedTuple):
    """A link (``path`` is its new path) whose text follows what was renamed."""

    path: str
    old: str
    new: str


class Names(NamedTuple):
    """What makes the names of a tree portable; nothing where they are.

    ``renames`` lists what gets another name of its own, parents first. ``moved`` maps the old path of
    everything that has another path then, be it only by a parent's name, to the new one.
    """

    renames: Sequence[Rename]
    retargets: Sequence[Retarget]
    moved: Mapping[str, str]

    def __bool__(self) -> bool:
        """Tell whether anything is to be renamed."""
        return bool(self.renames)

    def sources(self) -> dict[str, str]:
        """Return new path → old path of everything that has another path then."""
        return {new: old for old, new in self.moved.items()}


def unchanged() -> Names:
    """Return what leaves every name as it is."""
    return Names((), (), {})


def portable_name(name: str) -> str:
    """Return the portable name that is nearest to ``name``, which may hold undecodable bytes."""
    text = name
    while True:
        before = text
        text = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", text.replace("/", "_")))
        text = _shortened(_FORBIDDEN.sub("_", text), NAME_MAX).rstrip(" .") or "_"
        text = _unreserved(text)
        if text == before:
            return text


def _unreserved(name: str) -> str:
    base, dot, rest = name.partition(".")
    if base.rstrip(" ").lower() in _WINDOWS:
        return f"{base.rstrip(' ')}_{dot}{rest}"
    return f"{name}_" if fold(name) in RESERVED else name


def _shortened(name: str, size: int) -> str:
    """Return the name with at most ``size`` bytes; a usual extension is kept."""
    if len(name.encode("utf-8", "surrogatepass")) <= size:
        return name
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > _EXTENSION:
        stem, extension = name, ""
    return stem.encode()[: size - len(extension.encode())].decode("utf-8", "ignore") + extension


def _numbered(name: str, number: int) -> str:
    """Return ``report-2.txt`` for ``report.txt``."""
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > _EXTENSION:
        stem, extension = name, ""
    ending = f"-{number}{extension}"
    return _shortened(stem, NAME_MAX - len(ending.encode())) + ending


def new_names(
    names: Iterable[str],
    *,
    established: Collection[str] = (),
    refused: Callable[[str, str], bool] = lambda name, new: False,
) -> dict[str, str]:
    """Return name → new name for those of one directory's names that cannot stay.

    Of names that exclude one another the one stays that is portable; among those one of ``established``
    (published already); then the first by its bytes. The others get a number. ``refused(name, new)``
    tells of a new name that cannot be taken. A name that is reserved for us is left as it is: it is
    nobody's content, and refused elsewhere. No name is found for more than some thousands that exclude
    one another; they are left as they are, too, and refused elsewhere.
    """
    wanted = {name: portable_name(name) for name in names if fold(name) not in RESERVED}
    order = sorted(
        wanted, key=lambda name: (wanted[name] != name, name not in established, os.fsencode(name))
    )
    used: set[str] = set()
    leaving = []
    for name in order:
        if wanted[name] == name and fold(name) not in used:
            used.add(fold(name))
        else:
            leaving.append(name)
    found: dict[str, str] = {}
    for name in leaving:
        for number in range(1, _TRIES):
            new = wanted[name] if number == 1 else _numbered(wanted[name], number)
            if fold(new) not in used and not refused(name, new):
                used.add(fold(new))
                found[name] = new
                break
    return found


def normalise(
    paths: Sequence[str],
    links: Mapping[str, str],
    *,
    established: Callable[[str], bool] = lambda path: False,
    refused: Callable[[str, str], bool] = lambda path, new: False,
) -> Names:
    """Return what makes the names of a tree portable.

    ``paths`` are its entries (files, links, empty directories), with undecodable bytes as surrogates;
    ``links`` the texts of its links. ``established(path)`` tells that a path is published already,
    ``refused(path, new)`` that something which is no entry has the new path, or may have it.
    """
    if is_plain(paths) and not _SUSPICIOUS.search("/" + "/".join(paths) + "/"):
        return unchanged()
    renames: list[Rename] = []
    moved: dict[str, str] = {}
    for directory, names in sorted(_children(paths).items()):
        prefix = f"{directory}/" if directory else ""
        new_prefix = f"{moved.get(directory, directory)}/" if directory else ""
        found = _new_names_in(prefix, new_prefix, names, established, refused)
        for name in sorted(names):
            new = new_prefix + found.get(name, name)
            if new != prefix + name:
                moved[prefix + name] = new
            if name in found:
                renames.append(Rename(prefix + name, new))
    return Names(renames, _retargets(links, moved), moved)


def _new_names_in(
    prefix: str,
    new_prefix: str,
    names: Collection[str],
    established: Callable[[str], bool],
    refused: Callable[[str, str], bool],
) -> dict[str, str]:
    return new_names(
        names,
        established={name for name in names if established(prefix + name)},
        refused=lambda name, new: refused(prefix + name, new_prefix + new),
    )


def _children(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return directory → the names in it, for every directory of the tree."""
    children: dict[str, set[str]] = {}
    for path in paths:
        while path:
            parent, _unused, name = path.rpartition("/")
            names = children.get(parent)
            if names is None:
                names = children[parent] = set()
            elif name in names:
                break
            names.add(name)
            path = parent
    return children


def _retargets(links: Mapping[str, str], moved: Mapping[str, str]) -> list[Retarget]:
    found = []
    for path, target in sorted(links.items()):
        new = _retargeted(path, target, links, moved)
        if new != target:
            found.append(Retarget(moved.get(path, path), target, new))
    return found


def _retargeted(path: str, target: str, links: Mapping[str, str], moved: Mapping[str, str]) -> str:
    """Return a link's text with the new names; names that are not in the tree stay."""
    if target.startswith("/"):
        return target
    parts = target.split("/")
    place: list[str] | None = path.split("/")[:-1]
    for i, part in enumerate(parts):
        if place is None:
            break
        if part not in ("", ".", ".."):
            node = "/".join([*place, part])
            parts[i] = moved.get(node, node).rpartition("/")[2]
        place = _step(place, part, links, _LINKS)
    return "/".join(parts)


def _step(place: list[str], part: str, links: Mapping[str, str], left: int) -> list[str] | None:
    """Return where a component leads from a directory, through links; None where nobody can tell."""
    if part in ("", "."):
        return place
    if part == "..":
        return place[:-1] if place else None
    target = links.get("/".join([*place, part]))
    if target is None:
        return [*place, part]
    if not left or target.startswith("/"):
        return None
    reached: list[str] | None = place
    for one in target.split("/"):
        reached = None if reached is None else _step(reached, one, links, left - 1)
    return reached
