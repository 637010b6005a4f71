#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_sync``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_sync
short_description: Publish a data tree atomically, and keep working copies in step with it
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Compares a working copy with a repository and with the record of their last sync, and carries
    over what changed, in one transaction. It happens completely on both sides, or not at all.
  - Who reads the published tree sees the old tree, then the new one, never anything in between.
  - Paths that changed on both sides are conflicts. They stop the sync before anything is changed,
    until O(conflict) or O(conflict_paths) decide them.
  - Where nothing differs, nothing is changed and no snapshot is made.
  - The working copy is on the control node (or where C(delegate_to) says), the repository on the
    host of the inventory, which needs nothing but Python 3.9 and OpenSSH's server. C(become) and
    C(become_user) are for the storage host.
  - What an earlier run could not finish (power loss, a killed process) is finished or undone first.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.repository
  - dsg.storage.repository.comparison
  - dsg.storage.repository.storage_host
  - dsg.storage.repository.lock_timeout
  - dsg.storage.repository.paths_limit
  - dsg.storage.repository.progress
attributes:
  check_mode:
    support: full
    details:
      - Computes the true plan, and fails where the run would fail.
      - With O(operation=recover) it reports what is unfinished.
  diff_mode:
    support: full
    details:
      - One line for each path, with what is done and why.
  idempotent:
    support: full
options:
  src:
    description:
      - The working copy, a directory. Its metadata is kept in C(.dsg) at its root.
      - Required unless O(operation=recover), where it may be left out to recover the repository
        alone, for instance when the client that began is gone for good.
    type: path
  operation:
    description:
      - V(init) publishes a tree for the first time and refuses a repository that exists.
      - V(clone) makes a working copy of a repository and refuses one that belongs to another.
      - V(sync) carries over what changed on either side since the last sync.
      - V(auto) does the one of these that fits.
      - V(recover) finishes or undoes what an interrupted run left, and syncs nothing. Every other
        operation does this first as well.
      - V(undo_names) puts back the names that the newest run with O(names=normalise) changed in the
        working copy. It publishes nothing. Every call undoes one run.
    type: str
    choices:
      - auto
      - init
      - clone
      - sync
      - recover
      - undo_names
    default: auto
  phase:
    description:
      - V(full) is a whole sync with one host. The others are the steps of a fleet transaction, by
        which all hosts of a play publish the same tree or none of them does. The role
        P(dsg.storage.sync#role) takes them in their order.
      - V(prepare) stages and checks everything on a host and publishes nothing. Nothing else can be
        published there then until the fleet transaction is decided. It fails where the host holds
        changes that the working copy lacks.
      - V(commit) publishes what was prepared, V(rollback) drops it. The first host that is asked
        decides for all of them, durably; hosts that are asked otherwise afterwards fail.
      - V(withdraw), before any host is asked to commit, drops what this host prepared and leaves the
        others to decide without it; for a host that failed with another repository.
      - Whatever dies in between, O(operation=recover) leads all hosts to the same state.
    type: str
    choices:
      - full
      - prepare
      - withdraw
      - commit
      - rollback
    default: full
    version_added: 1.0.0
  txn_id:
    description:
      - The transaction that V(prepare) returned for this host, empty where it had nothing to do.
      - With O(phase=commit) it is an error if that is not there any more.
    type: str
    default: ""
  fleet:
    description:
      - Id of the fleet transaction, 1 to 64 letters, digits and C(-), the same for all hosts.
      - Filled in for the phases that need one, as the same for all tasks of one C(ansible-playbook).
    type: str
    default: ""
  fleet_host:
    description:
      - What tells this host from the others of the fleet. Filled in with the name in the inventory.
    type: str
    default: ""
  fleet_coordinator:
    description:
      - Number of the process that decides. As long as it runs, nobody else does. Filled in.
      - V(0) where it does not run on the host of the working copy; only O(operation=recover) decides
        then in its place.
    type: int
    default: 0
  abandon:
    description:
      - With O(operation=recover), the id of a transaction that a host has prepared and that waits for
        a decision, to be rolled back there. Only meant for one whose working copy is gone for good,
        as the other hosts of its fleet may have committed, or for one whose repository is, which gives its part up.
    type: str
    default: ""
  max_delete:
    description:
      - How many paths a run may delete on one side, as a number (V(25)) or as a percentage of the
        paths on that side (V(50%)). More stops the run before anything is changed.
      - Protects against a working copy or a repository that is empty by mistake.
    type: str
    default: 50%
  snapshot_message:
    description:
      - One line that is kept with the snapshot.
    type: str
    default: ""
seealso:
  - module: dsg.storage.dsg_info
  - module: dsg.storage.dsg_manifest
notes:
  - The work area of the repository must have been provisioned, for instance with
    C(ansible-playbook dsg.storage.provision).
"""

EXAMPLES = r"""
---
- name: Publish a tree, or bring both sides up to date
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      type: directory
      base: /srv/dsg
    snapshot_message: Corrected the chapter about backups

- name: Publish it as the dataset tank/dsg/handbook instead, as root
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      type: zfs
      dataset: tank/dsg
  become: true

- name: Publish for the first time, and fail if there is such a repository already
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    operation: init
    ignore:
      - "*.tmp"
      - /build/

- name: Make a second working copy
  dsg.storage.dsg_sync:
    src: /home/bob/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    operation: clone

- name: Decide conflicts, one path differently from the rest
  dsg.storage.dsg_sync:
    src: /home/bob/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    operation: sync
    conflict: local
    conflict_paths:
      chapters/backup.md: remote

- name: Publish only, whatever the repository holds, and allow up to 20 deletions
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    direction: push
    max_delete: 20

- name: Be ready to publish on every host, and publish on none yet
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    phase: prepare
  register: prepared

- name: Publish on every host, now that all of them are ready
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    phase: commit
    txn_id: "{{ prepared.txn_id }}"

- name: Give names that other systems cannot hold a portable one, here and there
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    names: normalise

- name: Put the names in the working copy back
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    operation: undo_names

- name: Finish or undo what an interrupted run left
  dsg.storage.dsg_sync:
    src: /home/alice/handbook
    repository: handbook
    backend:
      base: /srv/dsg
    operation: recover
"""

RETURN = r"""
operation:
  description: What was done, V(init), V(clone), V(sync), V(recover) or V(undo_names).
  returned: success
  type: str
  sample: sync
phase:
  description: The phase that was asked for.
  returned: success of a sync
  type: str
  sample: full
plan:
  description: What differed and what is done about it (in check mode, what would be done).
  returned: success of a sync
  type: dict
  contains:
    counts:
      description: Number of paths for each action.
      type: dict
      sample:
        upload: 3
        delete_remote: 1
        download: 0
        delete_local: 0
        update_cache: 0
        drop_cache: 0
        held: 0
        conflict: 0
    paths:
      description: Paths for each action that occurs, up to O(paths_limit) of each.
      type: dict
      sample:
        upload:
          - chapters/backup.md
          - chapters/restore.md
          - img/plan.svg
        delete_remote:
          - chapters/old.md
    truncated:
      description: Whether a list holds fewer paths than its count says.
      type: bool
conflicts:
  description: >-
    Every path that changed on both sides and has no decision yet, up to O(paths_limit) of them.
  returned: success, and failure for a conflict
  type: list
  elements: dict
  contains:
    path:
      description: The path, relative to the tree.
      type: str
    state:
      description: >-
        Which of working copy, last sync and repository hold the path (a digit each), and which of
        them differ.
      type: str
      sample: 111 all differ
    clashes_with:
      description: A path on the other side that cannot exist beside this one, or empty.
      type: str
    local:
      description: The path in the working copy, V(none) if it is absent there.
      type: dict
      contains: &side
        type:
          description: One of V(file), V(symlink) and V(directory).
          type: str
        size:
          description: Size in bytes.
          type: int
        mode:
          description: Permission bits of a file.
          type: str
        sha256:
          description: SHA-256 of a file's content.
          type: str
        target:
          description: Target of a symbolic link.
          type: str
        mtime:
          description: Time of a file's last modification, in UTC.
          type: str
        user:
          description: Who last changed the content.
          type: str
    remote:
      description: The path in the repository, V(none) if it is absent there.
      type: dict
      contains: *side
names:
  description: What was renamed in the working copy (in check mode, what would be).
  returned: success, unless O(operation=recover)
  type: dict
  contains:
    count:
      description: Number of files, links and directories that got another name.
      type: int
    renamed:
      description: Each of them, up to O(paths_limit).
      type: list
      elements: dict
      contains:
        old:
          description: The path before, with what is not UTF-8 escaped.
          type: str
        new:
          description: The path afterwards, where its parents have their new names, too.
          type: str
    links:
      description: Links whose target was adapted, up to O(paths_limit).
      type: list
      elements: dict
      contains:
        path:
          description: The link's path afterwards.
          type: str
        old:
          description: Its target before.
          type: str
        new:
          description: Its target afterwards.
          type: str
snapshot:
  description: Number of the repository's snapshot afterwards; for a conflict, of the one that it holds.
  returned: success of a sync, and failure for a conflict
  type: int
  sample: 4
txn_id:
  description: Id of the transaction, empty where nothing had to be done.
  returned: success of a sync
  type: str
manifest_digest:
  description: SHA-256 that names the content of the published tree.
  returned: success of a sync
  type: str
bytes_uploaded:
  description: Bytes of content that went into the repository.
  returned: success of a sync
  type: int
bytes_downloaded:
  description: Bytes of content that went into the working copy.
  returned: success of a sync
  type: int
seconds:
  description: Time that each phase took.
  returned: success of a sync
  type: dict
recovered:
  description: What was finished or undone of an earlier, interrupted run.
  returned: success, unless O(operation=undo_names)
  type: list
  elements: str
put_off:
  description: >-
    Paths that changed in the working copy while the run was going on. They are left as they are and
    seen again by the next run.
  returned: success of a sync
  type: list
  elements: str
pending_cleanup:
  description: What could not be removed yet, with the reason. A later run does it.
  returned: success, unless O(operation=recover)
  type: list
  elements: str
backup:
  description: >-
    Directory that keeps the local versions that lost a conflict, or empty. A version that somebody saved in the
    moment of a change, and that could not go back to its path, is kept there as well.
  returned: success of a sync
  type: str
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains: &error
    code:
      description: Stable code, explained in docs/errors.md.
      type: str
      sample: DSG-CONFLICT
    host:
      description: The storage host concerned, empty for the host that the module ran on.
      type: str
    object:
      description: The path, snapshot or repository concerned.
      type: str
    message:
      description: What happened.
      type: str
    unchanged:
      description: What was left as it was.
      type: str
    next_step:
      description: The next safe thing to do.
      type: str
    details:
      description: One line for each finding.
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import (
    _comparison,
    _options,
    _report,
    _shell,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.client.fleet import (
    COMMIT,
    ROLLBACK,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ConflictError,
    DsgError,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.policy import (
    DEFAULT_MAX_DELETE,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.phases import run
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.recovery import (
    preview,
    recover,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.request import (
    FULL,
    OPERATIONS,
    PHASES,
    WITHDRAW,
    SyncRequest,
    SyncResult,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.status import inspect
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.undo_names import (
    UNDO_NAMES,
    undo_names,
)

RECOVER = "recover"
OTHERS = (RECOVER, UNDO_NAMES)


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "src": {"type": "path"},
        **_options.repository_options(),
        "operation": {"type": "str", "choices": [*OPERATIONS, *OTHERS], "default": "auto"},
        "phase": {"type": "str", "choices": list(PHASES), "default": FULL},
        "txn_id": {"type": "str", "default": ""},
        "fleet": {"type": "str", "default": ""},
        "fleet_host": {"type": "str", "default": ""},
        "fleet_coordinator": {"type": "int", "default": 0},
        "abandon": {"type": "str", "default": ""},
        "max_delete": {"type": "str", "default": DEFAULT_MAX_DELETE},
        "snapshot_message": {"type": "str", "default": ""},
        "progress": _options.PROGRESS,
        **_options.storage_host_options(),
        **_comparison.comparison_options(),
        "lock_timeout": _options.LOCK_TIMEOUT,
        "paths_limit": _options.PATHS_LIMIT,
    }


REQUIRED_IF = [("operation", operation, ["src"]) for operation in (*OPERATIONS, UNDO_NAMES)]


def request_of(params: dict[str, Any], *, check: bool) -> SyncRequest:
    """Turn the module's options into the core's request."""
    compared = _comparison.request_of(params, check=check)
    return compared._replace(
        operation=params["operation"] if params["operation"] not in OTHERS else "auto",
        policy=compared.policy._replace(max_delete=params["max_delete"]),
        message=params["snapshot_message"],
        phase=params["phase"],
        fleet=params["fleet"],
        host=params["fleet_host"],
        coordinator=params["fleet_coordinator"],
        txn_id=params["txn_id"],
    )


def differences_of(result: SyncResult, request: SyncRequest) -> _report.Differences:
    """Collect what a run did, or in check mode would do."""
    found = _report.Differences()
    finishing = request.phase in (COMMIT, ROLLBACK, WITHDRAW)
    for done in result.recovered:
        found.add(request.phase if finishing else "recover", done)
    found.add_names(result.names, set(result.put_off))
    found.add_plan(result.plan, set(result.put_off))
    if result.changed and not found.changed:  # an empty tree: only the sides come to know another
        what = "what is prepared" if finishing else "no path to carry over"
        found.add(result.operation, request.repository, what)
    return found


def sync(module: _shell.Invocation) -> _shell.Result:
    """Run one sync and shape its result."""
    limit = _options.limit_of(module.params)
    request = request_of(module.params, check=module.check_mode)
    result = run(request)
    differences = differences_of(result, request)
    header = f"{result.operation} of {request.src} with repository {request.repository}"
    return {
        "changed": differences.changed,
        "diff": differences.diff(header, limit),
        "operation": result.operation,
        "phase": request.phase,
        "plan": _report.plan_data(result.plan, limit),
        "names": _report.names_data(result.names, limit),
        "conflicts": _report.conflicts_data(result.plan, limit),
        "snapshot": result.snapshot,
        "txn_id": result.txn_id,
        "manifest_digest": result.manifest_digest,
        "bytes_uploaded": result.bytes_uploaded,
        "bytes_downloaded": result.bytes_downloaded,
        "seconds": {phase: round(took, 6) for phase, took in result.seconds.items()},
        "recovered": result.recovered,
        "put_off": result.put_off[:limit],
        "pending_cleanup": result.pending_cleanup,
        "backup": result.backup,
    }


def put_names_back(module: _shell.Invocation) -> _shell.Result:
    """Undo the newest renaming in the working copy; in check mode tell what that is."""
    limit = _options.limit_of(module.params)
    request = request_of(module.params, check=module.check_mode)
    result = undo_names(request)
    differences = _report.Differences()
    differences.add_names(result.names)
    if result.changed and not differences.changed:
        differences.add("rename", request.src, "nothing is left to be put back")
    return {
        "changed": differences.changed,
        "diff": differences.diff(f"old names of {request.src}", limit),
        "operation": UNDO_NAMES,
        "names": _report.names_data(result.names, limit),
        "pending_cleanup": result.pending_cleanup,
    }


def recover_only(module: _shell.Invocation) -> _shell.Result:
    """Finish or undo what is left of an interrupted run; in check mode tell what that is."""
    request = request_of(module.params, check=module.check_mode)
    if module.check_mode:
        place = (request.src, request.repository, request.backend, request.destination)
        done = preview(*place, module.params["abandon"])
    else:
        done = recover(
            request.src,
            request.repository,
            request.backend,
            request.lock_timeout,
            request.destination,
            module.params["abandon"],
        )
    differences = _report.Differences()
    for sentence in done:
        differences.add("recover", sentence)
    header = f"recovery of repository {request.repository}"
    return {
        "changed": differences.changed,
        "diff": differences.diff(header, _options.limit_of(module.params)),
        "operation": RECOVER,
        "recovered": done,
    }


def conflicts_of(module: _shell.Invocation, error: DsgError) -> _shell.Result:
    """Add both sides of every conflict, and what is published, to a failure for conflicts."""
    if not isinstance(error, ConflictError):
        return {}
    status = inspect(request_of(module.params, check=True))
    conflicts = _report.conflicts_data(status.plan, _options.limit_of(module.params))
    return {"conflicts": conflicts, "snapshot": status.snapshot}


def carry_out(module: _shell.Invocation) -> _shell.Result:
    """Do what the operation asks for."""
    actions = {RECOVER: recover_only, UNDO_NAMES: put_names_back}
    return actions.get(module.params["operation"], sync)(module)


COMMAND = _shell.Command(argument_spec(), {"required_if": REQUIRED_IF}, carry_out, conflicts_of)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
