# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a clone does not take from its origin: properties and grants of the published dataset."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import RepositoryError
from ...zfs import datasets, grants
from ...zfs.command import Runner
from .layout import STAGE, Layout
from .limits import NO_LIMIT

_PLACES = ("mountpoint", "canmount")
_COUNTS = ("filesystem_count", "snapshot_count")
"""What OpenZFS counts, and shows as set, as soon as there is a limit on a dataset or above it."""


def _properties(runner: Runner, layout: Layout) -> dict[str, str]:
    """Return the properties that the next generation is to have as well.

    Raises :class:`RepositoryError` where they say that the repository is not to be mounted.
    """
    own = datasets.own_properties(runner, layout.live)
    if own.get("canmount", "on") != "on":
        raise RepositoryError(
            f"it has canmount={own['canmount']}: only names may decide what is mounted",
            object=layout.live,
            next_step=f"Run `zfs set canmount=on {layout.live}`.",
        )
    return {key: value for key, value in own.items() if _is_carried_over(key, value)}


def _is_carried_over(key: str, value: str) -> bool:
    """Tell whether a property is to be set on the next generation as well.

    Limits that were lifted read as numbers that cannot be set; a new dataset has none anyway.
    """
    return (
        key not in (*_PLACES, *_COUNTS)
        and not key.startswith("dsg:")
        and value not in NO_LIMIT.get(key, ())
    )


class Kept(NamedTuple):
    """Properties by name, and the commands that grant what is granted on the published dataset."""

    properties: dict[str, str]
    grants: list[tuple[str, ...]]


def find(runner: Runner, layout: Layout, txn_id: str) -> Kept:
    """Return what a transaction's stage is to be given."""
    stage = layout.work(STAGE, txn_id)
    told = runner.zfs("allow", layout.live)
    return Kept(_properties(runner, layout), grants.copies(told, layout.live, stage))


def carry_over(runner: Runner, layout: Layout, txn_id: str) -> None:
    """Set on a transaction's stage what is set and granted on the published dataset itself."""
    kept = find(runner, layout, txn_id)
    if kept.properties:
        pairs = ["=".join(item) for item in sorted(kept.properties.items())]
        # A user property may begin with a dash, and sorts first then; old versions know no `--`.
        options = ["--"] if pairs[0].startswith("-") else []
        runner.zfs("set", *options, *pairs, layout.work(STAGE, txn_id))
    for program, *words in kept.grants:
        runner.run(program, *words)
