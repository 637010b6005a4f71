# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is: datasets, snapshots and properties, from listings that succeeded.

A process costs more than all that it can tell, so one command reads everything for one decision.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from .command import Runner, ZfsError

LOCAL = "local"
OWN = ("local", "received")


class Value(NamedTuple):
    """A property's value ('' for none) and its source (local, inherited from X, default, '-' …)."""

    value: str
    source: str


NOTHING = Value("", "-")

_LAST = "type"
_NAME = re.compile(r"[a-z0-9:._-]+")

Properties = dict[str, Value]


def read(
    runner: Runner,
    names: Sequence[str],
    datasets: Sequence[str],
    *,
    kinds: str = "filesystem,volume",
    depth: int = 0,
) -> dict[str, Properties]:
    """Return properties by dataset or snapshot; a reading that fails is an error, never "absent".

    ``depth`` levels below the datasets are included; volumes are, lest a name that is taken by one
    looks free.

    A user property may hold the end of a line and what looks like other lines: so each dataset has to
    come once, with the properties in the order in which they were asked for. The last of them is one
    that no user can set, so that nothing invented fits behind it.
    """
    keys = [*dict.fromkeys(name for name in names if name != _LAST), _LAST]
    listed = runner.zfs(
        "get", "-Hp", "-d", str(depth), "-t", kinds, "-o", "name,property,value,source", ",".join(keys), *datasets
    )  # fmt: skip
    found: dict[str, Properties] = {}
    lines = _lines(listed)
    for start in range(0, len(lines), len(keys)):
        name, properties = _group(lines[start : start + len(keys)], keys)
        if name in found:
            raise _unexpected(lines[start])
        found[name] = properties
    return found


def _group(lines: Sequence[str], keys: Sequence[str]) -> tuple[str, Properties]:
    """Return a dataset and its properties from as many lines as there are keys."""
    found: Properties = {}
    of = ""
    for line, wanted in zip_longest(lines, keys, fillvalue=""):
        name, key, rest = _fields(line, 3)
        value, tab, source = rest.rpartition("\t")
        of = of or name
        if not tab or name != of or key != wanted:
            raise _unexpected(line)
        found[key] = Value("" if value == "-" else value, source)
    return of, found


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
    found: dict[str, str] = {}
    of_users = False
    for line in _lines(listed):
        key, tab, value = line.partition("\t")
        # Those of users come last: what a value of one seems to set can only be another one of users.
        of_users = of_users or ":" in key
        if not tab or key in found or of_users != (":" in key) or not _NAME.fullmatch(key):
            return _one_by_one(runner, dataset)
        found[key] = value
    return found


def _one_by_one(runner: Runner, dataset: str) -> dict[str, str]:
    """Return the same where a value holds an end of line; names hold none."""
    return {
        name: runner.zfs("get", "-Hp", "-o", "value", name, dataset).removesuffix("\n")
        for name in own_names(runner, dataset, OWN)
    }


def own_names(runner: Runner, dataset: str, sources: Sequence[str] = (LOCAL,)) -> list[str]:
    """Return the names of the properties that were set on this very dataset."""
    wanted = ("-s", ",".join(sources))
    return _lines(runner.zfs("get", "-H", *wanted, "-o", "property", "all", dataset))


def set_on(runner: Runner, name: str) -> list[str]:
    """Return the datasets of the host on which a user property was set."""
    wanted = ("-t", "filesystem,volume", "-s", LOCAL)
    return _lines(runner.zfs("get", "-H", "-r", *wanted, "-o", "name", name))


def value(runner: Runner, name: str, dataset: str) -> str:
    """Return one property of one dataset, whatever it holds."""
    return runner.zfs("get", "-H", "-o", "value", name, dataset).removesuffix("\n")


def write_out(runner: Runner, dataset: str) -> None:
    """Have what was written to a dataset on disk, and counted."""
    runner.run("zpool", "sync", dataset.partition("/")[0])


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
        raise _unexpected(line)
    return fields


def _unexpected(line: str) -> ZfsError:
    return ZfsError(
        f"unexpected output of zfs: {line!r}",
        unchanged="Nothing was changed.",
        next_step="Look with `zfs get all` for a user property that holds an end of line, and remove it; "
        "where properties are declared, give them their full names (compression, not compress).",
    )
