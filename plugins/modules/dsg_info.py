#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_info``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_info
short_description: Tell how a repository and a working copy stand
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Reads what is published, by whom and when, whether a working copy is in step with it, what
    an interrupted run left unfinished and who is in the way, what space there is, and which rights
    are missing.
  - What cannot be read is told as a problem, and hides nothing else.
  - Changes nothing anywhere.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.attributes.info_module
  - dsg.storage.repository
  - dsg.storage.repository.comparison
  - dsg.storage.repository.storage_host
  - dsg.storage.repository.lock_timeout
  - dsg.storage.repository.paths_limit
options:
  src:
    description:
      - The working copy to compare with the repository.
      - Without it only the repository is looked at.
    type: path
  drift:
    description:
      - Whether to compare the published tree with its manifest by names, sizes and times.
      - It looks at every published path, without reading any file; with the C(zfs) backend only where
        the pool says that something was written. M(dsg.storage.dsg_manifest) re-hashes.
    type: bool
    default: false
  measure_history:
    description:
      - Whether to find out how much space older snapshots take that the published tree does not share.
      - With the C(directory) backend it walks through all of them. OpenZFS knows it anyway.
    type: bool
    default: false
seealso:
  - module: dsg.storage.dsg_sync
  - module: dsg.storage.dsg_report
"""

EXAMPLES = r"""
---
- name: Look at a repository
  dsg.storage.dsg_info:
    repository: handbook
    backend:
      base: /srv/dsg
  register: handbook

- name: Show what differs between a working copy and the repository
  dsg.storage.dsg_info:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
  register: handbook

- name: Look at a repository that is a dataset of OpenZFS
  dsg.storage.dsg_info:
    repository: handbook
    backend:
      type: zfs
      dataset: tank/dsg
  become: true

- name: See whether somebody wrote to the published tree, and what the history takes
  dsg.storage.dsg_info:
    repository: handbook
    backend:
      base: /srv/dsg
    drift: true
    measure_history: true
  register: handbook
  failed_when: handbook.problems | selectattr('severity', 'eq', 'error') | length > 0

- name: Show it in one line
  ansible.builtin.debug:
    var: handbook.summary.differences
"""

RETURN = r"""
location:
  description: Where on its host the repository is (or would be), by the options. Repositories of one name differ in it.
  returned: always
  type: str
  sample: /srv/dsg/handbook
repository_exists:
  description: Whether the repository has been published.
  returned: success
  type: bool
snapshot:
  description: Number of the newest snapshot, V(none) before the first publication.
  returned: success
  type: int
snapshots:
  description: Numbers of all snapshots that are kept, the newest included.
  returned: success
  type: list
  elements: int
created_at:
  description: When the newest snapshot was made, in UTC.
  returned: success
  type: str
created_by:
  description: Who made the newest snapshot.
  returned: success
  type: str
message:
  description: The message of the newest snapshot.
  returned: success
  type: str
manifest_digest:
  description: SHA-256 that names the content of the published tree.
  returned: success
  type: str
files:
  description: Number of published files.
  returned: success
  type: int
bytes:
  description: Size of all published files in bytes.
  returned: success
  type: int
last_sync:
  description: Snapshot that the working copy was last synced with, V(none) if it never was.
  returned: success and O(src) is given
  type: int
in_sync:
  description: Whether working copy and repository hold the same. RV(unfinished) tells of interrupted runs apart.
  returned: success and O(src) is given
  type: bool
plan:
  description: What a sync would do, as in the result of M(dsg.storage.dsg_sync).
  returned: success and O(src) is given
  type: dict
  contains:
    counts:
      description: Number of paths for each action.
      type: dict
    paths:
      description: Paths for each action that occurs, up to O(paths_limit) of each.
      type: dict
    truncated:
      description: Whether a list holds fewer paths than its count says.
      type: bool
conflicts:
  description: >-
    Every path that changed on both sides and has no decision yet, with both sides, as in the result
    of M(dsg.storage.dsg_sync).
  returned: success and O(src) is given
  type: list
  elements: dict
states:
  description: >-
    How many paths are in each state of working copy (L), last sync (C) and repository (R) that asks for
    something. The digits tell which of them have the path.
  returned: success and O(src) is given
  type: dict
  sample:
    111 only L differs: 2
unfinished:
  description: What an interrupted run left for recovery to finish or undo, one line for each finding.
  returned: success
  type: list
  elements: str
open_transactions:
  description: Transactions that recovery leaves alone, as they are open or held, one line for each.
  returned: success
  type: list
  elements: str
running:
  description: Who works on the repository right now, as far as this user may see it.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: lock
      pid: 4711
      command: python3
      user: publisher
      place: /srv/dsg/.dsg/handbook.lock
      tag: ""
      text: pid 4711 (python3) of publisher, which works on the repository
pending_cleanups:
  description: Work areas and replaced trees that recovery is to clear away, and who is in the way.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: Path or dataset.
      type: str
    txn_id:
      description: The transaction that left it.
      type: str
    what:
      description: One sentence.
      type: str
    holders:
      description: >-
        Who uses it. RV(ignore:kind) is process, lock, send, mount, hold, clone or snapshot. Of processes of
        others only root sees all.
      type: list
      elements: dict
    next_step:
      description: The next safe thing to do.
      type: str
snapshot_users:
  description: >-
    What keeps older snapshots from being removed (holds, clones, mounts in any namespace, sends, processes inside). Of the
    processes of others only root sees all.
  returned: success
  type: list
  elements: dict
missing_rights:
  description: What the user lacks to publish, and which role grants it.
  returned: success
  type: list
  elements: dict
  contains:
    message:
      description: What is missing.
      type: str
    object:
      description: Where.
      type: str
    next_step:
      description: How to get it.
      type: str
space:
  description: Bytes on the storage host. V(none) where it could not be found out.
  returned: success
  type: dict
  contains:
    free:
      description:
        - What may still be written, as far as it is counted.
        - With the C(zfs) backend it is C(available) of the published dataset (of the publish parent before
          the first publication), what the pool, reservations, C(quota) and C(refquota) leave. Not counted
          are C(userquota), C(groupquota), C(projectquota), and limits on the number of anything.
        - With the C(directory) backend it is what the file system has free for users other than root, or
          what is left of this user's quota if that is less (hard or soft, whichever is lower; on file systems
          of a block device). A project's quota counts where the system shows it as the size of the file
          system (XFS, ext4). Not counted are quotas of groups, and limits on the number of files.
      type: int
    size:
      description: >-
        With the C(zfs) backend what all datasets of the pool take, and what is free for them. With the
        C(directory) backend the size of the file system, or of the project's quota.
      type: int
    used:
      description: What the published tree takes, V(none) where the backend does not count it.
      type: int
    history:
      description: What older snapshots take, V(none) unless known or asked for.
      type: int
    quota:
      description: >-
        The limit that leaves least of those that RV(space.free) counts, V(none) without one. With the C(zfs)
        backend it is C(refquota) of the published dataset, or C(quota) of it or of one above it.
      type: int
    quota_of:
      description: What it is set on.
      type: str
    pool:
      description: The pool of OpenZFS.
      type: str
    health:
      description: Its health.
      type: str
drift:
  description: How the published tree differs from its manifest, V(none) unless asked for.
  returned: success
  type: dict
  contains:
    count:
      description: Number of differences.
      type: int
    paths:
      description: The differences, up to O(paths_limit).
      type: list
      elements: str
unknown:
  description: >-
    What could not be read on the storage host, an error each as in the result of
    M(dsg.storage.dsg_sync), with the RV(ignore:part) that it is about.
  returned: success
  type: list
  elements: dict
problems:
  description: What a person should know of, the worst first.
  returned: always
  type: list
  elements: dict
  contains:
    severity:
      description: V(error), V(warning) or V(note).
      type: str
    kind:
      description: >-
        V(failed), V(refused), V(unknown), V(drift), V(conflict), V(health), V(space), V(cleanup), V(unfinished),
        V(running), V(rights) or V(open).
      type: str
    code:
      description: Code of the error, where it is one.
      type: str
    object:
      description: Path, dataset or host that it is about.
      type: str
    message:
      description: What it is.
      type: str
    details:
      description: The first findings, or who is in the way.
      type: list
      elements: str
    next_step:
      description: The next safe thing to do.
      type: str
summary:
  description: The same in words, as one row of a table.
  returned: always
  type: dict
  contains:
    repository:
      description: Name of the repository.
      type: str
    snapshot:
      description: The newest snapshot.
      type: str
      sample: s3
    published:
      description: When it was made, in UTC.
      type: str
    by:
      description: Who made it.
      type: str
    in_sync:
      description: Whether the working copy is in step, empty where none is given.
      type: str
    differences:
      description: How many paths differ, by action, or why nothing was compared.
      type: str
      sample: 2 upload, 1 conflict
    message:
      description: Its message.
      type: str
    digest:
      description: The first digits of its digest.
      type: str
    drift:
      description: How many published paths differ from the manifest, empty where nobody asked.
      type: str
    unfinished:
      description: How many findings of interrupted runs and open transactions there are.
      type: str
    cleanups:
      description: How many cleanups wait.
      type: str
    history:
      description: What older snapshots take.
      type: str
      sample: 1.2 GiB
    free:
      description: What may still be written.
      type: str
    problem:
      description: >-
        Code of the error that kept the module from looking, or with which a sync would refuse to go on from the last one;
        or empty.
      type: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import (
    _comparison,
    _options,
    _report,
    _shell,
    _standing,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import DsgError
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.status import inspect


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "src": {"type": "path"},
        **_options.repository_options(),
        "drift": {"type": "bool", "default": False},
        "measure_history": {"type": "bool", "default": False},
        **_comparison.comparison_options(),
        "lock_timeout": _options.LOCK_TIMEOUT,
        "paths_limit": _options.PATHS_LIMIT,
        **_options.storage_host_options(),
    }


def look(module: _shell.Invocation) -> _shell.Result:
    """Inspect repository and working copy, and shape the result."""
    params = module.params
    limit = _options.limit_of(params)
    compared = bool(params["src"])
    request = _comparison.request_of(params, check=True)
    status = inspect(request, drift=params["drift"], history=params["measure_history"])
    result = {
        "changed": False,
        "location": _standing.location(params["backend"], params["repository"]),
        "repository_exists": status.repository_exists,
        "snapshot": status.snapshot,
        "snapshots": status.snapshots,
        "created_at": status.created_at,
        "created_by": status.created_by,
        "message": status.message,
        "manifest_digest": status.digest,
        "files": status.files,
        "bytes": status.bytes,
        **_standing.data(status, limit),
        "problems": _standing.problems(status, params["src"] or ""),
        "summary": _standing.summary(status, params["repository"], compared=compared),
    }
    if compared:
        result["last_sync"] = status.last_sync
        result["in_sync"] = status.in_sync
        result["states"] = status.states()
        result["plan"] = _report.plan_data(status.plan, limit)
        result["conflicts"] = _report.conflicts_data(status.plan, limit)
    return result


def problem(module: _shell.Invocation, error: DsgError) -> _shell.Result:
    """Return a row for the table that names the error."""
    repository = module.params["repository"]
    return {
        "location": _standing.location(module.params["backend"], repository),
        "summary": {"repository": repository, "problem": error.code},
        "problems": _standing.failure(error),
    }


COMMAND = _shell.Command(argument_spec(), {}, look, problem)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
