# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in a tree of files, for comparing it with what was there before."""

from __future__ import annotations

from pathlib import Path


def tree(root: Path) -> dict[str, tuple[str, str]]:
    """Return path to (kind and mode, content) of everything below ``root``, `.dsg` included."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", "")
        elif path.name == "lock" or path.suffix == ".lock":
            found[name] = ("lock", "")  # its content only says who held it last
        elif not path.is_file():
            found[name] = ("special", "")
        else:
            found[name] = (oct(path.stat().st_mode), path.read_bytes().hex())
    return found


def content(root: Path) -> dict[str, tuple[str, str]]:
    """Return the same without ``.dsg`` and without directories."""
    return {
        name: entry
        for name, entry in tree(root).items()
        if entry[0] != "directory" and not name.startswith(".dsg/")
    }


def untouched(*roots: Path) -> list[dict[str, tuple[str, str]]]:
    """Return everything that must stay as it is when nothing may change.

    The stat index is a cache: it may learn at any run that a file's time stamp is old enough.
    """
    return [
        {path: found for path, found in tree(root).items() if path != ".dsg/index"}
        for root in roots
    ]
