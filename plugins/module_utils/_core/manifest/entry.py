# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One entry of a manifest."""

from __future__ import annotations

from typing import NamedTuple

FILE = "file"
LINK = "symlink"
DIRECTORY = "directory"

MODE_MASK = 0o777
"""Set-uid, set-gid and sticky bits are never published."""


class Entry(NamedTuple):
    """A file, a symbolic link or an empty directory.

    ``path`` is relative to the tree's root, with ``/`` between components. ``size`` is in bytes
    (0 unless a file), ``mtime_ns`` in nanoseconds since the epoch (0 unless a file), ``mode`` holds
    permission bits under :data:`MODE_MASK` (0 unless a file). ``sha256`` is 64 lower-case hex digits
    for a file, and empty where a file has not been hashed yet or for the other kinds. ``target`` is
    a link's text. ``user`` is who last changed the content.
    """

    path: str
    kind: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    target: str
    user: str

    def same_content(self, other: Entry) -> bool:
        """Tell whether both publish the same thing: kind, bytes, link text and mode."""
        return (
            self.kind == other.kind
            and self.sha256 == other.sha256
            and self.target == other.target
            and self.mode == other.mode
        )
