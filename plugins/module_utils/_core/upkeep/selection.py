# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which paths of a tree are meant: files, directories with all they hold, and patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from re import Pattern

from ..errors import ArgumentError
from ..manifest.paths import show
from ..manifest.wildmatch import compile_globs, parse_glob

_WILD = frozenset("*?[")

_LOOK = "Look at what the snapshot holds, and correct the paths."
_NO_EXCEPTIONS = (
    "Paths are what is wanted, and '!' makes no exception of one: name those that are wanted alone."
)
_NO_END = (
    "A set ends with ']', as in 'a[bc]d', and a '\\' has to stand before something. Write '[[]' where "
    "the character '[' itself is meant."
)


class Selection:
    """``paths`` relative to the tree's root; without any, everything is meant.

    A path is itself and whatever lies below it. With ``*``, ``?`` or ``[…]`` it is a pattern for whole
    paths, where ``**`` crosses directories; a name that holds such characters is found by itself, too.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self.paths = [_checked(path) for path in paths]
        self._names = frozenset(self.paths)
        self._globs = [(path, _compiled(path)) for path in self.paths if not _WILD.isdisjoint(path)]

    def covers(self, path: str) -> bool:
        """Tell whether a path is meant."""
        return not self.paths or any(self._matches(one) for one in _with_parents(path))

    def _matches(self, path: str) -> bool:
        data = path.encode()
        return path in self._names or any(glob.fullmatch(data) for _unused, glob in self._globs)

    def require_all(self, paths: Iterable[str], where: str) -> None:
        """Refuse a selection of which a part means nothing: it is a mistake rather than a wish."""
        left = dict.fromkeys(self.paths)
        globs = dict(self._globs)
        for path in paths:
            for one in _with_parents(path):
                left.pop(one, None)
                for pattern in [text for text in left if text in globs]:
                    if globs[pattern].fullmatch(one.encode()):
                        del left[pattern]
            if not left:
                return
        if left:
            first = next(iter(left))
            raise ArgumentError(
                f"{where} has nothing of that name",
                object=first,
                details=list(left)[1:20],
                next_step=_NO_EXCEPTIONS if first.startswith("!") else _LOOK,
            )


def _checked(path: str) -> str:
    plain = path.rstrip("/")
    parts = plain.split("/")
    if not plain or "\0" in plain or any(part in ("", ".", "..") for part in parts):
        raise ArgumentError(
            "a path is relative to the root of the tree, without '.' and '..'",
            object=show(path),
            next_step=_instead(parts),
        )
    return plain


def _instead(parts: Sequence[str]) -> str:
    """Say how to write what was probably meant: elsewhere patterns are those of .gitignore."""
    names = [part for part in parts if part not in ("", ".")]
    wanted = "/".join(names)
    if ".." in names or "\0" in wanted:
        return "Name it from the root of the tree on, as 'chapters/backup.md'."
    if not names:
        return "Give no paths at all where the whole tree is meant."
    return f"Write {show(wanted)} instead."


def _compiled(pattern: str) -> Pattern[bytes]:
    glob = parse_glob(f"/{pattern}")
    compiled = None if glob.tokens is None else compile_globs([glob])
    if compiled is None:
        raise ArgumentError("this pattern can match nothing", object=pattern, next_step=_NO_END)
    return compiled


def _with_parents(path: str) -> list[str]:
    found = [path]
    while "/" in path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found
