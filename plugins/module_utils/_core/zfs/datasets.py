# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is: datasets, snapshots and properties, from listings that succeeded.

A process costs more than all that it can tell, so one command reads everything for one decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .command import Runner, ZfsError

LOCAL = "local"
OWN = ("local", "received")


class Value(NamedTuple):
    """A property's value ('' for none) and its source (local, inherited from X, default, '-' …)."""

    value: str
    source: str


NOTHING = Value("", "-")

Properties = dict[str, Value]


def read(
    runner: Runner,
    names: Sequence[str],
    datasets: Sequence[str],
    *,
    kinds: str = "filesystem,volume",
    depth: int | None = 0,
    sources: Sequence[str] = (),
) -> dict[str, Properties]:
    """Return properties by dataset or snapshot; a reading that fails is an error, never "absent".

    ``depth`` levels below the datasets are included (None: all); volumes are, lest a name that is
    taken by one looks free. Without ``datasets`` every one of the host is read. ``sources`` are
    those to be told, all if empty.
    """
    levels = ["-r"] if depth is None else ["-d", str(depth)]
    listed = runner.zfs(
        "get", "-Hp", *levels, "-t", kinds, *(["-s", ",".join(sources)] if sources else []),
        "-o", "name,property,value,source", ",".join(names), *datasets,
    )  # fmt: skip
    found: dict[str, Properties] = {}
    for line in _lines(listed):
        name, key, rest = _fields(line, 3)
        value, tab, source = rest.rpartition("\t")
        if not tab:
            raise ZfsError(f"unexpected output of zfs: {line!r}")
        found.setdefault(name, {})[key] = Value("" if value == "-" else value, source)
    return found


def listed(runner: Runner, name: str) -> dict[str, str]:
    """Return name → type of what is there from the pool down to the level of ``name``.

    A listing that fails is an error, so what is not in it is not there.
    """
    pool = name.partition("/")[0]
    listed = runner.zfs(
        "list", "-H", "-t", "filesystem,volume", "-o", "name,type", "-d", str(name.count("/")), pool
    )
    return dict(line.split("\t") for line in listed.splitlines())


def own_properties(runner: Runner, dataset: str) -> dict[str, str]:
    """Return the properties that were set on this very dataset, or received by it."""
    listed = runner.zfs("get", "-Hp", "-s", ",".join(OWN), "-o", "property,value", "all", dataset)
    pairs = [_fields(line, 2) for line in _lines(listed)]
    return {pair[0]: pair[1] for pair in pairs}


def own(properties: Properties, name: str) -> str:
    """Return a property that was set on this very dataset or snapshot, or received by it, else ''.

    A snapshot inherits the user properties of its dataset: everybody's looks like ours otherwise.
    """
    found = properties.get(name, NOTHING)
    return found.value if found.source in OWN else ""


def snapshots(runner: Runner, dataset: str, marker: str) -> list[tuple[str, str]]:
    """Return each snapshot's name (what follows the ``@``) and its own marker, '' on others'."""
    found = read(runner, (marker,), [dataset], kinds="snapshot", depth=1)
    return [(name.partition("@")[2], own(seen, marker)) for name, seen in found.items()]


def _lines(listed: str) -> list[str]:
    """Return the lines; what else Python takes for an end of line may stand in a user property."""
    return listed.removesuffix("\n").split("\n") if listed else []


def _fields(line: str, number: int) -> list[str]:
    """Return so many fields; the last one may hold tabs."""
    fields = line.split("\t", number - 1)
    if len(fields) != number:
        raise ZfsError(f"unexpected output of zfs: {line!r}")
    return fields
