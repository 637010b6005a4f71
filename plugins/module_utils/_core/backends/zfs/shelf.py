# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of a published dataset: which are ours, who uses them, and how one is destroyed."""

from __future__ import annotations

from ...errors import Unfinished
from ...zfs import datasets, mounts
from ...zfs.command import CommandFailed, Runner
from ...zfs.datasets import NOTHING, Properties
from ..base import Removal, Shelf, Stored
from ..standing import MOUNT, Holder
from . import users
from .layout import MANIFEST, TXN, Layout, snapshot_number
from .state import State

_IN_USE = ("is busy", "being held", "is cloned", "dependent clones")
"""What OpenZFS says of a snapshot that is held, mounted, being sent, or cloned."""


def look(runner: Runner, state: State) -> Shelf:
    """Return what is kept. Ours are those with our properties set on themselves, not inherited."""
    if state.record is not None:
        raise Unfinished(
            "a committed transaction is not finished here",
            object=state.layout.live,
            unchanged="Nothing was changed; what was committed stays so.",
            next_step="Run `dsg.storage.recover` first.",
        )
    live = state.layout.live
    found = datasets.read(
        runner, ("userrefs", "clones", TXN, MANIFEST), [live], kinds="snapshot", depth=1
    )
    stored, foreign = [], []
    keepers = users.of_snapshots(live)
    for full, properties in found.items():
        name = full.partition("@")[2]
        number = snapshot_number(name)
        if number is None or not _is_ours(properties):
            foreign.append(name)
            continue
        in_use = _holds_and_clones(runner, full, properties)
        in_use += [_said(keeper) for keeper in keepers.get(full, [])]
        stored.append(Stored(number, properties[MANIFEST].value, "; ".join(in_use)))
    return Shelf(sorted(stored), sorted(foreign))


def _is_ours(properties: Properties) -> bool:
    return all(datasets.own(properties, name) for name in (TXN, MANIFEST))


def _holds_and_clones(runner: Runner, snapshot: str, properties: Properties) -> list[str]:
    found = []
    if properties.get("userrefs", NOTHING).value not in ("", "0"):
        listed = runner.zfs("holds", "-H", snapshot).splitlines()
        tags = sorted(line.split("\t")[1] for line in listed)
        found.append(f"it has holds: {', '.join(tags)}")
    clones = properties.get("clones", NOTHING).value
    if clones:
        found.append(f"it has clones: {clones}")
    return found


def _said(keeper: Holder) -> str:
    return f"it is {keeper}" if keeper.kind == MOUNT else f"{keeper}"


def mounted_at(layout: Layout, path: str) -> int | None:
    """Return the number of the snapshot that is mounted at ``path``, None for anything else.

    While a snapshot is mounted, the generation that it was taken of may still wait for promotion.
    """
    dataset, _unused, name = mounts.mounted_at(path).partition("@")
    if dataset == layout.live or layout.parse_work(dataset) is not None:
        return snapshot_number(name)
    return None


def remove(runner: Runner, layout: Layout, number: int) -> Removal:
    """Destroy exactly this snapshot; one that is in use by now has to wait.

    Whatever else OpenZFS refuses it for is an error: it would not end by itself.
    """
    snapshot = f"{layout.live}@s{number}"
    try:
        runner.zfs("destroy", snapshot)
    except CommandFailed as exc:
        if not any(word in exc.output for word in _IN_USE):
            raise
        said = " ".join(exc.output.split())
        return Removal(False, f"s{number} cannot be destroyed yet: {said}")
    return Removal(True, "")
