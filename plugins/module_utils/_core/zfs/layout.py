# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A declared layout: what it must be like, and how it differs from the one that a pool has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import disks
from .steps import PoolError
from .vdevs import STRIPE, Vdev

_SINGLE = ("cache", "spare")
_LEAST = {STRIPE: 1, "mirror": 2, "raidz1": 2, "raidz2": 3, "raidz3": 4}
# What the pool is lost with.
_HOLDING = ("data", "special", "dedup")


class Comparison(NamedTuple):
    """``missing``: declared vdevs of which the pool has no disk; ``drift``: everything else."""

    missing: list[Vdev]
    drift: list[str]


def declared(pool: str, items: Iterable[tuple[str, str, Sequence[str]]]) -> list[Vdev]:
    """Return (role, type, disks) as vdevs, each disk of a stripe as one of its own.

    Raises :class:`PoolError` for what no pool can be.
    """
    found: list[Vdev] = []
    faults: list[str] = []
    for role, kind, paths in items:
        vdev = Vdev(role, kind, tuple(paths))
        fault = _fault(vdev)
        if fault:
            faults.append(f"{vdev}: {fault}")
        single = kind == STRIPE
        found += [Vdev(role, kind, (path,)) for path in paths] if single else [vdev]
    seen: dict[str, str] = {}
    for path in (path for vdev in found for path in vdev.disks):
        if not path.startswith("/") or not path.isprintable():
            faults.append(f"{path!r} is not an absolute path")
            continue
        device = disks.device(path)
        if device in seen:
            faults.append(f"{path} and {seen[device]} are the same disk")
        seen[device] = path
    if not any(vdev.role == "data" for vdev in found):
        faults.append("there is no data vdev")
    if faults:
        raise PoolError(
            "the declared layout is not possible",
            object=pool,
            details=faults,
            next_step="Correct `vdevs`.",
        )
    return found


def compare(wanted: Sequence[Vdev], found: Sequence[Vdev]) -> Comparison:
    """Compare a declared layout with that of a pool, by the devices that the paths lead to."""
    left = {_identity(vdev): vdev for vdev in found}
    differing = [vdev for vdev in wanted if left.pop(_identity(vdev), None) is None]
    missing, drift = [], []
    for vdev in differing:
        devices = _identity(vdev)[2]
        overlapping = [one for one in found if _identity(one)[2] & devices]
        if overlapping:
            drift.append(f"{vdev} is declared, and the pool has {'; '.join(map(str, overlapping))}")
        else:
            missing.append(vdev)
    in_question = {disk for vdev in differing for disk in _identity(vdev)[2]}
    drift += [
        f"{vdev} is in the pool and not declared"
        for key, vdev in left.items()
        if not key[2] & in_question
    ]
    return Comparison(missing, drift)


def is_mixed(vdevs: Iterable[Vdev]) -> bool:
    """Tell whether vdevs that hold data differ in how many disks they can lose."""
    return len({_can_lose(vdev) for vdev in vdevs if vdev.role in _HOLDING}) > 1


def is_uneven(vdevs: Iterable[Vdev]) -> bool:
    """Tell whether they differ in type or width, which OpenZFS wants to be told twice."""
    kinds = {(vdev.type, len(vdev.disks)) for vdev in vdevs if vdev.role in _HOLDING}
    return len(kinds) > 1


def require_even(pool: str, vdevs: Sequence[Vdev]) -> None:
    """Refuse vdevs of different redundancy."""
    if is_mixed(vdevs):
        raise PoolError(
            "vdevs that hold data differ in how many disks they can lose",
            object=pool,
            details=[
                f"{vdev}: can lose {_can_lose(vdev)}" for vdev in vdevs if vdev.role in _HOLDING
            ],
            next_step="Correct `vdevs`, or say `mixed_redundancy: true` if it is meant.",
        )


def words(vdevs: Iterable[Vdev]) -> list[str]:
    """Return vdevs as ``zpool create`` and ``zpool add`` take them.

    Data comes first, and in each role the stripes: a disk behind a mirror's would be one of it.
    """
    by_role: dict[str, list[str]] = {"data": []}
    for vdev in sorted(vdevs, key=lambda vdev: vdev.type != STRIPE):
        kind = [] if vdev.type == STRIPE else [vdev.type]
        by_role.setdefault(vdev.role, []).extend([*kind, *map(disks.whole, vdev.disks)])
    found = by_role.pop("data")
    for role, group in by_role.items():
        found += [role, *group]
    return found


def _fault(vdev: Vdev) -> str:
    if vdev.role in _SINGLE and vdev.type != STRIPE:
        return f"a {vdev.role} is always a stripe"
    if vdev.role == "log" and vdev.type not in (STRIPE, "mirror"):
        return "a log is a stripe or a mirror"
    if len(vdev.disks) < _LEAST[vdev.type]:
        return f"a {vdev.type} needs at least {_LEAST[vdev.type]} disks"
    return ""


def _identity(vdev: Vdev) -> tuple[str, str, frozenset[str]]:
    return vdev.role, vdev.type, frozenset(map(disks.device, vdev.disks))


def _can_lose(vdev: Vdev) -> int:
    if vdev.type == "mirror":
        return len(vdev.disks) - 1
    return int(vdev.type[-1]) if vdev.type.startswith("raidz") else 0
