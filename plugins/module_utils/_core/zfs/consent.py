# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a disk may become a part of a pool: blank and free, or cleared with consent for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import disks
from .command import Runner
from .steps import Change, DiskError, Step
from .vdevs import Pool, Vdev


def clear(
    runner: Runner, new: Sequence[Vdev], overwrite: Sequence[str], pools: Mapping[str, Pool]
) -> list[Step]:
    """Return the steps that clear the disks of new vdevs before a pool takes them.

    ``overwrite`` names the disks whose content may go. Raises :class:`DiskError` for every other
    one that carries anything, and for every one that is in use or in one of the imported ``pools``.
    """
    members = {
        disks.device(path): name
        for name, pool in pools.items()
        for vdev in pool.vdevs
        for path in vdev.disks
    }
    consented = set(map(disks.device, overwrite))
    refused: list[str] = []
    steps: list[Step] = []
    paths = [path for vdev in new for path in vdev.disks]
    for path in paths:
        disks.require_device(path)
    first = ""
    for path in paths:
        device = disks.device(path)
        around = [*disks.nodes(device), *disks.above(device)]
        found = [
            f"{node} belongs to the imported pool {members[node]!r}"
            for node in around
            if node in members
        ] or disks.uses(device)
        if not found:
            content = disks.contents(runner, device)
            if content and device in consented:
                steps += _clearing(runner, path, device, content)
            elif content:
                found = [f"{line} (not named in `overwrite`)" for line in content]
        first = first or (path if found else "")
        refused += [f"{path}: {line}" for line in found]
    if refused:
        raise DiskError(
            "a disk is in use or carries something",
            object=first,
            details=refused,
            next_step="Make sure that it is the right disk. What it carries is destroyed only if "
            "`overwrite` names it; what is in use is never touched.",
        )
    return steps


def _clearing(runner: Runner, path: str, device: str, content: Sequence[str]) -> list[Step]:
    change = Change(f"disk {path}", "; ".join(content), "cleared")
    nodes = disks.nodes(device)[::-1]  # partitions first: they go with their table
    labelled = [
        node for node in nodes if any(f"{node} carries a label" in line for line in content)
    ]
    commands: list[tuple[str, ...]] = [("zpool", "labelclear", "-f", node) for node in labelled]
    commands.append(("wipefs", "--all", "--quiet", *nodes))
    commands.append(("udevadm", "settle"))  # lest links to old partitions vanish under a new label
    return [Step(commands[0], (change,)), *(Step(command, ()) for command in commands[1:])]
