# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the user's ``backend`` option to a repository."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ArgumentError
from .base import Repository
from .directory.repository import DirectoryRepository

TYPES = ("directory",)


def open_repository(backend: Mapping[str, object], name: str) -> Repository:
    """Return the repository; touches nothing. Unsupported types and options are refused."""
    kind = backend.get("type")
    if kind not in TYPES:
        raise ArgumentError(f"backend.type is {kind!r}: supported are {', '.join(TYPES)}")
    unknown = sorted(set(backend) - {"type", "base"})
    if unknown:
        raise ArgumentError(
            f"backend has unknown options {', '.join(unknown)}: supported with type directory "
            "is base"
        )
    base = backend.get("base")
    if not isinstance(base, str):
        raise ArgumentError("backend.base is required with type directory")
    return DirectoryRepository(base, name)
