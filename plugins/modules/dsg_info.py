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
  - Reads what is published, by whom and when, whether a working copy is in step with it, and what
    an interrupted run left unfinished.
  - Changes nothing anywhere.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.attributes.info_module
  - dsg.storage.attributes.actiongroup_dsg
  - dsg.storage.attributes.platform_linux
  - dsg.storage.repository
  - dsg.storage.repository.comparison
  - dsg.storage.repository.storage_host
options:
  src:
    description:
      - The working copy to compare with the repository.
      - Without it only the repository is looked at.
    type: path
  repository:
    required: true
  backend:
    required: true
seealso:
  - module: dsg.storage.dsg_sync
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

- name: Show it in one line
  ansible.builtin.debug:
    var: handbook.summary.differences
"""

RETURN = r"""
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
  description: Whether working copy and repository hold the same and nothing is unfinished.
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
unfinished:
  description: What an interrupted run left, one line for each finding.
  returned: success
  type: list
  elements: str
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
      description: How many paths differ, by action.
      type: str
      sample: 2 upload, 1 conflict
    unfinished:
      description: How many findings of an interrupted run there are.
      type: str
    problem:
      description: Code of the error that kept the module from looking, or empty.
      type: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import _report, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import DsgError
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.policy import Policy
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.request import SyncRequest
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.status import Status, inspect


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "src": {"type": "path"},
        "repository": {"type": "str", "required": True},
        "backend": _shell.backend_option(required=True),
        **_shell.comparison_options(),
        **_shell.storage_host_options(),
    }


def request_of(params: dict[str, Any]) -> SyncRequest:
    """Turn the module's options into the core's request."""
    return SyncRequest(
        src=params["src"] or "",
        repository=params["repository"],
        backend=params["backend"],
        policy=Policy(
            direction=params["direction"],
            conflict=params["conflict"],
            conflict_paths=params["conflict_paths"],
            names=params["names"],
        ),
        ignore=params["ignore"],
        checksum=params["checksum"],
        check=True,
        user=params["user"],
        lock_timeout=params["lock_timeout"],
        destination=_shell.destination_of(params),
    )


def look(module: _shell.Invocation) -> _shell.Result:
    """Inspect repository and working copy, and shape the result."""
    limit = _shell.limit_of(module.params)
    status = inspect(request_of(module.params))
    result = {
        "changed": False,
        "repository_exists": status.repository_exists,
        "snapshot": status.snapshot,
        "snapshots": status.snapshots,
        "created_at": status.created_at,
        "created_by": status.created_by,
        "message": status.message,
        "manifest_digest": status.digest,
        "files": status.files,
        "bytes": status.bytes,
        "unfinished": status.unfinished,
        "summary": summary(status, module.params),
    }
    if module.params["src"]:
        result["last_sync"] = status.last_sync
        result["in_sync"] = status.in_sync
        result["plan"] = _report.plan_data(status.plan, limit)
        result["conflicts"] = _report.conflicts_data(status.plan, limit)
    return result


def summary(status: Status, params: dict[str, Any]) -> dict[str, str]:
    """Return the status in words."""
    compared = bool(params["src"])
    return {
        "repository": params["repository"],
        "snapshot": _report.summarise_snapshot(status.snapshot),
        "published": status.created_at,
        "by": status.created_by,
        "in_sync": ("yes" if status.in_sync else "no") if compared else "",
        "differences": _report.summarise_counts(status.plan.counts()) if compared else "",
        "unfinished": str(len(status.unfinished)) if status.unfinished else "no",
        "problem": "",
    }


def problem(module: _shell.Invocation, error: DsgError) -> _shell.Result:
    """Return a row for the table that names the error."""
    return {"summary": {"repository": module.params["repository"], "problem": error.code}}


COMMAND = _shell.Command(argument_spec(), {}, look, problem)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
