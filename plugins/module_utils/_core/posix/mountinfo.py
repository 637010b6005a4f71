# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is mounted where, as this process's mount namespace has it."""

from __future__ import annotations

from typing import NamedTuple

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Mount(NamedTuple):
    """``root`` is the path within the file system that shows at ``point``."""

    device: str
    root: str
    point: str
    source: str


def mounts(pid: str = "self") -> list[Mount]:
    """Return all mounts that a process sees."""
    found = []
    path = f"/proc/{pid}/mountinfo"
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            fields = line.rstrip("\n").split(" ")
            source = fields[fields.index("-") + 2]
            found.append(Mount(fields[2], *map(_unescape, (fields[3], fields[4], source))))
    return found


def _unescape(text: str) -> str:
    for code, character in _ESCAPES:
        text = text.replace(code, character)
    return text
