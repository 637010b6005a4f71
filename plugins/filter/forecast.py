# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter for the role ``sync``: what a fleet would make of what each of its hosts would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.dsg.storage.plugins.filter.fleet import (
    direction_of,
    fleet_outcome,
    items_of,
    working_copy,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.client.fleet import COMMIT
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ArgumentError,
    BehindError,
    PathError,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.policy import BOTH, PULL

Result = Mapping[str, Any]

_TOGETHER = "Hosts that publish from one working copy publish all together or not at all"


def fleet_forecast(
    results: Mapping[str, Result],
    fleet: Mapping[str, Any],
    max_fail_percentage: float = 0,
    direction: str = "",
) -> list[str]:
    """Return in sentences what differs from what each host would do alone: nothing, one or two.

    ``results`` are what the hosts returned in check mode; ``fleet`` is of ``fleet_members``.
    """
    as_fleet = {
        host: [_as_prepared(one, fleet, direction) for one in items_of(results[host])]
        for host in fleet["members"]
        if host in results
    }
    lost = [*fleet["lost"], *(host for host in fleet["members"] if host not in results)]
    outcome = fleet_outcome(
        [(host, {"results": several}) for host, several in as_fleet.items()],
        max_fail_percentage,
        fleet["canaries"],
        lost,
    )
    return [*_of_failures(outcome), *_of_fetches(outcome, as_fleet)]


def _as_prepared(one: Result, fleet: Mapping[str, Any], direction: str) -> Result:
    """Return what the host would return if it were to prepare, as it does in a fleet."""
    definition = one.get("item") or {}
    src = working_copy(definition.get("src", ""))
    if one.get("failed") or one.get("unreachable") or src not in fleet["shared"]:
        return one
    way = direction_of(definition, direction)
    if way == PULL:
        return {"pulls": bool(one.get("changed"))}
    if one.get("operation") == "clone" and src not in fleet["pulled"]:
        return {"failed": True, "error": {"code": ArgumentError.code}}
    renames = bool((one.get("names") or {}).get("count"))
    if renames and one.get("operation") == "init":
        return {"failed": True, "error": {"code": PathError.code}}
    counts = (one.get("plan") or {}).get("counts") or {}
    if renames or (way == BOTH and counts.get("download", 0) + counts.get("delete_local", 0)):
        return {"failed": True, "error": {"code": BehindError.code}}
    return {"phase": "prepare", "txn_id": "would be" if one.get("changed") else ""}


def _of_failures(outcome: Mapping[str, Any]) -> list[str]:
    failed = [host for host in outcome["failed"] if host not in outcome["fetch"]]
    if not failed:
        return []
    reasons = "; ".join(
        reason for reason in outcome["reasons"] if reason.partition(":")[0] in failed
    )
    if outcome["fetch"] or outcome["decision"] == COMMIT:
        return [f"The others would publish without {', '.join(failed)}. Failed are {reasons}."]
    return [f"{_TOGETHER}: nothing would be published. Failed are {reasons}."]


def _of_fetches(outcome: Mapping[str, Any], as_fleet: Mapping[str, Sequence[Result]]) -> list[str]:
    pulled = [host for host, several in as_fleet.items() if any(map(_pulls, several))]
    sources = [*pulled, *outcome["fetch"]]
    if not sources:
        return []
    then = (
        ", and then go to all others as well"
        if outcome["decision"] == COMMIT or outcome["fetch"]
        else ""
    )
    return [
        f"What {', '.join(sources)} has would come into the working copy first{then}: "
        "the rows show each host without that."
    ]


def _pulls(one: Result) -> bool:
    return bool(one.get("pulls"))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"fleet_forecast": fleet_forecast}
