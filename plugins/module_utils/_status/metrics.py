# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet in Prometheus' text format, for a node exporter's textfile collector.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Union

from .._standing import beside_cleanups
from .fleet import Fleet, Row

Number = Union[int, float]
Labels = Mapping[str, str]


class Metric(NamedTuple):
    """A gauge: its name without the prefix, what it says, and its samples for one repository."""

    name: str
    help: str
    samples: Callable[[Row], Iterator[tuple[Labels, Number]]]


def metrics(fleet: Fleet) -> str:
    """Return the whole text, every metric with its HELP and TYPE lines."""
    taken = [({}, _epoch(fleet.taken))]
    lines = _metric("status_time_seconds", "When the status was taken, since the epoch.", taken)
    for metric in _METRICS:
        samples = [
            ({**_identity(row), **labels}, value)
            for row in fleet.rows
            for labels, value in metric.samples(row)
        ]
        lines += _metric(metric.name, metric.help, samples)
    return "".join(f"{line}\n" for line in lines)


def _identity(row: Row) -> dict[str, str]:
    """Return the labels of every sample, which no two repositories have in common."""
    return {"host": row.host, "repository": row.repository, "location": row.location}


def _metric(name: str, help: str, samples: list[tuple[dict[str, str], Number]]) -> list[str]:
    if not samples:
        return []
    head = [f"# HELP dsg_{name} {_escape(help)}", f"# TYPE dsg_{name} gauge"]
    told = {f"dsg_{name}{_labels(labels)}": value for labels, value in samples}
    return head + [f"{sample} {value}" for sample, value in told.items()]


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(text: str) -> str:
    """Return a label's value; what is not UTF-8 is replaced, as the format knows nothing else."""
    sound = text.encode("utf-8", "replace").decode()
    return sound.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _epoch(when: str) -> int:
    return calendar.timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ"))


def _value(get: Callable[[Mapping[str, Any]], Any]) -> Callable[[Row], Iterator[Any]]:
    """Return samples of one number for a repository that could be looked at, if it has it."""

    def samples(row: Row) -> Iterator[tuple[Labels, Number]]:
        found = get(row.result) if row.looked_at else None
        if found is not None:
            yield {}, int(found)

    return samples


def _counts(label: str, get: Callable[[Mapping[str, Any]], Any]) -> Callable[[Row], Iterator[Any]]:
    def samples(row: Row) -> Iterator[tuple[Labels, Number]]:
        for key, number in (get(row.result) or {}).items() if row.looked_at else ():
            yield {label: str(key)}, int(number)

    return samples


def _up(row: Row) -> Iterator[tuple[Labels, Number]]:
    yield {}, int(row.looked_at)


def _info(row: Row) -> Iterator[tuple[Labels, Number]]:
    if row.looked_at:
        found = row.result
        yield {"digest": found["manifest_digest"], "created_by": found["created_by"]}, 1


def _healthy(row: Row) -> Iterator[tuple[Labels, Number]]:
    space = row.result.get("space") or {}
    if space.get("pool"):
        yield {"pool": space["pool"]}, int(space["health"] == "ONLINE")


def _published(result: Mapping[str, Any]) -> int | None:
    return _epoch(result["created_at"]) if result["created_at"] else None


def _severities(row: Row) -> Iterator[tuple[Labels, Number]]:
    told = row.result.get("problems") or []
    for severity in ("error", "warning", "note"):
        number = sum(one["severity"] == severity for one in told)
        if severity == "error" and not row.looked_at:
            number = max(1, number)
        yield {"severity": severity}, number


def _length(key: str) -> Callable[[Row], Iterator[Any]]:
    return _value(lambda result: None if _is_unknown(result, key) else len(result[key]))


def _unfinished(result: Mapping[str, Any]) -> int | None:
    """Return how much is unfinished; what recovery finds to clear away is a cleanup only."""
    if _is_unknown(result, "unfinished"):
        return None
    return len(beside_cleanups(result["unfinished"], result["pending_cleanups"]))


def _is_unknown(result: Mapping[str, Any], key: str) -> bool:
    part = _PARTS[key]
    return any(one["part"] == part for one in result["unknown"])


def _space(key: str) -> Callable[[Row], Iterator[Any]]:
    return _value(lambda result: (result["space"] or {}).get(key))


_PARTS = {
    "snapshots": "snapshots",
    "unfinished": "unfinished",
    "open_transactions": "open",
    "pending_cleanups": "cleanups",
    "missing_rights": "rights",
}
_METRICS = (
    Metric("up", "Whether the repository could be looked at.", _up),
    Metric("info", "What is published, by digest, and who published it.", _info),
    Metric("snapshot", "Number of the newest snapshot.", _value(lambda r: r["snapshot"])),
    Metric("snapshots", "How many snapshots are kept.", _length("snapshots")),
    Metric("published_time_seconds", "When it was published, since the epoch.", _value(_published)),
    Metric("files", "How many files are published.", _value(lambda r: r["files"])),
    Metric("bytes", "Size of all published files.", _value(lambda r: r["bytes"])),
    Metric(
        "in_sync",
        "Whether the working copy is in step with the repository.",
        _value(lambda r: r.get("in_sync")),
    ),
    Metric(
        "paths",
        "How many paths a sync would treat in some way.",
        _counts("action", lambda r: (r.get("plan") or {}).get("counts")),
    ),
    Metric(
        "path_states",
        "How many paths are in some state of working copy (L), last sync (C) and repository (R).",
        _counts("state", lambda r: r.get("states")),
    ),
    Metric(
        "drift_paths",
        "How many published paths differ from the manifest.",
        _value(lambda r: (r["drift"] or {}).get("count")),
    ),
    Metric("unfinished", "What interrupted runs left.", _value(_unfinished)),
    Metric("open_transactions", "Open or held transactions.", _length("open_transactions")),
    Metric("pending_cleanups", "Cleanups that wait.", _length("pending_cleanups")),
    Metric("missing_rights", "Rights that publishing lacks.", _length("missing_rights")),
    Metric("space_free_bytes", "What may still be written.", _space("free")),
    Metric("space_size_bytes", "All there is to write to.", _space("size")),
    Metric("space_history_bytes", "What older snapshots take.", _space("history")),
    Metric("space_quota_bytes", "The tightest limit that is set.", _space("quota")),
    Metric("pool_healthy", "Whether the pool is ONLINE.", _healthy),
    Metric("problems", "Problems that a person should look at.", _severities),
)
