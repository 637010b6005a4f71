#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_zfs_txn``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_zfs_txn
short_description: Make any tasks atomic on a published tree
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Opens a transaction on a repository of the V(zfs) backend and returns a directory,
    RV(work_path), that holds the published tree as it is. Whatever tasks put there with any module
    is published in one step by O(state=committed), or thrown away by O(state=rolled_back).
  - Who reads the published tree sees the old tree, then the new one, never anything in between.
  - The transaction stays open between tasks although no process holds it. It blocks nobody. Where
    somebody else publishes meanwhile, its commit is refused, and nothing is lost.
  - It chooses by itself whether it is a first publication.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.repository
  - dsg.storage.repository.lock_timeout
  - dsg.storage.repository.paths_limit
attributes:
  check_mode:
    support: partial
    details:
      - Nothing is changed, and the module fails where the run would fail.
      - O(state=begun) makes no directory in check mode, so skip the tasks that fill it.
        O(state=prepared) and O(state=committed) then report a change, as nobody can tell what those
        tasks would have done. They are exact for a transaction that was really begun.
  diff_mode:
    support: full
    details:
      - One line for each path that is added, changed or deleted, with O(state=prepared) and
        O(state=committed).
      - In check mode those of a transaction that is prepared already are not known.
  idempotent:
    support: full
    details:
      - For the same O(txn_id). Without one, every O(state=begun) opens a transaction.
options:
  backend:
    description:
      - How the repository is held. Only the V(zfs) backend keeps transactions open between tasks.
  state:
    description:
      - V(begun) finishes or undoes what dead transactions left, then opens one. Repeated with the
        same O(txn_id) it returns the same directory.
      - V(prepared) takes the tree in RV(work_path) for what is to be published. Paths that cannot be
        published (device nodes, names that are not UTF-8 and the like) are refused by name. The
        directory is gone afterwards.
      - V(committed) publishes, and prepares first where that was not done. It is refused where
        somebody else published, wrote to the published tree, or took a snapshot of it since the
        transaction began. The transaction is then still there, to be rolled back. Where nothing
        differs no snapshot is made, and the transaction is ended. Repeated it changes nothing; of
        transactions that had nothing to publish, the repository remembers the last one.
      - V(rolled_back) throws the transaction away. It is fine if there is none, and an error if it
        has been committed.
      - V(recovered) finishes or undoes all that is left on the repository, including every open
        transaction, whoever began it and whether or not its lease has ended. As a service user, what
        root has mounted for itself is left alone.
    type: str
    choices:
      - begun
      - prepared
      - committed
      - rolled_back
      - recovered
    required: true
  txn_id:
    description:
      - The id of the transaction, 1 to 64 letters, digits and C(-).
      - With O(state=begun) an id is made if none is given. V(recovered) needs none. The others do.
      - An id that was committed cannot be used again.
    type: str
  lease:
    description:
      - How many seconds the open transaction is left alone by others, with O(state=begun). Of one that
        is open already they count from now, too, unless it was to be left alone for longer; that does
        not count as a change.
      - When it has ended, the next run of anybody on the repository throws the transaction away.
        Until then it can still be committed.
    type: int
    default: 86400
  snapshot_message:
    description:
      - One line that is kept with the snapshot, with O(state=prepared), or with O(state=committed)
        where that was not done before.
    type: str
    default: ""
  user:
    description:
      - Who is recorded as having changed content. By default the user that runs the module.
    type: str
    default: ""
seealso:
  - module: dsg.storage.dsg_sync
  - module: dsg.storage.dsg_info
notes:
  - Run it on the storage host, and fill RV(work_path) there as the user that runs the module. Only
    root, that user and the members of the user's primary group may enter it.
  - Nothing may write to the directory any more when it is prepared. Files that change while it is
    scanned, and processes that are still in it, stop the preparation.
  - What counts as a difference are paths, contents, targets of links and permission bits of files.
    Owners, times and permissions of directories are published with them, but do not make a new
    snapshot by themselves. Set-uid, set-gid and sticky bits of files are taken off.
  - C(.dsg) in the root of the tree is not content. What tasks do to it is put right.
  - If the host goes down, a transaction that was not prepared is thrown away by the next run, as
    what tasks wrote last may not have reached the disk. A prepared one stays.
"""

EXAMPLES = r"""
---
- name: Publish a release atomically
  block:
    - name: Open a transaction
      dsg.storage.dsg_zfs_txn:
        repository: website
        backend:
          type: zfs
          dataset: tank/dsg
        state: begun
      register: release
      changed_when: false  # what is published has not changed

    - name: Unpack the release
      ansible.builtin.unarchive:
        src: website-2.1.tar.gz
        dest: "{{ release.work_path }}"
        owner: root
        group: root
      when: not ansible_check_mode  # there is no directory then

    - name: Write its configuration
      ansible.builtin.template:
        src: config.ini.j2
        dest: "{{ release.work_path }}/config.ini"
        mode: "0644"
      when: not ansible_check_mode

    - name: Publish both at once
      dsg.storage.dsg_zfs_txn:
        repository: website
        backend:
          type: zfs
          dataset: tank/dsg
        state: committed
        txn_id: "{{ release.txn_id }}"
        snapshot_message: Release 2.1
  rescue:
    - name: Throw away what was done
      dsg.storage.dsg_zfs_txn:
        repository: website
        backend:
          type: zfs
          dataset: tank/dsg
        state: rolled_back
        txn_id: "{{ release.txn_id }}"
      when: release.txn_id is defined

    - name: Fail all the same
      ansible.builtin.fail:
        msg: "{{ ansible_failed_result.msg | default('The release was not published.') }}"

- name: Finish or undo all that is left, open transactions included
  dsg.storage.dsg_zfs_txn:
    repository: website
    backend:
      type: zfs
      dataset: tank/dsg
    state: recovered
"""

RETURN = r"""
txn_id:
  description: Id of the transaction, empty with O(state=recovered).
  returned: success
  type: str
  sample: 20261121T021606Z-3f1c9a0b52de
work_path:
  description:
    - The directory to put things in, with O(state=begun), else empty.
    - In check mode it does not exist.
  returned: success
  type: str
  sample: /run/dsg/mnt/tank%dsg%website%20261121T021606Z-3f1c9a0b52de/tree
operation:
  description: V(init) for a first publication, V(sync) for a later one, empty where it is neither.
  returned: success
  type: str
  sample: sync
base_snapshot:
  description: Number of the snapshot that the transaction began upon, V(0) for a first publication.
  returned: success
  type: int
  sample: 3
snapshot:
  description: Number of the repository's snapshot afterwards, V(none) where it does not exist yet.
  returned: success
  type: int
  sample: 4
manifest_digest:
  description: SHA-256 that names the content of the published tree, empty where there is none yet.
  returned: success
  type: str
paths:
  description:
    - What differs from the tree that the transaction began upon, up to O(paths_limit) of each list.
    - Known with O(state=prepared) and O(state=committed), when they change something.
  returned: success
  type: dict
  contains:
    added:
      description: Paths that are new.
      type: list
      elements: str
    changed:
      description: Paths whose content, target, permissions or kind is another one.
      type: list
      elements: str
    deleted:
      description: Paths that are gone.
      type: list
      elements: str
    counts:
      description: The full number of each.
      type: dict
      sample:
        added: 12
        changed: 3
        deleted: 0
    known:
      description: V(false) in check mode, where only the run itself could tell.
      type: bool
recovered:
  description: What was finished or undone of other transactions, or in check mode would be.
  returned: success
  type: list
  elements: str
pending_cleanup:
  description: What could not be removed yet, with the reason. A later run does it.
  returned: success
  type: list
  elements: str
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable code, explained in docs/errors.md.
      type: str
      sample: DSG-DRIFT
    object:
      description: The path, dataset or repository concerned.
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _options, _report, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.sync import open_transaction
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.open_request import (
    DEFAULT_LEASE,
    TransactionRequest,
    TransactionResult,
)

STEPS = {
    "begun": open_transaction.begin,
    "prepared": open_transaction.prepare,
    "committed": open_transaction.commit,
    "rolled_back": open_transaction.rollback,
    "recovered": open_transaction.recover,
}
VERBS = {"begun": "begin", "prepared": "prepare", "committed": "commit", "rolled_back": "roll back"}
"""What the line of the diff says that is for the transaction as a whole."""


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        **_options.repository_options(),
        "state": {"type": "str", "choices": list(STEPS), "required": True},
        "txn_id": {"type": "str"},
        "lease": {"type": "int", "default": DEFAULT_LEASE},
        "snapshot_message": {"type": "str", "default": ""},
        "user": {"type": "str", "default": ""},
        "lock_timeout": _options.LOCK_TIMEOUT,
        "paths_limit": _options.PATHS_LIMIT,
    }


REQUIRED_IF = [("state", state, ["txn_id"]) for state in ("prepared", "committed", "rolled_back")]


def request_of(params: dict[str, Any], *, check: bool) -> TransactionRequest:
    """Turn the module's options into the core's request."""
    return TransactionRequest(
        repository=params["repository"],
        backend=params["backend"],
        txn_id=params["txn_id"] or "",
        user=params["user"],
        message=params["snapshot_message"],
        lease=params["lease"],
        lock_timeout=params["lock_timeout"],
        check=check,
    )


def differences_of(state: str, result: TransactionResult) -> _report.Differences:
    """Collect what a step did, or in check mode would do."""
    found = _report.Differences()
    for done in result.recovered:
        found.add("recover", done)
    found.add_changes(result.changes)
    if result.changed and state in VERBS:
        unknown = "" if result.changes_known else "what it changes is not known in check mode"
        found.add(VERBS[state], f"transaction {result.txn_id}", unknown)
    return found


def paths_data(result: TransactionResult, limit: int) -> dict[str, Any]:
    """Return counts of what differs, and up to ``limit`` paths of each kind."""
    return {
        **_report.changes_data(result.changes, limit),
        "known": result.changes_known,
    }


def step(module: AnsibleModule) -> _shell.Result:
    """Take one step and shape its result."""
    limit = _options.limit_of(module.params)
    state = module.params["state"]
    result = STEPS[state](request_of(module.params, check=module.check_mode))
    differences = differences_of(state, result)
    header = f"transaction {result.txn_id} on repository {module.params['repository']}: {state}"
    return {
        "changed": differences.changed,
        "diff": differences.diff(header, limit),
        "txn_id": result.txn_id,
        "work_path": result.work_path,
        "operation": result.operation,
        "base_snapshot": result.base,
        "snapshot": result.snapshot,
        "manifest_digest": result.manifest_digest,
        "paths": paths_data(result, limit),
        "recovered": result.recovered,
        "pending_cleanup": result.pending_cleanup,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(), required_if=REQUIRED_IF, supports_check_mode=True
    )
    _shell.run_module(module, step)


if __name__ == "__main__":
    main()
