#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_snapshot``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_snapshot
short_description: Restore, prune and mount snapshots of a repository
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Works on the storage host, on the snapshots C(s1), C(s2) and so on of one repository.
  - With O(state=restored) the content of an older snapshot, or some paths of it, is published again as
    a new snapshot, by one transaction. Nothing of the history is lost.
  - With O(state=pruned) snapshots are removed that no rule of O(keep) keeps. The history of all
    snapshots stays in the repository.
  - With O(state=mounted) a snapshot is shown read-only at a path, with O(state=unmounted) not any more.
  - To bring paths of a snapshot to the host of a working copy, see M(dsg.storage.dsg_fetch).
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.repository
  - dsg.storage.repository.lock_timeout
  - dsg.storage.repository.paths_limit
  - dsg.storage.repository.snapshot_paths
attributes:
  check_mode:
    support: full
    details:
      - With O(state=pruned) the result lists precisely what would be removed, and for every other
        snapshot why it stays. With O(state=restored) the files of the snapshot are hashed as well.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(restored) publishes O(snapshot) again, whole or the O(paths) of it. These become as they were,
        so what the snapshot does not have below them is deleted. Where nothing differs, no snapshot is
        made. A damaged file of the snapshot, or a write by somebody else to the published tree, stops
        it before anything is changed.
      - V(pruned) removes older snapshots. The newest is never removed, nor is anything that was not
        made by the repository's own transactions, nor is anything at all where the list of snapshots
        or the history cannot be read. What is in use (holds, clones, mounts) waits, and is reported.
      - V(mounted) shows O(snapshot) at O(path), read-only and without effect of programs, set-uid bits
        and devices, until it is unmounted or the host is started again. Takes root.
      - V(unmounted) unmounts it. The directory stays. Takes root.
    type: str
    required: true
    choices:
      - restored
      - pruned
      - mounted
      - unmounted
  snapshot:
    description:
      - Number of the snapshot. Required for O(state=restored) and O(state=mounted).
      - With O(state=unmounted) only this one is unmounted; by default whichever of the repository it is.
    type: int
  path:
    description:
      - Where a snapshot is mounted or unmounted, an absolute path. It has to be an empty directory, and
        is made where it is missing.
      - It must not lie where repositories are held, nor behind a symbolic link that is not root's.
    type: path
  keep:
    description:
      - Which snapshots O(state=pruned) keeps. Each rule is for itself; a snapshot stays that any of them
        keeps. At least one is required.
      - Times are those of the snapshots, in UTC.
    type: dict
    suboptions:
      last:
        description: The newest ones, so many. V(-1) keeps all.
        type: int
        default: 0
      hourly:
        description:
          - The newest one of each hour, for so many of the last hours in which there is one. V(-1) is for
            every hour.
          - Where there are fewer hours than that, the oldest snapshot stays as well. The same holds for
            days, weeks, months and years.
        type: int
        default: 0
      daily:
        description: The newest one of each day, in the same way.
        type: int
        default: 0
      weekly:
        description: The newest one of each week from Monday, in the same way.
        type: int
        default: 0
      monthly:
        description: The newest one of each month, in the same way.
        type: int
        default: 0
      yearly:
        description: The newest one of each year, in the same way.
        type: int
        default: 0
      within:
        description:
          - All of this time before the newest snapshot, in years, months, days and hours. Where the clock
            of its publisher was ahead, so that its time has not come yet, all of this time before now.
          - V(14d), V(36h) and V(1y6m) are examples.
        type: str
        default: ""
      messages:
        description:
          - Those whose message one of these patterns matches as a whole, as in a shell. With C(re:) in
            front it is a regular expression that is searched for.
        type: list
        elements: str
        default: []
      tags:
        description:
          - >-
            Those with one of these words in their message, where it is written with a C(#) in front.
            The message V(Second edition #release) has the tag V(release). Punctuation around it does not
            count (V((#release\)), V(#release,)); what stands within a word or behind a slash is no tag.
        type: list
        elements: str
        default: []
  snapshot_message:
    description:
      - One line that is kept with the new snapshot. By default it says what was restored.
    type: str
    default: ""
  user:
    description:
      - Who is recorded as having restored. By default the user that runs the module. Who changed a file
        stays recorded as it was.
    type: str
    default: ""
seealso:
  - module: dsg.storage.dsg_fetch
  - module: dsg.storage.dsg_info
"""

EXAMPLES = r"""
---
- name: Publish again what the handbook was in its third snapshot
  dsg.storage.dsg_snapshot:
    state: restored
    repository: handbook
    backend:
      base: /srv/dsg
    snapshot: 3

- name: Put back one chapter and all pictures
  dsg.storage.dsg_snapshot:
    state: restored
    repository: handbook
    backend:
      base: /srv/dsg
    snapshot: 3
    paths:
      - chapters/backup.md
      - pictures
      - chapters/**/*.svg
    snapshot_message: Undo the new pictures

- name: Keep a week, a year of months, and whatever was released
  dsg.storage.dsg_snapshot:
    state: pruned
    repository: handbook
    backend:
      type: zfs
      dataset: tank/dsg
    keep:
      within: 7d
      monthly: 12
      tags:
        - release
  become: true

- name: Look at an older state
  dsg.storage.dsg_snapshot:
    state: mounted
    repository: handbook
    backend:
      base: /srv/dsg
    snapshot: 3
    path: /mnt/handbook-s3
  become: true

- name: Unmount it
  dsg.storage.dsg_snapshot:
    state: unmounted
    repository: handbook
    backend:
      base: /srv/dsg
    path: /mnt/handbook-s3
  become: true
"""

RETURN = r"""
snapshot:
  description:
    - With O(state=restored) the number of the repository's newest snapshot afterwards; in check mode of
      the one before.
    - With O(state=mounted) and O(state=unmounted) the one that is, or was, mounted at O(path).
  returned: success, unless O(state=pruned)
  type: int
  sample: 5
base_snapshot:
  description: Number of the newest snapshot before.
  returned: success and O(state=restored)
  type: int
  sample: 4
manifest_digest:
  description: SHA-256 that names the content of the published tree.
  returned: success and O(state=restored)
  type: str
txn_id:
  description: The transaction, empty where there was none.
  returned: success and O(state=restored)
  type: str
paths:
  description: What changes in the published tree, up to O(paths_limit) of each list.
  returned: success and O(state=restored)
  type: dict
  contains:
    added:
      description: Paths that come back.
      type: list
      elements: str
    changed:
      description: Paths whose content, target, permissions or kind becomes another one.
      type: list
      elements: str
    deleted:
      description: Paths that the snapshot does not have.
      type: list
      elements: str
    counts:
      description: The full number of each.
      type: dict
      sample:
        added: 2
        changed: 1
        deleted: 0
snapshots:
  description: What becomes of every snapshot, the oldest first.
  returned: success and O(state=pruned)
  type: list
  elements: dict
  contains:
    repository:
      description: Name of the repository.
      type: str
    name:
      description: Name of the snapshot.
      type: str
      sample: s3
    number:
      description: Its number, V(0) for one that is not ours.
      type: int
    created_at:
      description: When it was made, in UTC.
      type: str
    created_by:
      description: Who made it.
      type: str
    message:
      description: What they said of it.
      type: str
    action:
      description:
        - V(kept) by a rule; V(removed) (in check mode it would be); V(waits) as it is in use; V(foreign)
          as it was not made by the repository's transactions, and is left alone.
      type: str
    reasons:
      description: Why.
      type: list
      elements: str
      sample:
        - last
        - monthly
counts:
  description: Number of snapshots by what becomes of them.
  returned: success and O(state=pruned)
  type: dict
  sample:
    kept: 9
    removed: 31
    waits: 0
    foreign: 1
path:
  description: The directory, without symbolic links.
  returned: success and O(state=mounted) or O(state=unmounted)
  type: str
recovered:
  description: What was finished or undone first for an interrupted run, or in check mode would be.
  returned: success and O(state=restored) or O(state=pruned)
  type: list
  elements: str
pending_cleanup:
  description: What could not be removed yet, with the reason. A later run does it.
  returned: success and O(state=restored) or O(state=pruned)
  type: list
  elements: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _options, _report, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.backends.registry import (
    open_repository,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep import mounting
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.prune import (
    FOREIGN,
    KEPT,
    REMOVED,
    WAITS,
    Fate,
    prune,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.restore import (
    RestoreRequest,
    restore,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.retention import Keep

REQUIRED_IF = [
    ("state", "restored", ["snapshot"]),
    ("state", "pruned", ["keep"]),
    ("state", "mounted", ["snapshot", "path"]),
    ("state", "unmounted", ["path"]),
]


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        **_options.repository_options(),
        "state": {"type": "str", "choices": list(STATES), "required": True},
        "snapshot": {"type": "int"},
        "paths": _options.SNAPSHOT_PATHS,
        "path": {"type": "path"},
        "keep": _options.KEEP,
        "snapshot_message": {"type": "str", "default": ""},
        "user": {"type": "str", "default": ""},
        "lock_timeout": _options.LOCK_TIMEOUT,
        "paths_limit": _options.PATHS_LIMIT,
    }


def restored(module: AnsibleModule) -> _shell.Result:
    """Publish a snapshot again."""
    params = module.params
    limit = _options.limit_of(params)
    request = RestoreRequest(
        snapshot=params["snapshot"],
        paths=params["paths"],
        message=params["snapshot_message"],
        user=params["user"],
        lock_timeout=params["lock_timeout"],
        check=module.check_mode,
    )
    result = restore(open_repository(params["backend"], params["repository"]), request)
    differences = _report.Differences()
    for done in result.recovered:
        differences.add("recover", done)
    differences.add_changes(result.changes)
    header = f"repository {params['repository']}: restore of s{params['snapshot']}"
    return {
        "changed": differences.changed,
        "diff": differences.diff(header, limit),
        "snapshot": result.snapshot,
        "base_snapshot": result.base,
        "manifest_digest": result.manifest_digest,
        "txn_id": result.txn_id,
        "paths": _report.changes_data(result.changes, limit),
        "recovered": result.recovered,
        "pending_cleanup": result.pending_cleanup,
    }


def pruned(module: AnsibleModule) -> _shell.Result:
    """Remove what no rule keeps."""
    params = module.params
    result = prune(
        open_repository(params["backend"], params["repository"]),
        Keep(**params["keep"]),
        lock_timeout=params["lock_timeout"],
        check=module.check_mode,
    )
    differences = _report.Differences()
    for done in result.recovered:
        differences.add("recover", done)
    for fate in result.fates:
        if fate.name in result.removed:
            differences.add("remove", fate.name, f"{fate.created_at} {fate.message}".strip())
    counts = dict.fromkeys((KEPT, REMOVED, WAITS, FOREIGN), 0)
    for fate in result.fates:
        counts[fate.action] += 1
    return {
        "changed": differences.changed,
        "diff": differences.diff(
            f"snapshots of repository {params['repository']}", _options.limit_of(params)
        ),
        "snapshots": [fate_data(fate, params["repository"]) for fate in result.fates],
        "counts": counts,
        "recovered": result.recovered,
        "pending_cleanup": result.pending_cleanup,
    }


def fate_data(fate: Fate, repository: str) -> dict[str, Any]:
    """Return what becomes of a snapshot as plain data."""
    return {"repository": repository, **fate._asdict()}


def mounted(module: AnsibleModule) -> _shell.Result:
    """Show a snapshot at a path."""
    params = module.params
    result = mounting.mount(
        open_repository(params["backend"], params["repository"]),
        params["snapshot"],
        params["path"],
        lock_timeout=params["lock_timeout"],
        check=module.check_mode,
    )
    return mount_data("mount", result, params)


def unmounted(module: AnsibleModule) -> _shell.Result:
    """Show it there no more."""
    params = module.params
    result = mounting.unmount(
        open_repository(params["backend"], params["repository"]),
        params["path"],
        number=params["snapshot"],
        lock_timeout=params["lock_timeout"],
        check=module.check_mode,
    )
    return mount_data("unmount", result, params)


def mount_data(action: str, result: mounting.MountResult, params: dict[str, Any]) -> _shell.Result:
    """Shape the result of mounting and unmounting."""
    differences = _report.Differences()
    if result.changed:
        differences.add(action, result.path, f"s{result.snapshot}")
    return {
        "changed": differences.changed,
        "diff": differences.diff(
            f"snapshots of repository {params['repository']}", _options.limit_of(params)
        ),
        "path": result.path,
        "snapshot": result.snapshot,
    }


STATES = {"restored": restored, "pruned": pruned, "mounted": mounted, "unmounted": unmounted}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(), required_if=REQUIRED_IF, supports_check_mode=True
    )
    _shell.run_module(module, lambda module: STATES[module.params["state"]](module))


if __name__ == "__main__":
    main()
