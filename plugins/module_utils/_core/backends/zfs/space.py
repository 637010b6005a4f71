# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a repository takes of its pool, and what is left."""

from __future__ import annotations

from ...zfs import datasets
from ...zfs.command import Runner
from ...zfs.datasets import Properties
from ..standing import Space
from .layout import Layout

_NAMES = ("used", "referenced", "available", "usedbysnapshots", "quota", "refquota")


def space(runner: Runner, layout: Layout, *, exists: bool) -> Space:
    """Return it from two commands; where nothing is published, of the publish parent.

    ``available`` is by the pool, reservations, quota and refquota. What users, groups and projects may
    take (``userquota@…``) is not in it.
    """
    parts = (layout.live if exists else layout.parent).split("/")
    chain = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    found = datasets.read(runner, _NAMES, chain)
    mine, pool = found[chain[-1]], found[chain[0]]
    limits = [limit for name in chain for limit in _limit(name, found[name], "quota", "used")]
    limits += _limit(chain[-1], mine, "refquota", "referenced")  # one above it limits nothing here
    _left, quota, quota_of = min(limits, default=(0, None, ""))
    return Space(
        free=_number(mine, "available"),
        size=_number(pool, "used") + _number(pool, "available"),
        used=_number(mine, "referenced") if exists else None,
        history=_number(mine, "usedbysnapshots") if exists else 0,
        quota=quota,
        quota_of=quota_of,
        pool=chain[0],
        health=runner.run("zpool", "list", "-H", "-o", "health", chain[0]).strip(),
    )


def _limit(
    name: str, properties: Properties, limit: str, counted: str
) -> list[tuple[int, int | None, str]]:
    """Return what is left, the limit and what it is set on; nothing where none is set."""
    most = _number(properties, limit)
    return [(most - _number(properties, counted), most, f"{limit} of {name}")] if most else []


def _number(properties: Properties, name: str) -> int:
    return int(properties[name].value or 0)
