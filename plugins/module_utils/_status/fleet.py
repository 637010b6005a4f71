# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One status of a fleet from the results of ``dsg_info`` on its hosts; a host that failed is in it.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._standing import ERROR, NOTE, WARNING, beside_cleanups, location, problem

IN_SYNC, DIFFERS, PUBLISHED, ABSENT = "in sync", "differs", "published", "absent"
FAILED, UNREACHABLE = "failed", "unreachable"
STATES = (IN_SYNC, DIFFERS, PUBLISHED, ABSENT, FAILED, UNREACHABLE)
"""How a repository stands: the third one was not compared with a working copy."""

_AWAY = ("DSG-CONNECT", "DSG-CONNECTION")
_OUR_OWN = ("_ansible", "ansible_", "invocation", "item", "exception", "warnings", "deprecations")

Result = Mapping[str, Any]


class Row(NamedTuple):
    """One repository on one host; ``repository`` is '' where the host told of none.

    A host may have several of one name: ``location`` tells them apart ('' where nobody said it).
    """

    host: str
    repository: str
    location: str
    state: str
    result: Result

    @property
    def summary(self) -> Mapping[str, str]:
        """Return the module's own words, {} where it could not look."""
        found: Mapping[str, str] = self.result.get("summary") or {}
        return found

    @property
    def looked_at(self) -> bool:
        """Tell whether anything is known of it."""
        return self.state not in (FAILED, UNREACHABLE)

    @property
    def waiting(self) -> str:
        """Return what waits there in words (``1 unfinished, 3 cleanups``), '' for nothing.

        A question mark stands for what could not be read. What recovery finds to clear away is a
        cleanup only.
        """
        found, unknown = self.result, [k for k, said in self.summary.items() if said == "?"]
        cleanups = found.get("pending_cleanups") or []
        left = beside_cleanups(found.get("unfinished") or [], cleanups)
        open_ones = found.get("open_transactions") or []
        counts = {"unfinished": len(left) + len(open_ones), "cleanups": len(cleanups)}
        return ", ".join(
            f"{'?' if what in unknown else count} {'cleanup' if what[0] == 'c' and count == 1 else what}"
            for what, count in counts.items()
            if count or what in unknown
        )


class Fleet(NamedTuple):
    """``taken`` is when, UTC as ``2026-11-20T22:41:00Z``; a problem has ``host`` and ``repository``.

    ``hosts`` are all that were asked: one that is to hold no repository is among them, and has no row.
    """

    taken: str
    rows: Sequence[Row]
    problems: Sequence[dict[str, Any]]
    hosts: Sequence[str]

    def totals(self) -> dict[str, int]:
        """Return how many hosts and repositories there are, and repositories in each state."""
        counts = {state.replace(" ", "_"): 0 for state in STATES}
        for row in self.rows:
            counts[row.state.replace(" ", "_")] += 1
        return {
            "hosts": len(self.hosts),
            "repositories": sum(bool(row.repository) for row in self.rows),
            **counts,
            "errors": self.count(ERROR),
            "warnings": self.count(WARNING),
            "notes": self.count(NOTE),
        }

    def count(self, severity: str) -> int:
        """Return how many problems have a severity."""
        return sum(one["severity"] == severity for one in self.problems)

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "taken": self.taken,
            "totals": self.totals(),
            "problems": list(self.problems),
            "repositories": [
                {
                    "host": row.host,
                    "repository": row.repository,
                    "location": row.location,
                    "state": row.state,
                    **{
                        key: value
                        for key, value in row.result.items()
                        if not key.startswith(_OUR_OWN)
                    },
                }
                for row in self.rows
            ],
        }

    def sentence(self) -> str:
        """Return the totals in words."""
        totals = self.totals()
        parts = [
            f"{number} {'differ' if state == DIFFERS and number != 1 else state}"
            for state, number in ((state, totals[state.replace(" ", "_")]) for state in STATES)
            if number
        ]
        worries = [
            f"{totals[key]} {key if totals[key] != 1 else key[:-1]}"
            for key in ("errors", "warnings", "notes")
            if totals[key]
        ]
        hosts = _plural(totals["hosts"], "host", "hosts")
        repositories = _plural(totals["repositories"], "repository", "repositories")
        told = f"{hosts}, {repositories}" if self.hosts else "no hosts"
        told += f": {', '.join(parts)}" if parts else ""
        return f"{told}; {', '.join(worries) or 'no problems'}"


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def fleet(results: Mapping[str, Result], taken: str) -> Fleet:
    """Put together what hosts told: host → the registered result of a task, or of a loop of them."""
    rows = [row for host, result in results.items() for row in _rows(host, result or {})]
    problems = [
        {"host": row.host, "repository": row.repository, **one}
        for row in rows
        for one in _problems(row)
    ]
    rank = {ERROR: 0, WARNING: 1, NOTE: 2}
    worst_first = sorted(problems, key=lambda one: rank[one["severity"]])
    return Fleet(taken, rows, worst_first, list(results))


def _rows(host: str, result: Result) -> Iterator[Row]:
    """Yield a row for each repository; a host that got nowhere has one without a name."""
    items = result.get("results")
    if items == [] and not (result.get("failed") or result.get("unreachable")):
        return  # it was asked for nothing, as its list of repositories is empty
    for one in items if items else [result]:
        yield Row(host, _name(one), _location(one), _state(one), one)


def _name(result: Result) -> str:
    found = (result.get("summary") or {}).get("repository")
    item = result.get("item")
    return str(found or (item.get("name", "") if isinstance(item, Mapping) else ""))


def _location(result: Result) -> str:
    """Return what the module said, or would have said had it been started."""
    item = result.get("item")
    backend = item.get("backend") if isinstance(item, Mapping) else None
    asked = location(backend, _name(result)) if isinstance(backend, Mapping) else ""
    return str(result.get("location") or asked)


def _state(result: Result) -> str:
    code = (result.get("error") or {}).get("code", "")
    if result.get("unreachable") or code in _AWAY:
        return UNREACHABLE
    if result.get("failed") or "repository_exists" not in result:
        return FAILED
    if not result["repository_exists"]:
        return ABSENT
    if "in_sync" not in result:
        return PUBLISHED
    return IN_SYNC if result["in_sync"] else DIFFERS


def _problems(row: Row) -> list[dict[str, Any]]:
    if row.result.get("problems"):
        return list(row.result["problems"])
    if row.looked_at:
        return []
    said = str(row.result.get("msg") or "nothing was heard of it")
    step = "Remove the cause and look again."
    if row.state == UNREACHABLE:
        step = "See that the host is up and lets Ansible in, then look again."
    return [problem(ERROR, "failed", said, step, row.host)]
