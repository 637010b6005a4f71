# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a transaction brings into the working copy, told by content."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from ..errors import DsgError
from ..manifest import codec
from ..manifest.entry import FILE, LINK, Entry
from ..manifest.hashing import hash_file
from ..posix.present import is_present


class Arriving:
    """The content that paths are to get, by the transaction's staged record; read when first asked for.

    ``record`` is its path, which ``opened`` opens; None for a transaction without one. Of what has no
    record, or has it in its place already, nothing is known.
    """

    def __init__(self, record: str | None, opened: Callable[[str], BinaryIO]) -> None:
        self._record = record
        self._opened = opened
        self._entries: dict[str, Entry] | None = None

    @property
    def is_told(self) -> bool:
        """Tell whether the transaction has a record."""
        return self._record is not None

    @property
    def is_recorded(self) -> bool:
        """Tell whether the record is in its place already, which comes last."""
        return self._record is not None and not is_present(self._record)

    def is_at(self, path: str, fd: int, name: str) -> bool:
        """Tell whether a name in a directory (its descriptor) holds what the path is to get."""
        if self._entries is None:
            self._entries = {} if self._record is None else self._read(self._record)
        entry = self._entries.get(path)
        return entry is not None and _holds(entry, fd, name)

    def _read(self, record: str) -> dict[str, Entry]:
        try:
            with self._opened(record) as stream:
                return {entry.path: entry for entry in codec.read(stream, record).entries}
        except FileNotFoundError:
            return {}


def _holds(entry: Entry, fd: int, name: str) -> bool:
    try:
        if entry.kind == LINK:
            return os.readlink(name, dir_fd=fd) == entry.target
        size = os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
        return (entry.kind, entry.size) == (FILE, size) and entry.sha256 == hash_file(
            name, dir_fd=fd
        )
    except (DsgError, OSError):
        return False  # nothing is known of what cannot be read
