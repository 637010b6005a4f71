# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the user's ``backend`` option to a repository."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ArgumentError
from .base import LocalRepository

OPTIONS = {"directory": "base", "zfs": "dataset"}
"""Every backend type, and the one option that places it."""
TYPES = tuple(OPTIONS)


def check_backend(backend: Mapping[str, object]) -> str:
    """Return where the backend places repositories; unsupported types and options are refused."""
    kind = backend.get("type")
    if kind not in TYPES:
        raise ArgumentError(f"backend.type is {kind!r}: supported are {', '.join(TYPES)}")
    option = OPTIONS[str(kind)]
    given = {key for key, value in backend.items() if value is not None}
    unknown = sorted(given - {"type", option})
    if unknown:
        raise ArgumentError(
            f"backend has unsupported options {', '.join(unknown)}: with type {kind} it takes "
            f"{option}"
        )
    place = backend.get(option)
    if not isinstance(place, str):
        raise ArgumentError(f"backend.{option} is required with type {kind}")
    return place


def open_repository(backend: Mapping[str, object], name: str) -> LocalRepository:
    """Return the repository on this host; touches nothing."""
    place = check_backend(backend)
    if backend["type"] == "zfs":
        from .zfs.repository import ZfsRepository  # costs its import only where it is used

        return ZfsRepository(place, name)
    from .directory.repository import DirectoryRepository

    return DirectoryRepository(place, name)
