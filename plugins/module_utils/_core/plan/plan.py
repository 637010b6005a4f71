# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sync plan: what each path asks for, after direction and conflict choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import ConflictError
from ..manifest.entry import DIRECTORY, Entry
from .policy import LOCAL, PULL, PUSH, REMOTE, DeleteLimit, Policy
from .states import (
    CONFLICT,
    DELETE_LOCAL,
    DELETE_REMOTE,
    DOWNLOAD,
    DROP_CACHE,
    STATES,
    UPDATE_CACHE,
    UPLOAD,
    Entries,
    Ignored,
    PathState,
    compare,
)
from .structure import ancestors, collisions

HELD = "held"
"""The direction of this run leaves the path as it is on both sides."""

ORDER = (
    UPLOAD, DELETE_REMOTE, DOWNLOAD, DELETE_LOCAL, UPDATE_CACHE, DROP_CACHE, HELD, CONFLICT
)  # fmt: skip

_LISTED = 50
_CHANGES_REMOTE = (UPLOAD, DELETE_REMOTE)
_CHANGES_LOCAL = (DOWNLOAD, DELETE_LOCAL)
_DELETES = (DELETE_LOCAL, DELETE_REMOTE)


class Step(NamedTuple):
    """What one path asks for.

    ``action`` is one of :data:`ORDER`; ``taken`` tells which side won a conflict ('' where there was
    none); ``clashes_with`` names the path on the other side that cannot exist beside this one.
    """

    path: str
    state: str
    action: str
    local: Entry | None
    cache: Entry | None
    remote: Entry | None
    taken: str = ""
    clashes_with: str = ""


class Plan(NamedTuple):
    """Steps sorted by path; a path without a step is the same everywhere (or ignored)."""

    steps: Sequence[Step] = ()

    def of(self, *actions: str) -> list[Step]:
        """Return the steps with one of the actions."""
        return [step for step in self.steps if step.action in actions]

    def counts(self) -> dict[str, int]:
        """Return how many steps each action has, every action named."""
        counts = dict.fromkeys(ORDER, 0)
        for step in self.steps:
            counts[step.action] += 1
        return counts

    def moving(self) -> list[Step]:
        """Return the steps that do something, be it only to the last-sync record."""
        return [step for step in self.steps if step.action not in (HELD, CONFLICT)]

    @property
    def changes_remote(self) -> bool:
        """Tell whether the repository gets a new snapshot."""
        return any(step.action in _CHANGES_REMOTE for step in self.steps)

    @property
    def changes_local(self) -> bool:
        """Tell whether the working copy's content changes."""
        return any(step.action in _CHANGES_LOCAL for step in self.steps)

    def require_no_conflict(self) -> None:
        """Stop where a conflict has no decision yet."""
        conflicts = self.of(CONFLICT)
        if conflicts:
            lines = [line for step in conflicts[:_LISTED] for line in describe_conflict(step)]
            if len(conflicts) > _LISTED:
                lines.append(f"... and {len(conflicts) - _LISTED} more")
            noun = "path is" if len(conflicts) == 1 else "paths are"
            raise ConflictError(f"{len(conflicts)} {noun} in conflict", details=lines)


def describe_conflict(step: Step) -> list[str]:
    """Return lines that show both sides of a conflict."""
    why = f"cannot exist beside {step.clashes_with!r}" if step.clashes_with else step.state
    return [
        f"{step.path} ({why})",
        f"  local:  {_describe(step.local)}",
        f"  remote: {_describe(step.remote)}",
    ]


def _describe(entry: Entry | None) -> str:
    if entry is None:
        return "absent"
    if entry.target:
        return f"symbolic link to {entry.target!r}, by {entry.user or 'unknown'}"
    if entry.kind == DIRECTORY:
        return f"empty directory, by {entry.user or 'unknown'}"
    return (
        f"{entry.size} bytes, mode {entry.mode:04o}, sha256 {entry.sha256[:12] or 'not hashed'}, "
        f"modified {_utc(entry.mtime_ns)}, by {entry.user or 'unknown'}"
    )


def _utc(mtime_ns: int) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(mtime_ns // 1_000_000_000))


def make_plan(
    local: Entries, cache: Entries, remote: Entries, policy: Policy, ignored: Ignored | None = None
) -> Plan:
    """Plan the sync of three manifests (path → entry)."""
    hidden: Entries = {}

    def is_ignored(entry: Entry) -> bool:
        found = ignored is not None and ignored(entry)
        if found and entry.path in remote:
            hidden[entry.path] = remote[entry.path]
        return found

    states = compare(local, cache, remote, None if ignored is None else is_ignored)
    steps = _part_clashes([_decide(state, policy) for state in states], policy, hidden)
    return Plan(_without_implied(steps, local, remote))


def check_deletions(plan: Plan, local_total: int, remote_total: int, policy: Policy) -> None:
    """Refuse a plan that deletes more than ``policy.max_delete`` on either side."""
    limit = DeleteLimit.parse(policy.max_delete)
    limit.check("repository", len(plan.of(DELETE_REMOTE)), remote_total)
    limit.check("working copy", len(plan.of(DELETE_LOCAL)), local_total)


def _decide(path: PathState, policy: Policy) -> Step:
    action = STATES[path.state]
    taken = ""
    if action == CONFLICT:
        taken = policy.choice(path.path)
        action = _resolve(taken, path.local, path.remote)
        taken = "" if action == CONFLICT else taken
    return Step(
        path.path,
        path.state,
        _hold(action, policy.direction),
        path.local,
        path.cache,
        path.remote,
        taken,
    )


def _resolve(choice: str, local: Entry | None, remote: Entry | None) -> str:
    if choice == LOCAL:
        return DELETE_REMOTE if local is None else UPLOAD
    if choice == REMOTE:
        return DELETE_LOCAL if remote is None else DOWNLOAD
    return CONFLICT


def _hold(action: str, direction: str) -> str:
    if direction == PUSH and action in _CHANGES_LOCAL:
        return HELD
    if direction == PULL and action in _CHANGES_REMOTE:
        return HELD
    return action


def _part_clashes(steps: list[Step], policy: Policy, hidden: Entries) -> list[Step]:
    """Turn steps whose outcomes cannot live in one tree (``a`` and ``a/b``) into conflicts.

    Each side is a valid tree of its own, and paths without a step are in both, so a clash is always
    between a step of one side and a step of the other; or between an upload and a published path
    that is ignored here (``hidden``).
    """
    clashes = _clashes(steps, hidden)
    if not clashes:
        return steps
    parted = [_part(s, clashes[s.path], policy) if s.path in clashes else s for s in steps]
    # Choices for single paths may contradict each other: keep both, or neither.
    left = {**_given_up(parted), **_clashes(parted, hidden)}
    return [
        s._replace(action=CONFLICT, clashes_with=left[s.path], taken="") if s.path in left else s
        for s in parted
    ]


def _given_up(steps: list[Step]) -> dict[str, str]:
    """Return the pairs that each lost to the other."""
    losers = {s.path for s in steps if s.clashes_with and s.taken != _side(s) and s.taken}
    lost = {s.path: s.clashes_with for s in steps if s.path in losers}
    given_up = {path: other for path, other in lost.items() if other in losers}
    return {**{other: path for path, other in given_up.items()}, **given_up}


def _clashes(steps: list[Step], hidden: Entries) -> dict[str, str]:
    uploads = _beside(steps, UPLOAD, DELETE_REMOTE, hidden)
    downloads = _beside(steps, DOWNLOAD, DELETE_LOCAL, {})
    return {**collisions(uploads), **collisions(downloads)}


def _beside(steps: list[Step], arrives: str, leaves: str, hidden: Entries) -> Entries:
    """Return what one side will hold of the steps' paths; empty where nothing meets a newcomer."""
    arriving: Entries = {}
    staying = dict(hidden)
    for step in steps:
        theirs, ours = (step.local, step.remote) if arrives == UPLOAD else (step.remote, step.local)
        if step.action == arrives and theirs is not None:
            arriving[step.path] = theirs
        elif ours is not None and step.action not in (leaves, CONFLICT):
            staying[step.path] = ours
    return {**staying, **arriving} if arriving and staying else {}


def _part(step: Step, other: str, policy: Policy) -> Step:
    side = _side(step)
    choice = policy.choice(step.path)
    if choice not in (LOCAL, REMOTE):
        return step._replace(action=CONFLICT, clashes_with=other)
    if choice == side:
        return step._replace(clashes_with=other, taken=choice)
    lose = DELETE_LOCAL if side == LOCAL else DELETE_REMOTE
    return step._replace(action=_hold(lose, policy.direction), clashes_with=other, taken=choice)


def _side(step: Step) -> str:
    """Return the side that holds the path; in a clash it is only one."""
    return REMOTE if step.local is None else LOCAL


def _without_implied(steps: list[Step], local: Entries, remote: Entries) -> list[Step]:
    """Take back what an empty directory asks for where the directory will hold something.

    It is then neither created nor deleted: the tree implies it, and only the record changes.
    """
    if not any(_is_directory(step.local) or _is_directory(step.remote) for step in steps):
        return steps
    filled_here = _filled(steps, local, DOWNLOAD, DELETE_LOCAL)
    filled_there = _filled(steps, remote, UPLOAD, DELETE_REMOTE)
    kept = []
    for step in steps:
        if not _is_implied(step, filled_here, filled_there):
            kept.append(step)
        elif step.action == DOWNLOAD:
            kept.append(step._replace(action=UPDATE_CACHE))
        elif step.cache is not None:
            kept.append(step._replace(action=DROP_CACHE))
    return kept


def _is_implied(step: Step, filled_here: set[str], filled_there: set[str]) -> bool:
    if step.action in (DOWNLOAD, DELETE_LOCAL):
        subject = step.remote if step.action == DOWNLOAD else step.local
        return _is_directory(subject) and step.path in filled_here
    if step.action == HELD and (step.remote is not None or step.cache is not None):
        return False
    if step.action in (UPLOAD, DELETE_REMOTE, HELD):
        subject = step.remote if step.action == DELETE_REMOTE else step.local
        return _is_directory(subject) and step.path in filled_there
    return False


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == DIRECTORY


def _filled(steps: list[Step], side: Entries, arrives: str, leaves: str) -> set[str]:
    """Return the directories that will hold something on one side."""
    gone = {step.path for step in steps if step.action == leaves}
    paths = {step.path for step in steps if step.action == arrives}
    paths.update(path for path in side if path not in gone)
    return ancestors(paths)


def merged_remote(remote: Entries, plan: Plan, staged: Mapping[str, Entry]) -> list[Entry]:
    """Return the repository's entries after the plan; ``staged`` holds what was uploaded."""
    merged = dict(remote)
    for step in plan.of(DELETE_REMOTE):
        merged.pop(step.path, None)
    for step in plan.of(UPLOAD):
        merged[step.path] = staged[step.path]
    return without_filled_directories(merged.values())


def merged_cache(cache: Entries, plan: Plan, after: Entries) -> list[Entry]:
    """Return the last-sync record after the plan; ``after`` is the repository's new content.

    What was held back, ignored or put off keeps its old record, so that the next run sees it again.
    """
    merged = dict(cache)
    for step in plan.steps:
        if step.action == HELD:
            continue
        if step.path in after:
            merged[step.path] = after[step.path]
        else:
            merged.pop(step.path, None)
    if merged.keys() - after.keys():
        # An ignored path that was deleted there may be in the way of one that came later.
        for path in collisions(merged):
            if path not in after:
                del merged[path]
    return without_filled_directories(merged.values())


def without_filled_directories(entries: Iterable[Entry]) -> list[Entry]:
    """Sort the entries and drop directory entries that are not empty any more."""
    ordered = sorted(entries)
    filled = ancestors(entry.path for entry in ordered)
    return [e for e in ordered if e.kind != DIRECTORY or e.path not in filled]
