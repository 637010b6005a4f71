# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names of datasets are accepted: an allowlist, checked before any command is built."""

from __future__ import annotations

import re

from ..errors import ArgumentError

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
MAX_LENGTH = 200
"""Longest dataset name accepted; OpenZFS allows 255 with snapshot name and our own suffixes."""


def check_dataset(name: str) -> str:
    """Return ``name``, or raise :class:`ArgumentError` unless it is a dataset below a pool."""
    parts = name.split("/")
    if len(name) > MAX_LENGTH or not all(_COMPONENT.fullmatch(part) for part in parts):
        raise ArgumentError(
            "a dataset name has components of letters, digits, '_', '.', ':' and '-', each "
            f"starting with a letter or digit, and at most {MAX_LENGTH} characters",
            object=name,
        )
    if len(parts) < 2:
        raise ArgumentError(
            "this is a pool's root dataset; repositories live in datasets below one",
            object=name,
            next_step="Choose a dataset such as tank/dsg.",
        )
    return name
