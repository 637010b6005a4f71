# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the role ``sync``: what hosts have in common, and what follows from how they fared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.module_utils import _report
from ansible_collections.dsg.storage.plugins.module_utils._core.client.fleet import (
    COMMIT,
    ROLLBACK,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    BehindError,
    DsgError,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.policy import BOTH, PULL
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.fleet.decision import decision
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.request import WITHDRAW
from ansible_collections.dsg.storage.plugins.plugin_utils._strategy import strategy_that_goes_ahead

Result = Mapping[str, Any]

_LOST = "lost before"


def fleet_members(
    hostvars: Mapping[str, Mapping[str, Any]],
    batch: Sequence[str],
    canaries: str | Sequence[str] = (),
    inventory: Sequence[str] = (),
    lost: Sequence[str] = (),
    application: str = "",
    direction: str = "",
    together: bool = False,
) -> dict[str, Any]:
    """Return what the hosts of a batch publish together, which go first, and which were lost before.

    Canaries that take no part in this batch are left out of account; one that nobody knows is refused.
    So is a strategy by which no host waits for another one, if the asking one is to go ``together``.
    ``direction`` is what holds for all definitions ('': what each says). Definitions are those that a
    host has told (``sync_given``), for this ``application`` of the role, or its ``dsg_repositories``.
    """
    if together:
        _refuse_going_ahead()
    known = {*inventory, *batch, *lost}
    wanted = _canaries(canaries, known)
    own = {host: _definitions(hostvars[host], application) for host in batch}
    living = {host: _sources(definitions) for host, definitions in own.items()}
    # What a play gives to a role nobody knows of a host that is lost.
    is_given = any(_told(hostvars[host], application) for host in batch)
    counted = _counted(map(hostvars.__getitem__, known), application) if lost else set()
    new = [host for host in lost if host not in counted]
    anything = set().union(*living.values())
    gone = {
        host: anything if is_given else _sources_of_lost(hostvars[host], anything) for host in new
    }
    shared = shared_sources(living.values(), gone.values())
    members, missing = (
        [host for host in hosts if hosts[host] & set(shared)] for hosts in (living, gone)
    )
    return {
        "shared": shared,
        "members": members,
        "lost": missing,
        # Of each working copy one host ends the transaction's record, be there something to do or not.
        "first": _firsts(own, direction),
        # What comes into a working copy comes before the others prepare what is in it.
        "pulled": sorted(_pulled(own, direction) & set(shared)),
        # Where every host goes its own way nobody waits for another one.
        "canaries": [host for host in members + missing if host in wanted],
        "counted": [*batch, *new],
        "application": application,
    }


def _refuse_going_ahead() -> None:
    """Raise an error where hosts would not wait for each other: each would decide by itself."""
    strategy = strategy_that_goes_ahead()
    if strategy:
        raise AnsibleFilterError(
            f"the play has the strategy {strategy}, by which no host waits for another one: hosts cannot publish "
            "all together or not at all. Nothing was changed. Next step: give the play `strategy: linear`."
        )


def _told(variables: Mapping[str, Any], application: str) -> Any:
    """Return the definitions that a play has given to a host, None where it goes by its variables."""
    told = variables.get("sync_given") or {}
    return told["definitions"] if told.get("application") == application else None


def _definitions(variables: Mapping[str, Any], application: str) -> Any:
    told = _told(variables, application)
    return variables["dsg_repositories"] if told is None else told


def _firsts(
    definitions: Mapping[str, Sequence[Mapping[str, Any]]], direction: str
) -> dict[str, str]:
    """Return working copy → the first host that publishes from it."""
    found: dict[str, str] = {}
    for host, several in definitions.items():
        for one in several:
            if direction_of(one, direction) != PULL:
                found.setdefault(working_copy(one["src"]), host)
    return found


def _pulled(definitions: Mapping[str, Sequence[Mapping[str, Any]]], direction: str) -> set[str]:
    """Return the working copies that a host only pulls into."""
    several = (one for definition in definitions.values() for one in definition)
    return {working_copy(one["src"]) for one in several if direction_of(one, direction) == PULL}


def direction_of(definition: Mapping[str, Any], direction: str = "") -> str:
    """Return which way a definition goes; ``direction`` is what holds for all of them, '' for nothing."""
    return str(direction or definition.get("direction") or BOTH)


def _canaries(given: str | Sequence[str], known: Collection[str]) -> list[str]:
    names = given.split(",") if isinstance(given, str) else given
    wanted = [name.strip() for name in names if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise AnsibleFilterError(
            f"dsg_canaries names what is no host of the inventory: {', '.join(unknown)}. "
            "Nothing was changed. Next step: correct dsg_canaries."
        )
    return wanted


def _counted(hosts: Iterable[Mapping[str, Any]], application: str) -> set[str]:
    """Return the hosts of earlier batches, which their members remember."""
    found: set[str] = set()
    for variables in hosts:
        told = variables.get("sync_fleet") or {}
        if told.get("application") == application:
            found.update(told["counted"])
    return found


def _sources_of_lost(variables: Mapping[str, Any], otherwise: set[str]) -> set[str]:
    """Return what a host was to publish from; anything, where its definitions cannot be read."""
    try:
        found = _sources(variables["dsg_repositories"])
    except Exception:  # whatever is wrong with them may be why the host was lost
        return otherwise
    return otherwise if any("{{" in src for src in found) else found


def shared_sources(living: Iterable[Collection[str]], lost: Iterable[Collection[str]]) -> list[str]:
    """Return the working copies that hosts publish from which are not the only ones to do so."""
    here = Counter(src for host in living for src in host)
    everywhere = here + Counter(src for host in lost for src in host)
    return sorted(src for src in here if everywhere[src] > 1)


def _sources(definitions: Sequence[Mapping[str, Any]]) -> set[str]:
    return {working_copy(one["src"]) for one in definitions}


def working_copy(src: object) -> str:
    """Return one name for a working copy, however its path is spelled; what is no absolute path stays as it is.

    Working copies that hosts have in common are here, where filters run, and so are links on the way to them.
    """
    path = os.path.expanduser(os.path.expandvars(str(src)))
    return os.path.realpath(path) if os.path.isabs(path) else path


def fleet_outcome(
    results: Iterable[Sequence[Any]],
    max_fail_percentage: float = 0,
    canaries: Sequence[str] = (),
    lost: Sequence[str] = (),
    fleet: str = "",
) -> dict[str, Any]:
    """Return the decision, and which hosts failed, prepared something, or have to be fetched from.

    ``fleet`` is the transaction that is decided, which the outcome names as well.
    ``results`` are of each host its name and what it returned, in as many parts as there are.
    """
    fared = {host: [one for part in parts for one in items_of(part)] for host, *parts in results}
    failures = {host: _failures(several) for host, several in fared.items()}
    failures.update({host: {_LOST} for host in lost})
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
        "fleet": fleet,
        "decision": decided,
        "failed": sorted(failed),
        "prepared": sorted(host for host, several in fared.items() if _has_prepared(several)),
        "fetch": sorted(behind) if hopeful else [],
        "reasons": [f"{host}: {', '.join(sorted(failed[host]))}" for host in sorted(failed)],
    }


def plan_rows(results: Iterable[tuple[str, Result]]) -> list[dict[str, Any]]:
    """Return a row for each host and repository: what a sync would do there, or why it would not."""
    return [_row(host, one) for host, result in results for one in items_of(result)]


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


def sync_rows(hosts: Iterable[tuple[str, Result, Result, Result, Result]]) -> list[dict[str, Any]]:
    """Return a row for each host and repository: what a sync did there, or why it did not."""
    return [
        _done(host, _first(one, pulled, number), _item(finished, number), _item(fetched, number))
        for host, result, finished, fetched, pulled in hosts
        for number, one in enumerate(items_of(result))
    ]


def _first(one: Result, pulled: Result, number: int) -> Result:
    """Return what was done of a definition; what was pulled first is left out later."""
    if not one.get("skipped") or not pulled:
        return one
    return _item(pulled, number) or pulled


def _done(host: str, one: Result, finished: Result, fetched: Result) -> dict[str, Any]:
    """Return the row of a run; of one in phases, by what became of what was prepared."""
    last = one
    if one.get("phase") == "prepare" and one.get("txn_id"):
        last = finished
    problem = _problem(one, last)
    # What was fetched for a fleet is here, whatever became of its transaction.
    parts = [fetched] if fetched.get("plan") else []
    parts += [] if problem else [one]
    spent = [part for part in (one, finished, fetched) if part.get("seconds")]
    return {
        "host": host,
        "repository": (one.get("item") or {}).get("name"),
        "operation": one.get("operation"),
        "snapshot": None if last.get("snapshot") is None else f"s{last['snapshot']}",
        **(_amounts(parts) if parts else {}),
        "seconds": _seconds(spent) if spent else None,
        "waiting": _waiting((one, finished, fetched)),
        "problem": problem or ("paths put off" if one.get("put_off") else None),
    }


def _waiting(parts: Iterable[Result]) -> str | None:
    """Return how much is to be cleared away once nobody uses it."""
    found = {said for part in parts for said in part.get("pending_cleanup") or ()}
    return f"{len(found)} cleanup{'s' if len(found) > 1 else ''}" if found else None


def _problem(one: Result, last: Result) -> str | None:
    """Return why a host has not got what it was to get."""
    for result in (one, last):
        if result.get("failed") or result.get("unreachable"):
            return _failure(result)
    if last.get("phase") in (ROLLBACK, WITHDRAW):
        return "rolled back"
    return None if last.get("operation") else "not done"


def _amounts(parts: Sequence[Result]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part["plan"]["counts"])
    size = sum(part["bytes_uploaded"] + part["bytes_downloaded"] for part in parts)
    return {
        "uploaded": counts["upload"],
        "deleted_remote": counts["delete_remote"],
        "downloaded": counts["download"],
        "deleted_local": counts["delete_local"],
        "bytes": _report.size(size),
    }


def _seconds(parts: Sequence[Result]) -> str:
    return f"{sum(sum(part['seconds'].values()) for part in parts):.1f} s"


def _item(result: Result, number: int) -> Result:
    """Return what a loop that came later returned for the same definition, if it did."""
    found = result.get("results") or []
    return found[number] if number < len(found) else {}


def items_of(result: Result) -> list[Result]:
    """Return the results of a loop; a host that was never reached has none, but its own."""
    found: list[Result] = result.get("results") or [result]
    return found


def _failures(several: Iterable[Result]) -> set[str]:
    return {_failure(one) for one in several if one.get("failed") or one.get("unreachable")}


def _failure(result: Result) -> str:
    otherwise = "unreachable" if result.get("unreachable") else "error"
    return str((result.get("error") or {}).get("code", otherwise))


def _takes_part(several: Iterable[Result]) -> bool:
    return any(one.get("phase") == "prepare" for one in several)


def _has_prepared(several: Iterable[Result]) -> bool:
    return any(one.get("phase") == "prepare" and one.get("txn_id") for one in several)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {
            "fleet_members": fleet_members,
            "fleet_outcome": fleet_outcome,
            "plan_rows": plan_rows,
            "sync_rows": sync_rows,
            "working_copy": working_copy,
        }
