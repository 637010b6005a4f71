# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The oracle of the model test: what a sync of three small trees must come to.

Written from the design's table alone, path by path and pair by pair, with no thought of speed and
nothing shared with the product.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from tests.integration.support import EMPTY, Link, Node, Script

Owned = dict[str, tuple[Node, str]]
"""path → (node, user who made its content)"""

TO_REMOTE, TO_LOCAL = ("upload", "delete_remote"), ("download", "delete_local")


class Outcome(NamedTuple):
    """What is asked for, path by path; and both sides and the record after it.

    ``code`` is that of the error that stops the run ('' for none): then nothing changes.
    """

    actions: dict[str, str]
    code: str
    local: Owned
    cache: Owned
    remote: Owned

    @property
    def publishes(self) -> bool:
        return any(action in TO_REMOTE for action in self.actions.values())


def sync(
    local: Owned, cache: Owned, remote: Owned, direction: str, choice: str, limit: int
) -> Outcome:
    """Work out a sync; ``limit`` is ``max_delete`` in percent."""
    actions = {}
    for path in sorted({*local, *cache, *remote}):
        action = _action(_node(local, path), _node(cache, path), _node(remote, path))
        if action == "conflict":
            action = _resolved(choice, path in local, path in remote)
        if action:
            actions[path] = _held(action, direction)
    _part_clashes(actions, local, remote, direction, choice)
    _drop_implied(actions, local, cache, remote)
    code = _refusal(actions, local, remote, limit)
    after = (local, cache, remote) if code else _apply(actions, local, cache, remote)
    return Outcome(actions, code, *after)


def _node(side: Owned, path: str) -> Node | None:
    return side[path][0] if path in side else None


def _action(mine: Node | None, known: Node | None, theirs: Node | None) -> str:
    """The fifteen states, read as: who changed it since the record?"""
    if mine == theirs:
        if mine == known:
            return ""
        return "drop_cache" if mine is None else "update_cache"
    if mine == known:
        return "delete_local" if theirs is None else "download"
    if theirs == known:
        return "delete_remote" if mine is None else "upload"
    return "conflict"


def _resolved(choice: str, in_local: bool, in_remote: bool) -> str:
    if choice == "local":
        return "upload" if in_local else "delete_remote"
    if choice == "remote":
        return "download" if in_remote else "delete_local"
    return "conflict"


def _held(action: str, direction: str) -> str:
    against = {"push": TO_LOCAL, "pull": TO_REMOTE, "both": ()}[direction]
    return "held" if action in against else action


# --- names that exclude each other ---


def fold(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def excludes(one: str, one_node: Node, other: str, other_node: Node) -> bool:
    """Whether two entries cannot be in one tree."""
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right):
        if a != b:
            return fold(a) == fold(b)
    shorter = one_node if len(left) < len(right) else other_node
    return len(left) != len(right) and shorter is not EMPTY


def is_valid(tree: Mapping[str, Node]) -> bool:
    """Whether a tree can be published (as far as names go)."""
    paths = sorted(tree)
    return not any(
        excludes(one, tree[one], other, tree[other])
        for number, one in enumerate(paths)
        for other in paths[number + 1 :]
    )


def _part_clashes(
    actions: dict[str, str], local: Owned, remote: Owned, direction: str, choice: str
) -> None:
    for mine, theirs in _clashes(actions, local, remote):
        if choice == "fail":
            actions[mine] = actions[theirs] = "conflict"
        elif choice == "local":
            actions[theirs] = _held("delete_remote", direction)
        else:
            actions[mine] = _held("delete_local", direction)


def _clashes(actions: dict[str, str], local: Owned, remote: Owned) -> list[tuple[str, str]]:
    """Pairs (here only, there only) that would come to be side by side somewhere."""
    found = []
    for mine in local.keys() - remote.keys():
        for theirs in remote.keys() - local.keys():
            if not excludes(mine, local[mine][0], theirs, remote[theirs][0]):
                continue
            doing = (actions.get(mine, ""), actions.get(theirs, ""))
            there = doing[0] == "upload" and doing[1] not in ("delete_remote", "conflict")
            here = doing[1] == "download" and doing[0] not in ("delete_local", "conflict")
            if there or here:
                found.append((mine, theirs))
    return sorted(found)


# --- empty directories that are none afterwards ---


def _drop_implied(actions: dict[str, str], local: Owned, cache: Owned, remote: Owned) -> None:
    here = _after(actions, local, "download", "delete_local")
    there = _after(actions, remote, "upload", "delete_remote")
    for path, action in list(actions.items()):
        side = local if action in ("upload", "delete_local", "held") else remote
        if _node(side, path) is not EMPTY:
            continue
        if action == "held" and (path in cache or path in remote):
            continue
        result = here if action in TO_LOCAL else there
        if not any(other.startswith(path + "/") for other in result):
            continue
        if action == "download":
            actions[path] = "update_cache"
        elif action in (*TO_LOCAL, *TO_REMOTE, "held"):
            del actions[path]
            if path in cache:
                actions[path] = "drop_cache"


def _after(actions: dict[str, str], side: Owned, arrives: str, leaves: str) -> set[str]:
    gone = {path for path, action in actions.items() if action == leaves}
    return {path for path, action in actions.items() if action == arrives} | (side.keys() - gone)


# --- the end ---


def _refusal(actions: dict[str, str], local: Owned, remote: Owned, limit: int) -> str:
    if "conflict" in actions.values():
        return "DSG-CONFLICT"
    for leaves, side in (("delete_remote", remote), ("delete_local", local)):
        deleted = sum(action == leaves for action in actions.values())
        if deleted * 100 > len(side) * limit:
            return "DSG-MAX-DELETE"
    return ""


def _apply(
    actions: dict[str, str], local: Owned, cache: Owned, remote: Owned
) -> tuple[Owned, Owned, Owned]:
    mine, known, theirs = dict(local), dict(cache), dict(remote)
    for path, action in actions.items():
        if action == "upload":
            theirs[path] = local[path]
        elif action == "download":
            mine[path] = remote[path]
        elif action == "delete_local":
            del mine[path]
        elif action == "delete_remote":
            del theirs[path]
    theirs = _without_filled(theirs)
    for path, action in actions.items():
        if action == "held":
            continue
        known.pop(path, None)
        if path in theirs:
            known[path] = theirs[path]
    return _without_filled(mine), _without_filled(_without_rivals(known, theirs)), theirs


def _without_rivals(known: Owned, theirs: Owned) -> Owned:
    """Drop old records that cannot stand beside the new ones."""
    return {
        path: owned
        for path, owned in known.items()
        if path in theirs
        or not any(excludes(path, owned[0], new, known[new][0]) for new in known.keys() & theirs)
    }


def _without_filled(tree: Owned) -> Owned:
    return {
        path: owned
        for path, owned in tree.items()
        if owned[0] is not EMPTY or not any(other.startswith(path + "/") for other in tree)
    }


def same_bytes(one: Node, other: Node) -> bool:
    """Whether two nodes have the same content, be their modes as they may."""
    if isinstance(one, (Link, type(EMPTY))) or isinstance(other, (Link, type(EMPTY))):
        return one == other
    return _text(one) == _text(other)


def _text(node: Node) -> object:
    return node.text if isinstance(node, Script) else node
