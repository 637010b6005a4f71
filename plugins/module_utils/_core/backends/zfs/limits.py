# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits that OpenZFS would only notice behind the commit point, when it is too late to undo.

A clone is charged for next to nothing; what is renamed or promoted is charged for whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ...errors import RepositoryError, SystemCallError
from ...zfs.datasets import Properties

NO_LIMIT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("quota", "refquota", "reservation", "refreservation"), ("0",)),
    **dict.fromkeys(("filesystem_limit", "snapshot_limit"), ("none", str(2**64 - 1))),
}
"""Values that say that there is no limit, as ``zfs get -p`` has them."""

_LONGEST_NAME = 255
"""Characters of a dataset's or snapshot's name."""

_OF_PLACES = ("quota", "filesystem_limit", "snapshot_limit")
LIMITS = ("used", "usedbyrefreservation", *_OF_PLACES)
"""Properties that the functions here look at."""


def require_place(container: str, found: Properties) -> None:
    """Stop where the work container may not take in what is replaced, with all its snapshots."""
    limiting = [name for name in _OF_PLACES if _is_set(found, name)]
    if limiting:
        told = ", ".join(f"{name}={found[name].value}" for name in limiting)
        raise RepositoryError(
            f"it has {told}, and what is replaced is renamed to below it, with its snapshots",
            object=container,
            next_step=f"Run `zfs set {' '.join(f'{name}=none' for name in limiting)} {container}`; what is "
            "to be limited is the publish parent, or a repository.",
        )


def require_names(retired: str, taken: Iterable[str]) -> None:
    """Stop where a snapshot's whole name would be too long once its dataset is called ``retired``."""
    for snapshot in taken:
        live, _at, name = snapshot.partition("@")
        most = _LONGEST_NAME - len(f"{retired}@")
        if len(name) > most:
            raise RepositoryError(
                f"its name may have {most} characters behind the @, as what is replaced is renamed",
                object=snapshot,
                next_step=f"Run `zfs rename {snapshot} {live}@SHORTER`, and run again.",
            )


def require_snapshots(live: str, present: Properties, taken: int) -> None:
    """Stop where the repository may not have one snapshot more than those ``taken``.

    OpenZFS allows it to root alone.
    """
    if os.geteuid() == 0 or not _is_set(present, "snapshot_limit"):
        return
    limit = int(present["snapshot_limit"].value)
    number = taken + 1
    if number > limit:
        raise SystemCallError(
            f"it would have {number} snapshots, more than its snapshot_limit of {limit} (EDQUOT)",
            object=live,
            next_step="Raise the limit or remove older snapshots, and run again.",
        )


def require_room(live: str, present: Properties, stage: Properties) -> None:
    """Stop where the repository would be larger than its quota, which a clone is not charged for.

    OpenZFS charges the older snapshots when the clone is promoted, and refuses that then: they could not
    even be pruned any more.
    """
    quota = int(present["quota"].value)
    # The stage has the same refreservation, which will be counted once.
    kept = int(present["used"].value) - int(present["usedbyrefreservation"].value)
    size = kept + int(stage["used"].value)
    if quota and size > quota:
        raise SystemCallError(
            f"it would take {size} bytes with its older snapshots, more than its quota of {quota} (EDQUOT)",
            object=live,
            next_step="Raise the quota or remove older snapshots, and run again.",
        )


def _is_set(found: Properties, name: str) -> bool:
    return found[name].value not in NO_LIMIT[name]
