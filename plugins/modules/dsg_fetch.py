#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_fetch``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_fetch
short_description: Bring paths of a snapshot to a directory
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Copies files, directories or everything of any kept snapshot from the storage host to the host where
    working copies are, the control node or the one that C(delegate_to) names. No working copy is needed.
  - Every file is hashed as it lands, and compared with the snapshot's manifest, which is proved by the
    history of the newest one. Permissions and times are those of the snapshot.
  - All of it appears at O(dest) in one step, or nothing does.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.repository
  - dsg.storage.repository.storage_host
  - dsg.storage.repository.lock_timeout
  - dsg.storage.repository.paths_limit
  - dsg.storage.repository.progress
  - dsg.storage.repository.snapshot_paths
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - Where O(dest) holds just what is asked for, hashed anew, nothing is fetched.
options:
  snapshot:
    description:
      - Number of the snapshot. By default the newest one.
    type: int
  dest:
    description:
      - A directory that does not exist yet, or is empty. The directory that it is in has to exist.
      - O(paths) stay as they are below it.
    type: path
    required: true
  force:
    description:
      - Whether a directory that holds something else is moved aside, see RV(backup). Nothing is ever
        removed.
    type: bool
    default: false
seealso:
  - module: dsg.storage.dsg_snapshot
"""

EXAMPLES = r"""
---
- name: Bring one chapter as it was in the third snapshot
  dsg.storage.dsg_fetch:
    repository: handbook
    backend:
      base: /srv/dsg
    snapshot: 3
    paths:
      - chapters/backup.md
    dest: /home/alice/old-chapter

- name: Bring everything that is published now
  dsg.storage.dsg_fetch:
    repository: handbook
    backend:
      type: zfs
      dataset: tank/dsg
    dest: /home/alice/handbook-copy
  become: true
"""

RETURN = r"""
snapshot:
  description: Number of the snapshot.
  returned: success
  type: int
  sample: 3
dest:
  description: The directory.
  returned: success
  type: str
files:
  description: Number of files that were (or are already) brought.
  returned: success
  type: int
bytes:
  description: Their size in bytes.
  returned: success
  type: int
paths:
  description: What was brought, up to O(paths_limit).
  returned: success
  type: list
  elements: str
backup:
  description: Where a directory is now that was in the way, empty where there was none.
  returned: success
  type: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import _options, _report, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.fetch import (
    FetchRequest,
    FetchResult,
    fetch,
)


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        **_options.repository_options(),
        "snapshot": {"type": "int"},
        "paths": _options.SNAPSHOT_PATHS,
        "dest": {"type": "path", "required": True},
        "force": {"type": "bool", "default": False},
        "lock_timeout": _options.LOCK_TIMEOUT,
        "progress": _options.PROGRESS,
        "paths_limit": _options.PATHS_LIMIT,
        **_options.storage_host_options(),
    }


def request_of(module: _shell.Invocation) -> FetchRequest:
    """Turn the module's options into the core's request."""
    params = module.params
    return FetchRequest(
        repository=params["repository"],
        backend=params["backend"],
        dest=params["dest"],
        snapshot=params["snapshot"] or 0,
        paths=params["paths"],
        force=params["force"],
        lock_timeout=params["lock_timeout"],
        destination=_options.destination_of(params),
        check=module.check_mode,
    )


def bring(module: _shell.Invocation) -> _shell.Result:
    """Fetch, and shape the result."""
    limit = _options.limit_of(module.params)
    result = fetch(request_of(module))
    files = [entry for entry in result.entries if entry.kind == "file"]
    dest = module.params["dest"]
    return {
        "changed": result.changed,
        "diff": differences_of(result).diff(f"s{result.snapshot} at {dest}", limit),
        "snapshot": result.snapshot,
        "dest": dest,
        "files": len(files),
        "bytes": sum(entry.size for entry in files),
        "paths": [entry.path for entry in result.entries[:limit]],
        "backup": result.backup,
    }


def differences_of(result: FetchResult) -> _report.Differences:
    """Collect what was fetched, or in check mode would be."""
    found = _report.Differences()
    if result.changed:
        for entry in result.entries:
            found.add("fetch", _report.shown_path(entry.path), _report.describe_entry(entry))
    return found


COMMAND = _shell.Command(argument_spec(), {}, bring)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
