# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BSD mtree specifications, as ``mtree -f`` and bsdtar read them, and as both write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from ...errors import ManifestError
from ..entry import DIRECTORY, FILE, LINK, MODE_MASK, Entry
from .partial import ALL_FIELDS, Partial, decode, finish, lines, malformed
from .vis import BadEscape, unvis, vis

FIELDS = ALL_FIELDS

_KINDS = {"file": FILE, "link": LINK, "dir": DIRECTORY}
_GLOB = re.compile(r"[*?\[]")
_DIGITS = re.compile("[0-9]{1,19}")
_MODE = re.compile("[0-7]{1,6}")
_TIME = re.compile(r"(-?[0-9]{1,12})(?:\.([0-9]{1,9}))?")
_HASH = re.compile("[0-9a-fA-F]{64}")
# They would ask for less than equality, so to pass over them would say more than was checked.
_REFUSED = frozenset(("optional", "ignore", "nochange"))


# --- writing ---


def dump(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the specification, with full paths, every directory before what it holds.

    Times have nine digits behind the point: both tools read them as a count of nanoseconds.
    Names with glob characters come last. However they are spelled, ``mtree -f`` takes them for
    patterns too, and checks a file by the first line that matches it in either way. So no order
    helps it where two names match each other, as ``*`` and ``?`` do; bsdtar takes all literally.
    """
    yield b"#mtree\n. type=dir\n"
    known = {""}
    globs = []
    for entry in entries:
        if _GLOB.search(entry.path):
            globs.append(entry)
            continue
        yield from _parents(entry.path, known)
        yield _line(entry)
    for entry in sorted(globs, key=_breadth):
        yield from _parents(entry.path, known)
        yield _line(entry)


def _breadth(entry: Entry) -> tuple[int, int, str]:
    """Sort the patterns that match more behind those that match less, as far as that is simple."""
    return len(_GLOB.findall(entry.path)), -len(entry.path), entry.path


def _parents(path: str, known: set[str]) -> Iterator[bytes]:
    end = path.find("/")
    while end >= 0:
        parent = path[:end]
        if parent not in known:
            known.add(parent)
            yield b"./%b type=dir\n" % vis(parent)
        end = path.find("/", end + 1)


def _line(entry: Entry) -> bytes:
    name = vis(entry.path)
    if entry.kind == LINK:
        return b"./%b type=link link=%b\n" % (name, vis(entry.target))
    if entry.kind == DIRECTORY:
        return b"./%b type=dir\n" % name
    seconds, rest = divmod(entry.mtime_ns, 1_000_000_000)
    fields = f"mode=0{entry.mode:03o} size={entry.size} time={seconds}.{rest:09d}"
    return b"./%b type=file %b\n" % (name, f"{fields} sha256digest={entry.sha256}".encode())


# --- reading ---


class _Line(NamedTuple):
    number: int
    words: list[bytes]


def parse(file: BinaryIO, name: str) -> Partial:
    """Read a specification in full paths or in the nested form with ``/set``.

    Every file needs a type and a SHA-256 digest; ``fields`` of the result are those that all files
    have. Directories count only where they are empty. Owners, flags and other keywords are passed
    over; special files and the keywords optional, ignore and nochange are refused.
    Raises :class:`ManifestError` with the number of the line.
    """
    reader = _Reader(name)
    for line in _logical_lines(file, name):
        reader.read(line)
    return reader.result()


def _logical_lines(file: BinaryIO, name: str) -> Iterator[_Line]:
    """Yield the words of each line that is not empty, with continued lines joined."""
    words: list[bytes] = []
    first = 0
    number = 0
    for number, line in lines(file, name):
        if not words and line.lstrip(b" \t").startswith(b"#"):
            continue
        first = first if words else number
        continued = (len(line) - len(line.rstrip(b"\\"))) % 2 == 1
        words += (line[:-1] if continued else line).replace(b"\t", b" ").split(b" ")
        words = [word for word in words if word]
        if words and not continued:
            yield _Line(first, words)
            words = []
    if words:
        raise malformed(number, "the last line is to be continued", name)


class _Reader:
    """Collects the entries of one specification."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._defaults: dict[str, bytes] = {}
        self._inside: list[str] = []  # the nested form: the directories that are open
        self._entries: list[Entry] = []
        self._directories: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._fields = FIELDS
        self._any = False

    def read(self, line: _Line) -> None:
        """Take one line in."""
        command = line.words[0]
        if command == b"/set":
            self._defaults.update(self._keywords(line))
        elif command == b"/unset":
            self._unset(line)
        elif command == b"..":
            if not self._inside:
                raise self._error(line, "'..' where no directory is open")
            self._inside.pop()
        elif command.startswith(b"/"):
            raise self._error(line, "an unknown command or an absolute path")
        else:
            self._entry(line)

    def result(self) -> Partial:
        """Return everything read, checked."""
        if not self._any:
            raise ManifestError("holds no entry at all", object=self._name)
        holders: set[str] = set()
        for path in [*self._numbers, *self._directories]:
            parent = path.rpartition("/")[0]
            while parent and parent not in holders:
                holders.add(parent)
                parent = parent.rpartition("/")[0]
        empty = [path for path in self._directories if path not in holders]
        entries = [Entry(path, DIRECTORY, 0, 0, 0, "", "", "") for path in empty]
        numbers = {**self._directories, **self._numbers}
        limits = Partial([], frozenset((FILE, LINK, DIRECTORY)), self._fields)
        return finish([*self._entries, *entries], numbers, self._name, limits)

    def _entry(self, line: _Line) -> None:
        self._any = True
        keywords = {**self._defaults, **self._keywords(line)}
        kind = self._kind(line, keywords)
        path = self._path(line, kind)
        if kind == DIRECTORY:
            if path:
                self._directories.setdefault(path, line.number)
            return
        self._numbers[path] = line.number
        if kind == LINK:
            if "link" not in keywords:
                raise self._error(line, "a link without link=")
            target = self._text(line, keywords["link"])
            self._entries.append(Entry(path, LINK, 0, 0, 0, "", target, ""))
        else:
            self._entries.append(self._file(line, path, keywords))

    def _path(self, line: _Line, kind: str) -> str:
        """Return the path of an entry; a directory of the nested form is entered."""
        text = self._text(line, line.words[0])
        # To be asked of the plain text: vis also spells "\xc3\xaf" as "\\M-C\\M-/".
        if "/" in text:
            return text[2:] if text.startswith("./") else text
        outer = self._inside[-1] if self._inside else ""
        path = outer if text == "." else f"{outer}/{text}" if outer else text
        if kind == DIRECTORY:
            self._inside.append(path)
        elif text == ".":
            raise self._error(line, "'.' is not a directory")
        return path

    def _kind(self, line: _Line, keywords: dict[str, bytes]) -> str:
        kind = keywords.get("type")
        if kind is None:
            raise self._error(line, "no type=")
        word = kind.decode("ascii", "backslashreplace")
        if word not in _KINDS:
            raise self._error(line, f"type={word[:40]} is not one of file, link and dir")
        return _KINDS[word]

    def _file(self, line: _Line, path: str, keywords: dict[str, bytes]) -> Entry:
        content = keywords.get("sha256digest", keywords.get("sha256"))
        if content is None:
            raise self._error(line, "a file without sha256digest=")
        seconds, rest = self._match(line, _TIME, keywords.get("time", b"0")).groups()
        size = self._match(line, _DIGITS, keywords.get("size", b"0"))[0]
        mode = self._match(line, _MODE, keywords.get("mode", b"0"))[0]
        absent = {"time", "size", "mode"}.difference(keywords)
        self._fields -= {"mtime_ns" if keyword == "time" else keyword for keyword in absent}
        return Entry(
            path=path,
            kind=FILE,
            size=int(size),
            # Not a decimal fraction: 1.5 is one second and five nanoseconds, for both tools.
            mtime_ns=int(seconds) * 1_000_000_000 + int(rest or 0),
            mode=int(mode, 8) & MODE_MASK,
            sha256=self._match(line, _HASH, content)[0].lower(),
            target="",
            user="",
        )

    def _keywords(self, line: _Line) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for word in line.words[1:]:
            keyword, _unused, value = word.partition(b"=")
            text = keyword.decode("ascii", "backslashreplace")
            if text in _REFUSED:
                raise self._error(line, f"the keyword {text} is not supported")
            if text in found:
                raise self._error(line, f"the keyword {text[:40]} is there twice")
            found[text] = value
        return found

    def _unset(self, line: _Line) -> None:
        for word in line.words[1:]:
            if word == b"all":
                self._defaults.clear()
            self._defaults.pop(word.decode("ascii", "backslashreplace"), None)

    def _text(self, line: _Line, word: bytes) -> str:
        try:
            return decode(unvis(word), line.number, self._name)
        except BadEscape as exc:
            raise self._error(line, str(exc)) from None

    def _match(self, line: _Line, pattern: re.Pattern[str], value: bytes) -> re.Match[str]:
        found = pattern.fullmatch(value.decode("ascii", "backslashreplace"))
        if found is None:
            raise self._error(line, f"a value is malformed: {ascii(value)[2:82]}")
        return found

    def _error(self, line: _Line, problem: str) -> ManifestError:
        return malformed(line.number, problem, self._name)
