# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is: datasets, snapshots and properties, from listings that succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .command import Runner, ZfsError

LOCAL = "local"


class Dataset(NamedTuple):
    """A file system: ``origin`` is the snapshot it was cloned from ('' for none)."""

    name: str
    guid: str
    origin: str
    mounted: bool
    mountpoint: str
    encryption_root: str


class Snapshot(NamedTuple):
    """A snapshot: ``name`` is what follows the ``@``; ``txn`` is our transaction ('' for none)."""

    name: str
    guid: str
    txn: str
    clones: str


class Value(NamedTuple):
    """A property's value, and where it comes from (local, inherited, default, received, '-')."""

    value: str
    source: str


_COLUMNS = "name,guid,origin,mounted,mountpoint,encryptionroot,type"


def below(runner: Runner, parent: str) -> dict[str, Dataset]:
    """Return ``parent`` and its direct children by name; a failing listing is an error.

    Volumes are listed as well: a name that is taken by one must not look free.
    """
    listed = runner.zfs("list", "-Hp", "-d", "1", "-t", "filesystem,volume", "-o", _COLUMNS, parent)
    found = {}
    for line in listed.splitlines():
        name, guid, origin, mounted, mountpoint, root, _kind = _fields(line, 7)
        found[name] = Dataset(
            name, guid, _plain(origin), mounted == "yes", mountpoint, _plain(root)
        )
    return found


def snapshots(runner: Runner, dataset: str) -> list[Snapshot]:
    """Return a dataset's snapshots, the oldest first, also those that others made."""
    listed = runner.zfs(
        "list", "-Hp", "-d", "1", "-t", "snapshot", "-s", "createtxg",
        "-o", "name,guid,dsg:txn,clones", dataset,
    )  # fmt: skip
    found = []
    for line in listed.splitlines():
        name, guid, txn, clones = _fields(line, 4)
        found.append(Snapshot(name.partition("@")[2], guid, _plain(txn), _plain(clones)))
    return found


def properties(runner: Runner, dataset: str, names: Sequence[str]) -> dict[str, Value]:
    """Return properties of one dataset (``all`` for every one), by name."""
    listed = runner.zfs("get", "-Hp", "-o", "property,value,source", ",".join(names), dataset)
    found = {}
    for line in listed.splitlines():
        name, value, source = _fields(line, 3)
        found[name] = Value(value, source)
    return found


def local_properties(runner: Runner, dataset: str) -> dict[str, str]:
    """Return the properties that were set on this very dataset."""
    listed = runner.zfs("get", "-Hp", "-s", LOCAL, "-o", "property,value", "all", dataset)
    return dict(_fields(line, 2) for line in listed.splitlines())


def _fields(line: str, number: int) -> list[str]:
    fields = line.split("\t")
    if len(fields) != number:
        raise ZfsError(f"unexpected output of zfs: {line!r}")
    return fields


def _plain(value: str) -> str:
    return "" if value == "-" else value
