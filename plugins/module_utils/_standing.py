# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How one repository stands, as the result of a module: data, the row of a table, and problems.

Private to the collection: it may change at any time. Pure functions over the core's data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _report
from ._core.backends.standing import RECOVER
from ._core.errors import ConflictError, DriftError, DsgError, HeldError, capped
from ._core.plan.states import CONFLICT
from ._core.sync.status import Status

ERROR, WARNING, NOTE = "error", "warning", "note"
SCARCE = 0.05
"""The share of free space below which it is told as a problem."""

_DETAILS = 10
Problem = dict[str, Any]


def location(backend: Mapping[str, Any], repository: str) -> str:
    """Return where on its host a repository is, as the options say it, be it there or not."""
    held_by = str(backend.get("base") or backend.get("dataset") or "").rstrip("/")
    return f"{held_by}/{repository}" if held_by else ""


def data(status: Status, limit: int) -> dict[str, Any]:
    """Return what the storage host told, for the result; lists of paths hold up to ``limit``."""
    drift = status.drift
    return {
        "unfinished": status.unfinished,
        "open_transactions": status.open_transactions,
        "running": status.running,
        "pending_cleanups": status.cleanups,
        "snapshot_users": status.snapshot_users,
        "missing_rights": status.missing_rights,
        "space": status.space,
        "drift": None if drift is None else {"count": len(drift), "paths": drift[:limit]},
        "unknown": status.unknown,
    }


def summary(status: Status, repository: str, *, compared: bool) -> dict[str, str]:
    """Return the row; what is not known or was not asked for is empty."""
    space = status.space or {}
    unfinished = len(status.unfinished) + len(status.open_transactions)
    failed = {one["part"] for one in status.unknown}
    return {
        "repository": repository,
        "snapshot": _report.summarise_snapshot(status.snapshot),
        "published": status.created_at,
        "by": status.created_by,
        "message": status.message,
        "digest": status.digest[:12],
        "in_sync": ("yes" if status.in_sync else "no") if compared else "",
        "differences": _differences(status) if compared else "",
        "drift": _counted(status.drift, "drift" in failed),
        "unfinished": "?" if {"unfinished", "open"} & failed else str(unfinished or "no"),
        "cleanups": _counted(status.cleanups, "cleanups" in failed),
        "history": _size(space.get("history"), "space" in failed),
        "free": _size(space.get("free"), "space" in failed),
        "problem": "" if status.refused is None else status.refused.code,
    }


def _differences(status: Status) -> str:
    if status.refused is not None:
        return f"refused ({status.refused.code})"
    if not status.working_copy_exists:
        return "no working copy"
    return _report.summarise_counts(status.plan.counts())


def _counted(found: Sequence[object] | None, failed: bool) -> str:
    if failed:
        return "?"
    return "" if found is None else str(len(found) or "no")


def _size(number: int | None, failed: bool) -> str:
    if failed:
        return "?"
    return "" if number is None else _report.size(number)


def problems(status: Status, src: str = "") -> list[Problem]:
    """Return what a person should know of, the worst first: each with its next safe step.

    ``src`` is the working copy that was to be compared, '' where none was.
    """
    found = [] if status.refused is None else [_error("refused", status.refused)]
    found += _working_copy(status, src)
    found += [_unknown(one) for one in status.unknown]
    found += _drift(status.drift or [])
    found += _conflicts(status)
    found += _health(status.space or {})
    found += _left(status)
    found += [_right(one) for one in status.missing_rights]
    found += _open(status.open_transactions)
    rank = {severity: number for number, severity in enumerate((ERROR, WARNING, NOTE))}
    return sorted(found, key=lambda one: rank[one["severity"]])


def failure(error: DsgError) -> list[Problem]:
    """Return the only problem of a repository that could not be looked at."""
    return [_error("failed", error)]


def _error(kind: str, error: DsgError) -> Problem:
    found = problem(ERROR, kind, error.message, error.next_step, error.object or "", error.details)
    return {**found, "code": error.code}


def problem(
    severity: str,
    kind: str,
    message: str,
    next_step: str,
    object: str = "",
    details: Sequence[str] = (),
) -> Problem:
    """Return one problem; of many details only the first are told."""
    return {
        "severity": severity,
        "kind": kind,
        "code": "",
        "object": object,
        "message": message,
        "details": capped(details, _DETAILS),
        "next_step": next_step,
    }


def _unknown(error: Mapping[str, Any]) -> Problem:
    found = problem(
        ERROR,
        "unknown",
        f"{error['part']} cannot be told: {error['message']}",
        error["next_step"] or "Remove the cause and look again.",
        error["object"] or "",
        error["details"],
    )
    return {**found, "code": error["code"]}


def _working_copy(status: Status, src: str) -> list[Problem]:
    if not src or status.working_copy_exists:
        return []
    said = "there is no working copy, so nothing was compared"
    step = "Correct src, or get the published tree with `dsg.storage.clone`."
    if not status.repository_exists:
        step = "Correct src, or make the directory that is to be published."
    return [problem(WARNING, "unknown", said, step, src)]


def _drift(found: Sequence[str]) -> list[Problem]:
    if not found:
        return []
    noun = "path differs" if len(found) == 1 else "paths differ"
    said = f"{len(found)} {noun} from the manifest: somebody else wrote to the published tree"
    return [problem(ERROR, "drift", said, DriftError.next_step, details=found)]


def _conflicts(status: Status) -> list[Problem]:
    steps = status.plan.of(CONFLICT)
    if not steps:
        return []
    noun = "path is" if len(steps) == 1 else "paths are"
    paths = [f"{_report.shown_path(step.path)} ({step.state})" for step in steps]
    said = f"{len(steps)} {noun} in conflict"
    return [problem(WARNING, "conflict", said, ConflictError.next_step, details=paths)]


def _health(space: Mapping[str, Any]) -> list[Problem]:
    found = []
    if space.get("health", "") not in ("", "ONLINE"):
        pool, health = space["pool"], space["health"]
        step = f"Run `zpool status -x {pool}` and do what it says."
        found.append(problem(ERROR, "health", f"pool {pool} is {health}", step, pool))
    free, most = space.get("free"), space.get("quota") or space.get("size")
    if free is not None and most and free < SCARCE * most:
        limit = f" (limited by the {space['quota_of']})" if space.get("quota") else ""
        said = f"only {_report.size(free)} of {_report.size(most)} are free{limit}"
        step = "Remove older snapshots that nobody needs, raise the limit, or add storage."
        found.append(problem(WARNING, "space", said, step))
    return found


def _left(status: Status) -> list[Problem]:
    """Return what interrupted runs left; while one is under way, some of it may be its own."""
    found = [
        problem(
            WARNING,
            "cleanup",
            one["what"],
            one["next_step"],
            one["object"],
            [holder["text"] for holder in one["holders"]],
        )
        for one in status.cleanups
    ]
    rest = beside_cleanups(status.unfinished, status.cleanups)
    step = f"{RECOVER[:1].upper()}{RECOVER[1:]}."
    if status.running:
        names = "; ".join(one["text"] for one in status.running)
        found.append(
            problem(NOTE, "running", f"a run is under way: {names}", "Wait until it ended.")
        )
        step = "Wait until the run that is under way has ended, then look again."
    if rest:
        said = rest[0] if len(rest) == 1 else f"{len(rest)} findings of interrupted runs"
        found.append(
            problem(WARNING, "unfinished", said, step, details=rest if len(rest) > 1 else ())
        )
    return found


def beside_cleanups(unfinished: Sequence[str], cleanups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is unfinished without being told as a cleanup already."""
    told = [f"transaction {one['txn_id']}" for one in cleanups if one.get("txn_id")]
    told += [text for one in cleanups for text in (one["object"], one["what"])]
    return [line for line in unfinished if not any(one in line for one in told)]


def _right(missing: Mapping[str, Any]) -> Problem:
    return problem(WARNING, "rights", missing["message"], missing["next_step"], missing["object"])


def _open(found: Sequence[str]) -> list[Problem]:
    return [
        problem(
            NOTE,
            "open",
            line,
            HeldError.next_step if " held " in line else "Commit it, or roll it back.",
        )
        for line in found
    ]
