# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chained history checked from its first step on, and what it says was published.

Other than :mod:`.history` it goes on behind a step that is missing or damaged, to name them all.
Lines are carried from step to step as they are written: those of a snapshot, put together again, must
have the hash that its header has, so there is no need to parse them.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from json import loads
from typing import NamedTuple

from ..backends import published
from ..errors import ManifestError
from ..manifest.codec import Manifest, read_lines
from ..manifest.delta import Step
from ..manifest.header import Header
from ..manifest.lines import PUT
from .history import read_step

_NAMES = re.compile(rb'"path":("(?:[^"\\]|\\.)*")')
_DELETE = b'{"op":"delete",'
_OP = PUT.op.encode()


class Broken(NamedTuple):
    """Something wrong with one step of the history."""

    snapshot: int
    detail: str


class Chain:
    """Goes through the steps in their order; ``problems`` grows meanwhile.

    ``headers`` has those of the steps that could be read, ``missing`` the numbers of those that were not
    there: all of them are missing where the tree is removed meanwhile.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._done = 0
        self._parent: str | None = ""
        # A name as it is spelled → the line of its entry; None where a step before is not sound.
        self._lines: dict[bytes, bytes] | None = {}
        self.headers: dict[int, Header] = {}
        self.missing: set[int] = set()
        self.problems: list[Broken] = []

    def go_to(self, number: int) -> None:
        """Go on up to that step; numbers come in ascending order."""
        while self._done < number:
            self._done += 1
            self._take(self._done)

    def confirm(self) -> None:
        """Check that all steps so far lead to what the last one's header says."""
        if self._lines is None or not self._done:
            return
        if sha256(self._text(self._lines)).hexdigest() != self.headers[self._done].body:
            self._report(self._done, "the history up to here does not lead to what its header says")
            self._lines = None

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last step so far, None where the history is not whole."""
        if self._lines is None or not self._done:
            return None
        header = self.headers[self._done]
        try:
            return read_lines(header, self._text(self._lines), f"history up to s{self._done}")
        except ManifestError as exc:
            self._report(self._done, exc.message)
            return None

    def _text(self, lines: dict[bytes, bytes]) -> bytes:
        return b"".join([lines[name] + b"\n" for name in sorted(lines, key=_decoded)])

    def _take(self, number: int) -> None:
        try:
            step = read_step(self._root, number)
        except ManifestError as exc:
            self._report(number, exc.message)
            if not os.path.lexists(published.history_path(self._root, number)):
                self.missing.add(number)
            self._parent = self._lines = None
            return
        header = step.header
        self.headers[number] = header
        if header.snapshot != number:
            self._report(number, f"the record is of s{header.snapshot}")
            self._lines = None
        elif self._parent is not None and header.parent != self._parent:
            self._report(number, f"its parent is not s{number - 1}")
            self._lines = None
        self._parent = header.id
        if self._lines is not None and not _apply(self._lines, step):
            self._report(number, "its changes do not lead to what its header says")
            self._lines = None

    def _report(self, number: int, detail: str) -> None:
        self.problems.append(Broken(number, detail))


def _apply(lines: dict[bytes, bytes], step: Step) -> bool:
    """Carry out a step; tell whether it fits what was there, and its header's number of entries."""
    names = _NAMES.findall(step.body)
    written = step.body.replace(_OP, b"").split(b"\n")  # a quote within a name is escaped
    if len(names) != step.lines:
        return False
    if _DELETE not in step.body:
        lines.update(zip(names, written))
        return len(lines) == step.header.total
    for name, line in zip(names, written):
        if not line.startswith(_DELETE):
            lines[name] = line
        elif lines.pop(name, None) is None:
            return False
    return len(lines) == step.header.total


def _decoded(name: bytes) -> bytes:
    """Return what names are sorted by: UTF-8 sorts as its characters do."""
    if b"\\" in name:
        text: str = loads(name)
        return text.encode()
    return name[1:-1]
