#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_history``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_history
short_description: Tell who published what and when, and who changed a path
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Every published tree carries the history of its manifests, from the first publication on, also of
    snapshots that are not kept any more. This module reads it, on the host of the repository.
  - With O(query=log) it lists publications, with O(query=blame) for each path its last change, and
    with O(query=versions) every version of one path and the snapshots to restore it from.
  - The history is a chain, each step of which names the one before. A step that is missing or damaged
    is an error that names it; the answer is never silently shorter.
  - Changes nothing anywhere.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.attributes.info_module
  - dsg.storage.repository
options:
  query:
    description:
      - What to tell.
    type: str
    choices:
      - log
      - blame
      - versions
    default: log
  path:
    description:
      - The one path that O(query=versions) is about, relative to the tree. It goes with that query alone.
    type: str
  paths:
    description:
      - Paths that the log or the blame is about, each as a line of C(.gitignore) would name it. V(docs)
        or V(docs/) is a directory of that name anywhere with all below it, V(/docs) the one at the top,
        V(*.md) every such name, V(docs/**/*.md) those below V(docs). Without any, all paths are.
      - For O(query=log) the publications that changed at least one of them are listed. It does not go with
        O(query=versions).
    type: list
    elements: str
    default: []
  since:
    description:
      - The first snapshot to tell of (V(12) or V(s12)), or the time in UTC from which on
        (V(2026-11-20) or V(2026-11-20T22:41:00Z)). A number is always a snapshot, and refused where the
        repository has not come that far, so that neither V(2026) nor V(20261120) is taken for a time.
      - For O(query=blame) this and O(until) ask when the path was changed last, for O(query=versions) when
        the version was published.
      - Times are those of the clock of who published.
    type: str
    default: ""
  until:
    description:
      - The last snapshot to tell of, or the time in UTC up to which, as for O(since). A day is
        included as a whole.
      - In a playbook C(ansible-lint) takes a template under the name C(until) for the keyword of tasks; the
        alias has no such namesake.
    type: str
    aliases:
      - up_to
    default: ""
  author:
    description:
      - Who published (O(query=log)), or who changed the path (O(query=blame), O(query=versions)), as a
        pattern with C(*), C(?) and C([...]). It may match C(user@host) or the user alone.
      - Where somebody changed a path and another one published that, which a restore or new names do, the
        host of the first is not recorded, and only the user is compared.
    type: str
    default: ""
  limit:
    description:
      - How many publications, paths or versions to tell of, 0 for all. The newest publications and versions
        are told first, paths in their order.
    type: int
    default: 100
  with_paths:
    description:
      - For O(query=log), whether to list the paths that each publication changed. It goes with that query
        alone.
    type: bool
    default: false
  deleted:
    description:
      - For O(query=blame), whether paths that are not published any more are told of as well. It goes with
        that query alone.
    type: bool
    default: false
  paths_limit:
    description:
      - How many paths a publication may list with O(with_paths). Counts are always complete.
    type: int
    default: 1000
seealso:
  - module: dsg.storage.dsg_info
  - module: dsg.storage.dsg_sync
"""

EXAMPLES = r"""
---
- name: Look at the last publications
  dsg.storage.dsg_history:
    repository: handbook
    backend:
      base: /srv/dsg
    limit: 10
  register: handbook

- name: Show them
  ansible.builtin.debug:
    msg: "{{ handbook.table | dsg.storage.table({'snapshot': 'SNAPSHOT', 'by': 'BY', 'message': 'MESSAGE'}) }}"

- name: Find what alice changed in the chapters since November
  dsg.storage.dsg_history:
    repository: handbook
    backend:
      base: /srv/dsg
    author: alice
    since: "2026-11-01"
    paths:
      - chapters/
    with_paths: true

- name: Ask who changed every page last, pages that are gone included
  dsg.storage.dsg_history:
    repository: handbook
    backend:
      type: zfs
      dataset: tank/dsg
    query: blame
    paths:
      - "*.md"
    deleted: true

- name: List all versions of one page
  dsg.storage.dsg_history:
    repository: handbook
    backend:
      base: /srv/dsg
    query: versions
    path: chapters/backup.md
"""

RETURN = r"""
snapshot:
  description: Number of the newest snapshot.
  returned: success
  type: int
log:
  description: The publications, the newest first.
  returned: success and O(query=log)
  type: list
  elements: dict
  contains:
    snapshot:
      description: Number of the snapshot.
      type: int
    created_at:
      description: When it was published, in UTC.
      type: str
    created_by:
      description: Who published it, and on which host.
      type: str
    message:
      description: The message.
      type: str
    txn:
      description: Id of the transaction.
      type: str
    manifest_digest:
      description: SHA-256 that names the content of the tree.
      type: str
    kept:
      description: Whether the snapshot's tree is there to be read and restored.
      type: bool
    files:
      description: Number of files in the tree.
      type: int
    bytes:
      description: Size of all files in bytes.
      type: int
    added:
      description: Number of paths that were new.
      type: int
    changed:
      description: Number of paths that changed.
      type: int
    deleted:
      description: Number of paths that were deleted.
      type: int
    written_bytes:
      description: Size of the files that were new or changed, in bytes.
      type: int
    paths:
      description: What it changed among O(paths), up to O(paths_limit); with O(with_paths).
      type: list
      elements: dict
      contains:
        path:
          description: The path.
          type: str
        change:
          description: V(added), V(changed) or V(deleted).
          type: str
        size:
          description: Size of the file in bytes.
          type: int
        user:
          description: Who changed it.
          type: str
    paths_truncated:
      description: Whether C(paths) holds fewer than there are; with O(with_paths).
      type: bool
blame:
  description: For each path its last change, in the order of the paths.
  returned: success and O(query=blame)
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    change:
      description: V(added), V(changed) or V(deleted).
      type: str
    snapshot:
      description: The snapshot that published the change.
      type: int
    created_at:
      description: When it was published, in UTC.
      type: str
    user:
      description: Who changed it.
      type: str
    created_by:
      description: Who published it, and on which host.
      type: str
    message:
      description: The message of the snapshot.
      type: str
    size:
      description: Size of the file in bytes.
      type: int
total:
  description: Number of paths found, beyond O(limit) as well.
  returned: success and O(query=blame)
  type: int
versions:
  description: Every version of the path, the newest first.
  returned: success and O(query=versions)
  type: list
  elements: dict
  contains:
    snapshot:
      description: The snapshot that published it.
      type: int
    until:
      description: The last snapshot that had it.
      type: int
    created_at:
      description: When it was published, in UTC.
      type: str
    created_by:
      description: Who published it, and on which host.
      type: str
    message:
      description: The message of the snapshot.
      type: str
    user:
      description: Who changed it.
      type: str
    change:
      description: V(added), V(changed) or V(deleted).
      type: str
    type:
      description: V(file), V(symlink) or V(directory) (an empty one). Empty for a deletion.
      type: str
    size:
      description: Size of the file in bytes.
      type: int
    sha256:
      description: SHA-256 of the file.
      type: str
    mode:
      description: Permissions of the file, octal.
      type: str
    target:
      description: Text of the link.
      type: str
    kept:
      description: Whether the tree of this very snapshot is there.
      type: bool
    restorable_from:
      description: The newest snapshot that has this version and is there, 0 where none is.
      type: int
truncated:
  description: Whether there is more than O(limit) allows.
  returned: success
  type: bool
table:
  description: >-
    The same in words, as rows for the filter P(dsg.storage.table#filter); the last one says so where
    O(limit) left something out.
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import (
    _history_rows,
    _options,
    _shell,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.backends.registry import (
    open_repository,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ArgumentError,
    from_oserror,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.blame import (
    blame,
    versions,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.log import log


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        **_options.repository_options(),
        "query": {"type": "str", "choices": ["log", "blame", "versions"], "default": "log"},
        "path": {"type": "str"},
        "paths": {"type": "list", "elements": "str", "default": []},
        "since": {"type": "str", "default": ""},
        "until": {"type": "str", "default": "", "aliases": ["up_to"]},
        "author": {"type": "str", "default": ""},
        "limit": {"type": "int", "default": 100},
        "with_paths": {"type": "bool", "default": False},
        "deleted": {"type": "bool", "default": False},
        "paths_limit": _options.PATHS_LIMIT,
    }


ONLY = {
    "path": ("versions",),
    "paths": ("log", "blame"),
    "with_paths": ("log",),
    "deleted": ("blame",),
}
"""Options that do not go with every query."""


def check(params: dict[str, Any]) -> None:
    """Refuse options that would have no effect."""
    if params["limit"] < 0:
        raise ArgumentError("limit must not be negative")
    for option, queries in ONLY.items():
        if params[option] and params["query"] not in queries:
            raise ArgumentError(
                f"{option} does not go with query={params['query']}",
                next_step=f"Leave it out (dsg_{option} in the playbook log), or ask with "
                f"query={' or query='.join(queries)}.",
            )


def look(module: _shell.Invocation) -> _shell.Result:
    """Read the history and shape the result."""
    params = module.params
    check(params)
    try:
        answer = ANSWERS[params["query"]](params)
    except OSError as exc:
        raise from_oserror(exc, "reading the history") from exc
    answer["table"] += _history_rows.left_out(
        params["repository"], params["limit"], answer["truncated"]
    )
    return {"changed": False, **answer}


def logged(params: dict[str, Any]) -> _shell.Result:
    """Return the publications."""
    found = log(
        open_repository(params["backend"], params["repository"]),
        since=params["since"],
        until=params["until"],
        author=params["author"],
        paths=params["paths"],
        limit=params["limit"],
        with_paths=params["with_paths"],
    )
    steps = found["steps"]
    table = _history_rows.log_rows(params["repository"], steps, _options.limit_of(params))
    if params["with_paths"]:
        for step in steps:
            step["paths_truncated"] = len(step["paths"]) > _options.limit_of(params)
            step["paths"] = step["paths"][: _options.limit_of(params)]
    return {
        "snapshot": found["snapshot"],
        "log": steps,
        "truncated": found["truncated"],
        "table": table,
    }


def blamed(params: dict[str, Any]) -> _shell.Result:
    """Return the last change of each path."""
    found = blame(
        open_repository(params["backend"], params["repository"]),
        paths=params["paths"],
        deleted=params["deleted"],
        since=params["since"],
        until=params["until"],
        author=params["author"],
        limit=params["limit"],
    )
    return {
        "snapshot": found["snapshot"],
        "blame": found["paths"],
        "total": found["total"],
        "truncated": found["total"] > len(found["paths"]),
        "table": _history_rows.blame_rows(params["repository"], found["paths"]),
    }


def all_versions(params: dict[str, Any]) -> _shell.Result:
    """Return every version of one path."""
    found = versions(
        open_repository(params["backend"], params["repository"]),
        path=params["path"],
        since=params["since"],
        until=params["until"],
        author=params["author"],
    )
    limit = params["limit"] or len(found["versions"])
    shown = found["versions"][:limit]
    return {
        "snapshot": found["snapshot"],
        "versions": shown,
        "truncated": len(shown) < len(found["versions"]),
        "table": _history_rows.version_rows(params["repository"], params["path"], shown),
    }


ANSWERS = {"log": logged, "blame": blamed, "versions": all_versions}
COMMAND = _shell.Command(argument_spec(), {"required_if": [("query", "versions", ["path"])]}, look)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
