# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ignore patterns, with the meaning that git gives to the lines of a .gitignore.

What git's own matcher does is what counts, beyond what its manual says: it looks at bytes, so that
``?`` is one byte of a name, and a ``**`` right behind the literal start of a pattern crosses slashes.
Patterns are compiled once; those without wildcards become set look-ups, those that only ask for an
ending become one ``str.endswith``, and the others one regular expression.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from re import Pattern
from typing import (
    NamedTuple,
)

from ..errors import ArgumentError, TreeError, from_oserror
from .wildmatch import Glob, compile_globs, longest_text, parse_glob

FILE_NAME = ".dsgignore"
"""The file at the root of a tree that holds patterns, one per line."""
SIZE_LIMIT = 1 << 20
"""Largest ignore file that is read, in bytes."""


class Ignore:
    """What a list of patterns excludes. False as a boolean when it excludes nothing.

    Each element of ``patterns`` is one line as in a .gitignore (or several, with line feeds); later
    ones override earlier ones. Raises :class:`ArgumentError` for a pattern that holds a NUL.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        rules = list(_parse(patterns))
        self.invalid: tuple[str, ...] = tuple(r.text for r in rules if r.glob.tokens is None)
        """Patterns that can match nothing (an open ``[``, a lone ``\\`` at the end), as in git."""
        usable = [rule for rule in rules if rule.glob.tokens is not None]
        self._rules = usable
        self.texts: tuple[bytes, ...] = tuple(longest_text(r.glob) for r in usable if r.ignored)
        """Whatever path is excluded holds one of these, in itself or in a directory that holds it."""
        self._for_files = _compile([rule for rule in usable if not rule.only_directories])
        self._for_directories = _compile(usable)
        self._directories: dict[str, bool] = {"": False}

    def __bool__(self) -> bool:
        return bool(self._for_directories)

    def match(self, path: str, is_dir: bool) -> bool:
        """Tell whether ``path`` itself is ignored, given that none of its parents is.

        A symbolic link is not a directory, whatever it leads to. ``path`` may hold undecodable
        bytes as surrogates.
        """
        for run in self._for_directories if is_dir else self._for_files:
            if run.matches(path):
                return run.ignored
        return False

    def covers(self, path: str, is_dir: bool) -> bool:
        """Tell whether ``path`` or any directory that holds it is ignored.

        What lies in an ignored directory cannot be included again.
        """
        return self._in_ignored(path.rpartition("/")[0]) or self.match(path, is_dir)

    def reason(self, path: str, is_dir: bool) -> str:
        """Return the pattern by which ``path`` or the topmost such directory is ignored; '' for none."""
        parent = path.rpartition("/")[0]
        if self._in_ignored(parent):
            return self.reason(parent, True)
        for rule in reversed(self._rules):
            if (is_dir or not rule.only_directories) and _compile_run([rule]).matches(path):
                return rule.text if rule.ignored else ""
        return ""

    def _in_ignored(self, directory: str) -> bool:
        known = self._directories.get(directory)
        if known is None:
            known = self._in_ignored(directory.rpartition("/")[0]) or self.match(directory, True)
            self._directories[directory] = known
        return known


def load(root: str | int, patterns: Sequence[str] = ()) -> Ignore:
    """Return the patterns of the file :data:`FILE_NAME` at ``root`` (if any), then ``patterns``.

    ``root`` is a path or the descriptor of an open directory. Raises :class:`TreeError` when the
    file is not a plain file, too large, or not UTF-8; ``patterns`` override what the file says.
    """
    return Ignore([*_read(root), *patterns])


def _read(root: str | int) -> list[str]:
    try:
        if isinstance(root, int):
            return _read_at(root)
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _read_at(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise from_oserror(exc, f"Reading {FILE_NAME}") from exc


def _read_at(fd: int) -> list[str]:
    # Not blocking, so that a fifo put there is refused instead of waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(FILE_NAME, flags, dir_fd=fd)
    except FileNotFoundError:
        return []
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _unusable("is not a plain file") from exc
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _unusable("is not a plain file")
    with open(file, "rb") as stream:
        return _decode(stream.read(SIZE_LIMIT + 1))


def _decode(data: bytes) -> list[str]:
    if len(data) > SIZE_LIMIT:
        raise _unusable(f"is larger than {SIZE_LIMIT} bytes")
    if b"\0" in data:
        raise _unusable("holds a NUL byte")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise _unusable(f"is not valid UTF-8 in line {line}") from exc
    return [text[1:] if text.startswith("\ufeff") else text]


def _unusable(what: str) -> TreeError:
    return TreeError(
        f"The ignore file {what}.", object=FILE_NAME, next_step="Correct the file and run again."
    )


class _Rule(NamedTuple):
    text: str
    ignored: bool
    only_directories: bool
    glob: Glob


def _parse(patterns: Iterable[str]) -> Iterator[_Rule]:
    for line in (line for pattern in patterns for line in pattern.split("\n")):
        if "\0" in line:
            raise ArgumentError("An ignore pattern holds a NUL.", object=line)
        if not line or line.startswith("#"):
            continue
        text = body = _without_trailing_spaces(line[:-1] if line.endswith("\r") else line)
        ignored = not body.startswith("!")
        body = body if ignored else body[1:]
        only_directories = body.endswith("/")
        body = body[:-1] if only_directories else body
        if body:
            yield _Rule(text, ignored, only_directories, parse_glob(body))


def _without_trailing_spaces(line: str) -> str:
    """Cut unescaped spaces off the end; a space behind a backslash stays."""
    end = len(line.rstrip(" "))
    slashes = end - len(line[:end].rstrip("\\"))
    return line[: end + 1] if slashes % 2 else line[:end]


class _Run(NamedTuple):
    """Neighbouring patterns that agree on whether what they match is ignored."""

    ignored: bool
    names: frozenset[str]
    endings: tuple[str, ...]
    paths: frozenset[str]
    name_regex: Pattern[bytes] | None
    path_regex: Pattern[bytes] | None

    def matches(self, path: str) -> bool:
        # An ending holds no slash, so it cannot reach beyond the last component.
        if path in self.paths or path.endswith(self.endings):
            return True
        name = path.rpartition("/")[2]
        if name in self.names:
            return True
        if self.name_regex and self.name_regex.fullmatch(_bytes(name)):
            return True
        return bool(self.path_regex and self.path_regex.fullmatch(_bytes(path)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _compile(rules: Sequence[_Rule]) -> list[_Run]:
    """Return the runs in the order in which they are asked: the last pattern decides first."""
    groups: list[list[_Rule]] = []
    for rule in rules:
        if groups and groups[-1][-1].ignored == rule.ignored:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    if groups and not groups[0][0].ignored:
        del groups[0]  # nothing before it that it could include again
    return [_compile_run(group) for group in reversed(groups)]


def _compile_run(rules: Sequence[_Rule]) -> _Run:
    globs = [rule.glob for rule in rules]
    by_name = [glob for glob in globs if not glob.anchored]
    by_path = [glob for glob in globs if glob.anchored]
    return _Run(
        ignored=rules[0].ignored,
        names=_known(glob.literal for glob in by_name),
        endings=tuple(_known(glob.ending for glob in by_name)),
        paths=_known(glob.literal for glob in by_path),
        name_regex=compile_globs([g for g in by_name if g.literal is None and g.ending is None]),
        path_regex=compile_globs([glob for glob in by_path if glob.literal is None]),
    )


def _known(texts: Iterable[str | None]) -> frozenset[str]:
    return frozenset(text for text in texts if text is not None)
