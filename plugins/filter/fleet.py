# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the role ``sync``: what hosts have in common, and what follows from how they fared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.module_utils._core.client.fleet import COMMIT
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    BehindError,
    DsgError,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.fleet.decision import decision

Result = Mapping[str, Any]


def shared_sources(definitions: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the working copies that more than one host publishes from."""
    found = Counter(src for host in definitions for src in {str(one["src"]) for one in host})
    return sorted(src for src, hosts in found.items() if hosts > 1)


def fleet_outcome(
    results: Iterable[tuple[str, Result]],
    max_fail_percentage: float = 0,
    canaries: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the decision, and which hosts failed, prepared something, or have to be fetched from."""
    fared = dict(results)
    failures = {host: _failures(result) for host, result in fared.items()}
    failed = {host: found for host, found in failures.items() if found}
    ready = {host for host in fared if not failures[host] and _takes_part(fared[host])}
    behind = {host for host, found in failed.items() if set(found) == {BehindError.code}}

    def decide(good: set[str], bad: set[str]) -> str:
        return decision(good, bad, float(max_fail_percentage), list(canaries))

    try:
        decided = decide(ready, set(failed))
        hopeful = bool(behind) and decide(ready | behind, set(failed) - behind) == COMMIT
    except DsgError as exc:
        raise AnsibleFilterError(f"dsg.storage.fleet_outcome: {exc.message}") from exc
    return {
        "decision": decided,
        "failed": sorted(failed),
        "prepared": sorted(host for host, result in fared.items() if _has_prepared(result)),
        "fetch": sorted(behind) if hopeful else [],
        "reasons": [f"{host}: {', '.join(sorted(failed[host]))}" for host in sorted(failed)],
    }


def plan_rows(results: Iterable[tuple[str, Result]]) -> list[dict[str, Any]]:
    """Return a row for each host and repository: what a sync would do there, or why it would not."""
    return [_row(host, one) for host, result in results for one in _items(result)]


def _row(host: str, result: Result) -> dict[str, Any]:
    counts = (result.get("plan") or {}).get("counts") or {}
    snapshot = result.get("snapshot")
    return {
        **counts,
        "host": host,
        "repository": (result.get("item") or {}).get("name"),
        "snapshot": None if snapshot is None else f"s{snapshot}",
        "problem": (result.get("error") or {}).get("code"),
    }


def _items(result: Result) -> list[Result]:
    """Return the results of a loop; a host that was never reached has none, but its own."""
    found: list[Result] = result.get("results") or [result]
    return found


def _failures(result: Result) -> set[str]:
    return {
        str(
            (one.get("error") or {}).get(
                "code", "unreachable" if one.get("unreachable") else "error"
            )
        )
        for one in _items(result)
        if one.get("failed") or one.get("unreachable")
    }


def _takes_part(result: Result) -> bool:
    return any(one.get("phase") == "prepare" for one in _items(result))


def _has_prepared(result: Result) -> bool:
    return any(one.get("phase") == "prepare" and one.get("txn_id") for one in _items(result))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {
            "shared_sources": shared_sources,
            "fleet_outcome": fleet_outcome,
            "plan_rows": plan_rows,
        }
