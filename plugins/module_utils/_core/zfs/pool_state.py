# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool as declared: what is there, and the steps to what is wanted. None of them destroys a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from . import consent, dataset_state, disk_locks, disks, labels, layout, names, values, vdevs
from .command import Runner
from .layout import Comparison
from .steps import Change, PoolError, Step
from .vdevs import Pool, Vdev

# What is decided at each import, and cannot be held.
_OF_AN_IMPORT = ("altroot", "readonly")

# What OpenZFS says where udev is still at the links of partitions that it made on the disks.
_LINKS_ARE_LATE = (
    "failed to detect device partitions",
    "is currently unavailable",
    "no such pool or dataset",
)
_TRACES = "The disks did not become a part of a pool; they may carry new, empty partitions."


class PoolRequest(NamedTuple):
    """What is declared; ``vdevs`` as (role, type, disks), values as a playbook has them."""

    name: str
    vdevs: Sequence[tuple[str, str, Sequence[str]]] = ()
    properties: Mapping[str, object] = {}
    filesystem_properties: Mapping[str, object] = {}
    overwrite: Sequence[str] = ()
    extend: bool = False
    mixed_redundancy: bool = False
    tolerate_drift: bool = False


def present(runner: Runner, request: PoolRequest) -> list[Step]:
    """Return the steps that create, import or extend the pool and set its properties."""
    names.check_pool(request.name)
    _pool_properties(request)
    values.texts(request.filesystem_properties)
    wanted = layout.declared(request.name, request.vdevs)
    pools = vdevs.read(runner)
    if request.name in pools:
        return _holding(runner, request, wanted, pools)
    guid = _importable(runner, request, wanted)
    if guid:
        change = Change(f"pool {request.name}", "exported", f"imported (GUID {guid})")
        return [Step(("zpool", "import", guid), (change,))]
    return _creation(runner, request, wanted, pools)


def exported(runner: Runner, request: PoolRequest) -> list[Step]:
    """Return the step that exports the pool if it is imported; never with force."""
    names.check_pool(request.name)
    if request.name not in vdevs.read(runner):
        return []
    change = Change(f"pool {request.name}", "imported", "exported")
    return [Step(("zpool", "export", request.name), (change,))]


def describe(runner: Runner, request: PoolRequest) -> dict[str, Any]:
    """Return ``guid``, ``vdevs`` and ``drift`` of the pool as it is now."""
    pool = vdevs.read(runner).get(request.name)
    if pool is None:
        return {"guid": "", "vdevs": [], "drift": []}
    drift: list[str] = []
    if request.vdevs:
        wanted = layout.declared(request.name, request.vdevs)
        drift = _drift(layout.compare(wanted, pool.vdevs), request)
    return {"guid": pool.guid, "vdevs": vdevs.grouped(pool.vdevs), "drift": drift}


def _holding(
    runner: Runner, request: PoolRequest, wanted: list[Vdev], pools: Mapping[str, Pool]
) -> list[Step]:
    found = pools[request.name].vdevs
    comparison = layout.compare(wanted, found)
    drift = _drift(comparison, request)
    if drift and not request.tolerate_drift:
        raise PoolError(
            "the pool's layout is not the declared one",
            object=request.name,
            details=drift,
            next_step="Correct `vdevs`, change the pool by hand (zpool attach, replace, remove), "
            "or say `on_drift: report` to go on with the rest.",
        )
    steps = []
    if comparison.missing and request.extend:
        steps = _growth(runner, request, comparison.missing, found, pools)
    return [*steps, *_pool_settings(runner, request), *_root_settings(runner, request)]


def _drift(comparison: Comparison, request: PoolRequest) -> list[str]:
    missing = [] if request.extend else comparison.missing
    return comparison.drift + [
        f"{vdev} is declared and not in the pool (`extend: true` adds it)" for vdev in missing
    ]


def _creation(
    runner: Runner, request: PoolRequest, wanted: list[Vdev], pools: Mapping[str, Pool]
) -> list[Step]:
    options = [part for text in _arguments(_pool_properties(request)) for part in ("-o", text)]
    of_root = values.texts(request.filesystem_properties)
    options += [part for text in _arguments(of_root) for part in ("-O", text)]
    changes = [Change(f"pool {request.name}", "", "created")]
    changes += [Change(f"{request.name} vdev", "", str(vdev)) for vdev in wanted]
    changes += _declared_values(request.name, _pool_properties(request))
    changes += _declared_values(f"{request.name} (root dataset)", of_root)
    words = ("create", options, request.name, wanted)
    return _on_disks(runner, request, words, wanted, pools, changes)


def _growth(
    runner: Runner,
    request: PoolRequest,
    missing: list[Vdev],
    found: list[Vdev],
    pools: Mapping[str, Pool],
) -> list[Step]:
    changes = [Change(f"{request.name} vdev", "", str(vdev)) for vdev in missing]
    words: tuple[str, list[str], str, list[Vdev]] = ("add", [], request.name, missing)
    return _on_disks(runner, request, words, [*found, *missing], pools, changes)


def _on_disks(
    runner: Runner,
    request: PoolRequest,
    words: tuple[str, list[str], str, list[Vdev]],
    together: list[Vdev],
    pools: Mapping[str, Pool],
    changes: list[Change],
) -> list[Step]:
    """Return the steps that clear disks with consent and hand all of them to the pool.

    ``together`` is the layout that comes out of it. Disks are looked at here; OpenZFS looks once
    more, as it is not forced unless that is needed for a layout that is meant as it is.
    """
    verb, options, name, new = words
    if not request.mixed_redundancy:
        layout.require_even(name, together)
    cleared = consent.clear(runner, new, request.overwrite, pools)
    rest = [*options, name, *layout.words(new)]
    runner.run("zpool", verb, "-n", "-f", *rest)  # OpenZFS's own checks; nothing is written
    force = ["-f"] if layout.is_uneven(together) else []
    command = ("zpool", verb, *force, *rest)
    # Resolved now: a link to a partition is gone once the disk is cleared.
    guard = partial(disk_locks.shared, [disks.whole(path) for vdev in new for path in vdev.disks])
    return [*cleared, Step(command, tuple(changes), _TRACES, _LINKS_ARE_LATE, guard)]


def _importable(runner: Runner, request: PoolRequest, wanted: list[Vdev]) -> str:
    """Return the GUID of the pool of this name on the declared disks, '' where there is none."""
    consent = set(map(disks.device, request.overwrite))
    found: dict[str, set[str]] = {}
    for path in (path for vdev in wanted for path in vdev.disks):
        disks.require_device(path)
        device = disks.device(path)
        for label in _labels(runner, device):
            if label.name == request.name and label.state in labels.IMPORTABLE:
                found.setdefault(label.guid, set()).add(device)
    kept = {guid: on for guid, on in found.items() if on - consent} or found
    if len(kept) > 1:
        raise PoolError(
            "the declared disks carry labels of several pools of this name",
            object=request.name,
            details=[f"GUID {guid}: {', '.join(sorted(on))}" for guid, on in kept.items()],
            next_step="Import the right one by its GUID, by hand (`zpool import` shows them).",
        )
    for guid, on in kept.items():
        _require_whole(request, wanted, guid, on)
        return guid
    return ""


def _require_whole(request: PoolRequest, wanted: list[Vdev], guid: str, on: set[str]) -> None:
    """Refuse to import a pool whose disks are not those that are declared, before it is imported.

    Labels of caches and spares do not tell their pool; the layout is compared after the import.
    """
    drift = []
    for vdev in wanted:
        strange = [path for path in vdev.disks if disks.device(path) not in on]
        new = request.extend and len(strange) == len(vdev.disks)
        if vdev.role not in ("cache", "spare") and not new:
            drift += [f"{path} ({vdev.role} {vdev.type}) is not in it" for path in strange]
    if drift and not request.tolerate_drift:
        raise PoolError(
            f"the exported pool of this name (GUID {guid}) has not the declared disks",
            object=request.name,
            details=drift,
            next_step="Correct `vdevs`, or import the pool by hand and look at it.",
        )


def _labels(runner: Runner, device: str) -> list[labels.Label]:
    found = [labels.read(runner, node) for node in disks.labelled(device)]
    return [label for label in found if label is not None]


def _pool_settings(runner: Runner, request: PoolRequest) -> list[Step]:
    wanted = _pool_properties(request)
    if not wanted:
        return []
    listed = runner.run(
        "zpool", "get", "-Hp", "-o", "property,value", ",".join(wanted), request.name
    )
    rows = [line.split("\t") for line in listed.splitlines()]
    found = {row[0]: "" if row[1] == "-" else row[1] for row in rows}
    return [
        Step(
            ("zpool", "set", values.argument(name, text), request.name),
            (Change(f"{request.name} {name}", found.get(name, ""), text),),
        )
        for name, text in wanted.items()
        if not values.same(name, text, found.get(name, ""))
    ]


def _root_settings(runner: Runner, request: PoolRequest) -> list[Step]:
    wanted = values.texts(request.filesystem_properties)
    found = dataset_state.read(runner, request.name, list(wanted))
    return dataset_state.setting(runner, request.name, wanted, found)


def _pool_properties(request: PoolRequest) -> values.Values:
    wanted = values.texts(request.properties)
    refused = [name for name in _OF_AN_IMPORT if name in wanted]
    if refused:
        raise PoolError(
            f"{refused[0]} counts until the next export only, and cannot be held",
            object=request.name,
            next_step="Take it out of `properties`.",
        )
    return wanted


def _arguments(wanted: values.Values) -> list[str]:
    return [values.argument(name, text) for name, text in wanted.items()]


def _declared_values(subject: str, wanted: values.Values) -> list[Change]:
    return [Change(f"{subject} {name}", "", text) for name, text in wanted.items()]
