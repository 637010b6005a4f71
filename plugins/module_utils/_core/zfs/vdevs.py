# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tree of a pool's vdevs, from what ``zpool status -P`` prints as JSON or as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from .command import CommandFailed, Runner, ZfsError

STRIPE = "stripe"
TYPES = (STRIPE, "mirror", "raidz1", "raidz2", "raidz3")
ROLES = ("data", "special", "dedup", "log", "cache", "spare")

_JSON_ROLES = {
    "vdevs": "data",
    "special": "special",
    "dedup": "dedup",
    "logs": "log",
    "l2cache": "cache",
    "spares": "spare",
}
_TEXT_ROLES = {
    "special": "special",
    "dedup": "dedup",
    "logs": "log",
    "cache": "cache",
    "spares": "spare",
}
_NUMBERED = re.compile(r"(?P<type>.+)-[0-9]+")
_WAS = re.compile(r"\bwas (/\S+)")
# What a removal leaves of a vdev; no disk belongs to it.
_GONE = ("indirect", "hole")


class Vdev(NamedTuple):
    """One top-level vdev: what for, how put together, and the paths of its disks."""

    role: str
    type: str
    disks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.role} {self.type} of {', '.join(self.disks)}"


class Pool(NamedTuple):
    """An imported pool."""

    guid: str
    vdevs: list[Vdev]


class _Node(NamedTuple):
    name: str
    path: str
    children: list[_Node]


def read(runner: Runner) -> dict[str, Pool]:
    """Return the imported pools by name. A reading that fails is an error, never "no pool"."""
    listed = runner.run("zpool", "list", "-Hp", "-o", "name,guid")
    guids = dict(line.split("\t") for line in listed.splitlines())
    if not guids:
        return {}
    try:
        layouts = parse_json(runner.run("zpool", "status", "-jP"))
    except CommandFailed as error:
        if "invalid option" not in error.output:
            raise
        layouts = parse_text(runner.run("zpool", "status", "-P"))  # OpenZFS before 2.3
    missing = [name for name in guids if name not in layouts]
    if missing:
        raise ZfsError("zpool status did not tell its layout", object=missing[0])
    return {name: Pool(guid, layouts[name]) for name, guid in guids.items()}


def parse_json(text: str) -> dict[str, list[Vdev]]:
    """Return the vdevs of every pool in the output of ``zpool status -jP``."""
    try:
        pools: dict[str, Any] = json.loads(text)["pools"]
        return {name: _vdevs_of_json(pool) for name, pool in pools.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZfsError(f"unexpected output of zpool status: {error!r}") from error


def parse_text(text: str) -> dict[str, list[Vdev]]:
    """Return the vdevs of every pool in the output of ``zpool status -P``."""
    found: dict[str, list[Vdev]] = {}
    name, in_config = "", False
    rows: list[tuple[int, str]] = []
    for line in [*text.splitlines(), "  pool: "]:
        if line.lstrip().startswith("pool: ") and not line.startswith("\t"):
            if name:
                found[name] = _vdevs_of_rows(name, rows)
            name, in_config, rows = line.partition("pool: ")[2].strip(), False, []
        elif line.startswith("config:"):
            in_config = True
        elif line.startswith("errors:"):
            in_config = False
        elif in_config and line.startswith("\t") and line.split()[:2] != ["NAME", "STATE"]:
            rows.append((len(line[1:]) - len(line[1:].lstrip(" ")), line.strip()))
    return found


def grouped(vdevs: Iterable[Vdev]) -> list[dict[str, Any]]:
    """Return vdevs as a declaration has them: the stripes of a role are one item."""
    found: list[dict[str, Any]] = []
    for vdev in vdevs:
        item = {"role": vdev.role, "type": vdev.type, "disks": list(vdev.disks)}
        last = next((one for one in found if one["role"] == vdev.role), None)
        if last is not None and vdev.type == STRIPE == last["type"]:
            last["disks"] += vdev.disks
        else:
            found.append(item)
    return found


def _vdevs_of_json(pool: dict[str, Any]) -> list[Vdev]:
    found = []
    for key, role in _JSON_ROLES.items():
        nodes = [_node(value) for value in pool.get(key, {}).values()]
        if key == "vdevs":  # below the root vdev, the pool itself
            nodes = [child for root in nodes for child in root.children]
        found += _vdevs(role, nodes)
    return found


def _node(value: dict[str, Any]) -> _Node:
    children = [_node(child) for child in value.get("vdevs", {}).values()]
    return _Node(value["name"], value.get("path", value["name"]), children)


def _vdevs_of_rows(pool: str, rows: list[tuple[int, str]]) -> list[Vdev]:
    found, role = [], "data"
    position = 0
    while position < len(rows):
        depth, text = rows[position]
        words = text.split()
        if depth != 0 or (words[0] != pool and words[0] not in _TEXT_ROLES):
            raise ZfsError(f"unexpected output of zpool status: {text!r}", object=pool)
        # A pool may be called as a section is; the section has no state beside its name.
        role = _TEXT_ROLES[words[0]] if len(words) == 1 else "data"
        nodes, position = _children(rows, position + 1, depth)
        found += _vdevs(role, nodes)
    return found


def _children(rows: list[tuple[int, str]], position: int, above: int) -> tuple[list[_Node], int]:
    found = []
    while position < len(rows) and rows[position][0] > above:
        depth, text = rows[position]
        children, position = _children(rows, position + 1, depth)
        was, name = _WAS.search(text), text.split()[0]
        found.append(_Node(name, was[1] if was else name, children))
    return found, position


def _vdevs(role: str, nodes: list[_Node]) -> list[Vdev]:
    return [
        Vdev(role, _type(node), tuple(map(_disk, node.children)) or (node.path,))
        if not _is_standing_in(node)
        else Vdev(role, STRIPE, (_disk(node),))
        for node in nodes
        if _type(node) not in _GONE
    ]


def _type(node: _Node) -> str:
    match = _NUMBERED.fullmatch(node.name)
    if node.name.startswith("/") or match is None:
        return STRIPE
    return match["type"]


def _is_standing_in(node: _Node) -> bool:
    return _type(node) in ("replacing", "spare")


def _disk(node: _Node) -> str:
    """Return the path of a leaf; while one stands in for another, that of the one to stay."""
    if not node.children:
        return node.path
    return _disk(node.children[-1 if _type(node) == "replacing" else 0])
