# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run looks like to a person and to a playbook: one list of differences makes it all.

Private to the collection: it may change at any time. Pure functions over the core's data.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any
from unicodedata import is_normalized

from ._core.errors import capped
from ._core.manifest.entry import DIRECTORY, FILE, Entry
from ._core.manifest.portable import Names
from ._core.plan.plan import HELD, ORDER, Plan, Step
from ._core.plan.states import (
    CONFLICT,
    DELETE_LOCAL,
    DELETE_REMOTE,
    DOWNLOAD,
    DROP_CACHE,
    UPDATE_CACHE,
    UPLOAD,
)
from ._terminal import harmless

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Change = tuple["Entry | None", "Entry | None"]
"""An entry before and after; None where there is none."""

_WIDTH = max(len(action) for action in ORDER)


class Differences:
    """Every difference of a run, collected once: it yields both ``changed`` and the diff."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, action: str, subject: str, detail: str = "") -> None:
        """Record one thing that is done (in check mode: would be done).

        Ansible prints a diff as it is, and what a storage host says may be among it.
        """
        shown = f" ({detail})" if detail else ""
        self._lines.append(harmless(f"{action.replace('_', ' '):<{_WIDTH}}  {subject}{shown}"))

    def add_plan(self, plan: Plan, put_off: Collection[str] = ()) -> None:
        """Record every step of a plan that does something; what was put off is not done yet."""
        for step in plan.steps:
            if step.action not in (HELD, CONFLICT) and step.path not in put_off:
                self.add(step.action, shown_path(step.path), describe(step))

    def add_names(self, names: Names, put_off: Collection[str] = ()) -> None:
        """Record every renaming, and every link that follows one."""
        for old, new in names.renames:
            if new not in put_off:
                self.add("rename", f"{shown_path(old)} -> {shown_path(new)}")
        for path, _old, target in names.retargets:
            if path not in put_off:
                self.add("rename", shown_path(path), f"now a link to {shown_path(target)}")

    def add_changes(self, changes: Sequence[Change]) -> None:
        """Record entries that come, go or become other ones."""
        for before, after in changes:
            entry = before if after is None else after
            if entry is not None:
                action = "add" if before is None else "delete" if after is None else "change"
                self.add(action, shown_path(entry.path), describe_change(before, after))

    @property
    def changed(self) -> bool:
        """Tell whether anything differs."""
        return bool(self._lines)

    def diff(self, header: str, limit: int) -> dict[str, str]:
        """Return the diff for Ansible: a header and a line for each difference, up to ``limit``."""
        if not self._lines:
            return {"prepared": ""}
        lines = [harmless(header), *capped(self._lines, limit)]
        return {"prepared": "\n".join(lines) + "\n"}


def describe(step: Step) -> str:
    """Say in a few words what a step of the plan changes."""
    if step.action in (UPLOAD, DOWNLOAD):
        before, after = step.remote, step.local
        if step.action == DOWNLOAD:
            before, after = after, before
        text = describe_change(before, after)
    else:
        text = {
            DELETE_LOCAL: "deleted in the repository",
            DELETE_REMOTE: "deleted in the working copy",
            UPDATE_CACHE: "already the same on both sides",
            DROP_CACHE: "already gone on both sides",
            HELD: "left as it is by the direction",
            CONFLICT: "changed on both sides",
        }[step.action]
    return f"{text}; conflict, the {step.taken} version wins" if step.taken else text


def describe_change(before: Entry | None, after: Entry | None) -> str:
    """Say what turns ``before`` into ``after``; ``None`` is an absent entry."""
    if after is None:
        return "deleted"
    if before is None:
        return f"new, {describe_entry(after)}"
    if before.kind != after.kind:
        return f"was {describe_entry(before)}, becomes {describe_entry(after)}"
    if after.kind != FILE:
        return f"link to {before.target} -> {after.target}" if after.target else "changed"
    return ", ".join(_file_changes(before, after))


def _file_changes(before: Entry, after: Entry) -> list[str]:
    changes = []
    if before.sha256 != after.sha256:
        sizes = f"{before.size} -> " if before.size != after.size else ""
        changes.append(f"changed, {sizes}{after.size} bytes")
    if before.mode != after.mode:
        changes.append(f"mode {before.mode:04o} -> {after.mode:04o}")
    return changes or ["time stamp"]


def describe_entry(entry: Entry) -> str:
    """Describe one entry without its path."""
    if entry.kind == FILE:
        return f"{entry.size} bytes, mode {entry.mode:04o}"
    return "empty directory" if entry.kind == DIRECTORY else f"link to {entry.target}"


def shown_path(path: str) -> str:
    """Return a path on one line (the path rules allow no control characters, trees do)."""
    return path if path.isprintable() and is_normalized("NFC", path) else ascii(path)


def plan_data(plan: Plan, limit: int) -> dict[str, Any]:
    """Return counts of every action, and up to ``limit`` paths of each action that occurs."""
    paths: dict[str, list[str]] = {}
    for step in plan.steps:
        paths.setdefault(step.action, []).append(step.path)
    return {
        "counts": plan.counts(),
        "paths": {action: paths[action][:limit] for action in ORDER if action in paths},
        "truncated": any(len(found) > limit for found in paths.values()),
    }


def names_data(names: Names, limit: int) -> dict[str, Any]:
    """Return what is renamed, up to ``limit`` of each sort."""
    return {
        "count": len(names.renames),
        "renamed": [
            {"old": shown_path(old), "new": shown_path(new)} for old, new in names.renames[:limit]
        ],
        "links": [
            {"path": shown_path(path), "old": shown_path(old), "new": shown_path(new)}
            for path, old, new in names.retargets[:limit]
        ],
    }


def changes_data(changes: Sequence[Change], limit: int) -> dict[str, Any]:
    """Return counts of what differs, and up to ``limit`` paths of each kind."""
    added = [new.path for old, new in changes if old is None and new is not None]
    deleted = [old.path for old, new in changes if new is None and old is not None]
    changed = [new.path for old, new in changes if old is not None and new is not None]
    lists = {"added": added, "changed": changed, "deleted": deleted}
    return {
        **{kind: paths[:limit] for kind, paths in lists.items()},
        "counts": {kind: len(paths) for kind, paths in lists.items()},
    }


def conflicts_data(plan: Plan, limit: int) -> list[dict[str, Any]]:
    """Return the undecided conflicts with both sides, up to ``limit`` of them."""
    return [
        {
            "path": step.path,
            "state": step.state,
            "clashes_with": step.clashes_with,
            "local": side_data(step.local),
            "remote": side_data(step.remote),
        }
        for step in plan.of(CONFLICT)[:limit]
    ]


def side_data(entry: Entry | None) -> dict[str, Any] | None:
    """Return one side of a conflict as plain data, ``None`` where the path is absent."""
    if entry is None:
        return None
    return {
        "type": entry.kind,
        "size": entry.size,
        "mode": f"{entry.mode:04o}" if entry.kind == FILE else "",
        "sha256": entry.sha256,
        "target": entry.target,
        "mtime": utc(entry.mtime_ns) if entry.kind == FILE else "",
        "user": entry.user,
    }


def utc(mtime_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(mtime_ns // 1_000_000_000))


def summarise_counts(counts: dict[str, int]) -> str:
    """Return ``2 upload, 1 conflict`` for a person; ``none`` where nothing differs."""
    parts = [f"{counts[action]} {action.replace('_', ' ')}" for action in ORDER if counts[action]]
    return ", ".join(parts) or "none"


def summarise_snapshot(number: int | None) -> str:
    """Return ``s3``, or ``-`` where there is no snapshot."""
    return "-" if number is None else f"s{number}"


def size(number: float) -> str:
    """Return a number of bytes with a binary unit."""
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"
