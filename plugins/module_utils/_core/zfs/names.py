# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names of datasets are accepted: an allowlist, checked before any command is built."""

from __future__ import annotations

import re

from ..errors import ArgumentError

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_HIDDEN = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9_.:-]*")
MAX_LENGTH = 200
"""Longest dataset name accepted; OpenZFS allows 255 with snapshot name and our own suffixes."""


def check_dataset(name: str) -> str:
    """Return ``name``, or raise :class:`ArgumentError` unless it is a dataset below a pool."""
    _check_components(name, _COMPONENT)
    if "/" not in name:
        raise ArgumentError(
            "this is a pool's root dataset; repositories live in datasets below one",
            object=name,
            next_step="Choose a dataset such as tank/dsg.",
        )
    return name


def _check_components(name: str, component: re.Pattern[str]) -> None:
    if len(name) > MAX_LENGTH or not all(component.fullmatch(part) for part in name.split("/")):
        raise ArgumentError(
            "a dataset name has components of letters, digits, '_', '.', ':' and '-', each "
            f"starting with a letter or digit, and at most {MAX_LENGTH} characters",
            object=name,
        )


_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
_RESERVED = re.compile(r"(mirror|raidz|draid|spare|log|cache|special|dedup)[0-9:-]*|c[0-9].*")


def check_pool(name: str) -> str:
    """Return ``name``, or raise :class:`ArgumentError` unless a pool may be called so."""
    if len(name) > MAX_LENGTH or not _POOL.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ArgumentError(
            "a pool's name starts with a letter, goes on with letters, digits, '_', '.', ':' and "
            "'-', and is no word that OpenZFS keeps for layouts (mirror, raidz, log, ...)",
            object=name,
        )
    return name


def check_any_dataset(name: str) -> str:
    """Return ``name``, or raise :class:`ArgumentError` unless it is a dataset or a pool's root.

    Below the pool one dot may come first: the work container is called ``.dsg``.
    """
    if "/" not in name:
        return check_pool(name)
    _check_components(name, _HIDDEN)
    check_pool(name.partition("/")[0])
    return name
