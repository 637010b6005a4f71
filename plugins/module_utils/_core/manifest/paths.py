# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path rules: which names and link targets a tree may hold.

Whole trees are checked at once. A tree that keeps every rule, which is nearly every tree, is told by
a handful of passes in C over all its paths; only a tree that breaks one is looked at path by path.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ..errors import PathError, capped

NAME_MAX = 255
"""Longest component, in bytes of UTF-8."""
PATH_MAX = 4096
"""Longest path, in bytes of UTF-8."""
TARGET_MAX = 4095
"""Longest text of a symbolic link, in bytes of UTF-8."""
RESERVED = frozenset((".dsg", ".zfs"))
"""Components that are never content, in any case."""

_SURROGATES = re.compile("[\ud800-\udfff]")
# Control characters (Cc), those that turn the direction of writing, line and paragraph separators.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def fold(path: str) -> str:
    """Return the key under which two names collide: canonical caseless matching of Unicode (D145)."""
    if path.isascii():
        return path.lower()
    normalize = unicodedata.normalize
    return normalize("NFD", normalize("NFD", path).casefold())


def check_paths(paths: Sequence[str]) -> None:
    """Raise :class:`PathError` unless ``paths``, the entries of one tree, keep every path rule.

    All entries are files, links or empty directories, so none may be the parent of another.
    The error lists up to :data:`~..errors.DETAILS` findings, each with its path.
    """
    if not is_plain(paths):
        _raise(problems(paths))


def is_plain(paths: Sequence[str]) -> bool:
    """Tell quickly whether ``paths`` keep every path rule; False only means: take a closer look."""
    return _names_are_plain(paths) and _tree_is_plain(paths)


def problems(paths: Sequence[str]) -> list[str]:
    """Return one readable line per broken rule, for all of ``paths`` (the entries of one tree).

    Paths may come straight from the file system, with undecodable bytes as surrogates.
    """
    found = [f"{show(path)}: {rule}" for path in paths for rule in _broken_rules(path)]
    found.extend(_tree_problems(paths))
    return found


def check_link(path: str, target: str) -> None:
    """Raise :class:`PathError` unless the link at ``path`` may hold the text ``target``."""
    _raise(link_problems([(path, target)]))


def check_links(links: Iterable[tuple[str, str]]) -> None:
    """Raise :class:`PathError` unless every ``(path, target)`` may be a link of the tree."""
    _raise(link_problems(links))


def link_problems(links: Iterable[tuple[str, str]]) -> list[str]:
    """Return one readable line per broken rule, for all ``(path, target)`` pairs.

    ``.`` components, repeated and trailing slashes are harmless and allowed, and so is a link to
    the tree's own root. ``..`` is allowed at the front only, where it is the parent of the real
    directory that holds the link: behind a name it would be the parent of whatever that name
    leads to, and so could climb out by way of another link.
    """
    return [
        f"{show(path)} -> {show(target)}: {rule}"
        for path, target in links
        for rule in _broken_link_rules(path, target)
    ]


def show(path: str) -> str:
    """Return ``path`` quoted, with everything that does not print as itself escaped."""
    if unicodedata.is_normalized("NFC", path):
        return repr(path)
    return ascii(path)  # else it would look like its normalised twin


def _raise(found: list[str]) -> None:
    if not found:
        return
    number = "One finding breaks" if len(found) == 1 else f"{len(found)} findings break"
    raise PathError(f"{number} the path rules.", details=capped(found))


# --- The quick way: "yes" is certain, "no" only means that it takes a closer look. ---


def _names_are_plain(paths: Sequence[str]) -> bool:
    """Tell whether every single path keeps the rules, by looking at all of them as one text."""
    if not paths:
        return True
    text = "/" + "/".join(paths) + "/"
    if "//" in text or "/./" in text or "/../" in text:
        return False
    # 255 characters of UTF-8 take at most 1020 bytes, so long paths alone decide about bytes.
    if text.isascii():
        longest = NAME_MAX
    else:
        longest = NAME_MAX // 4
        if not _characters_are_plain(text):
            return False
    if "/." in text and _has_reserved_component(text):
        return False
    if text.isascii() and not text.isprintable():
        return False
    if max(map(len, paths)) <= longest:
        return True
    return not any(_too_long(path) for path in paths if len(path) > longest)


def _characters_are_plain(text: str) -> bool:
    if not text.isprintable() and (_UNSAFE.search(text) or _SURROGATES.search(text)):
        return False
    # No character composes with "/", so the whole is in NFC exactly when each component is.
    return unicodedata.is_normalized("NFC", text)


def _has_reserved_component(text: str) -> bool:
    folded = fold(text)
    return any(f"/{name}/" in folded for name in RESERVED)


def _tree_is_plain(paths: Sequence[str]) -> bool:
    """Tell whether no two paths are the same, collide, or are file and parent at once."""
    entries = set(paths)
    if len(entries) != len(paths):
        return False
    parents = _all_parents(paths)  # of the list: going through a large set in its order is slow
    if not entries.isdisjoint(parents):
        return False
    nodes = [*paths, *parents]
    folded = _fold_all(nodes)
    return folded is nodes or len(set(folded)) == len(nodes)


def _fold_all(names: list[str]) -> list[str]:
    """Fold many names, none of which holds a line feed, as one text; ``names`` itself if all are."""
    text = "\n".join(names)
    if text.isascii():
        folded = text.lower()
        return names if folded == text else folded.split("\n")
    others = [name for name in names if not name.isascii()]
    plain = [name for name in names if name.isascii()]
    return "\n".join(plain).lower().split("\n")[: len(plain)] + fold("\n".join(others)).split("\n")


def _all_parents(paths: Iterable[str]) -> set[str]:
    """Return every directory that holds one of ``paths``, at any depth, without the root."""
    fresh = {path.rpartition("/")[0] for path in paths}
    known: set[str] = set()
    while fresh:
        known |= fresh
        fresh = {path.rpartition("/")[0] for path in fresh} - known
    known.discard("")
    return known


# --- The thorough way: names every broken rule. ---


def _broken_rules(path: str) -> Iterator[str]:
    if not path:
        yield "the path is empty"
        return
    if path.startswith("/"):
        yield "the path is absolute"
    components = path.split("/")
    if path != "/" and (path.endswith("/") or "" in components[1:-1]):
        yield "a component is empty (doubled or trailing slash)"
    if "." in components or ".." in components:
        yield "'.' and '..' are not allowed as components"
    yield from _broken_text_rules(path)
    if not _SURROGATES.search(path) and not unicodedata.is_normalized("NFC", path):
        yield "not in Unicode normalisation form NFC"
    yield from _reserved_rule(components)
    if _too_long(path):
        yield f"longer than {NAME_MAX} bytes in a component or {PATH_MAX} bytes in all"


def _broken_text_rules(text: str) -> Iterator[str]:
    if _SURROGATES.search(text):
        yield "not valid UTF-8"
    unsafe = _UNSAFE.search(text)
    if unsafe:
        yield f"holds a control or direction character (U+{ord(unsafe.group()):04X})"


def _reserved_rule(components: Sequence[str]) -> Iterator[str]:
    for component in components:
        if component.startswith(".") and fold(component) in RESERVED:
            yield f"{show(component)} is reserved and never content"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _too_long(path: str) -> bool:
    return _size(path) > PATH_MAX or max(map(_size, path.split("/"))) > NAME_MAX


def _tree_problems(paths: Sequence[str]) -> Iterator[str]:
    """Yield duplicates, entries that are parents too, and collisions of entries or directories."""
    holders = _first_holders(paths)
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            yield f"{show(path)}: listed more than once"
        elif path in holders:
            yield f"{show(path)}: an entry, and also the directory of {show(holders[path])}"
        seen.add(path)
    yield from _collisions(seen, holders)


def _first_holders(paths: Iterable[str]) -> dict[str, str]:
    """Map every directory to the first path that lies in it, as witness for a message."""
    holders: dict[str, str] = {}
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in holders:
            holders[parent] = path
            parent = parent.rpartition("/")[0]
    return holders


def _collisions(entries: set[str], holders: dict[str, str]) -> Iterator[str]:
    first: dict[str, str] = {}
    for node in sorted(entries.union(holders)):
        other = first.setdefault(fold(node), node)
        # Beneath two directories that collide everything may collide: the topmost pair tells it.
        if other != node and other.rpartition("/")[0] == node.rpartition("/")[0]:
            yield (
                f"{_witness(node, holders)}: collides with {_witness(other, holders)}, "
                "which differs only in case or Unicode form"
            )


def _witness(node: str, holders: dict[str, str]) -> str:
    if node in holders:
        return f"{show(node)} (directory of {show(holders[node])})"
    return show(node)


def _broken_link_rules(path: str, target: str) -> Iterator[str]:
    if not target:
        yield "the link's target is empty"
        return
    if target.startswith("/"):
        yield "the link's target is absolute"
    if _size(target) > TARGET_MAX:
        yield f"the link's target is longer than {TARGET_MAX} bytes"
    yield from _broken_text_rules(target)
    names = [name for name in target.split("/") if name not in ("", ".")]
    yield from _reserved_rule(names)
    up = 0
    while up < len(names) and names[up] == "..":
        up += 1
    if ".." in names[up:]:
        yield "'..' is allowed only at the front of a link's target"
    if up > path.count("/"):
        yield "the link leaves the tree"
