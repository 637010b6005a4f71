#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_manifest``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_manifest
short_description: Write manifests of trees, and verify trees against them
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - A manifest lists what a tree holds, with a SHA-256 hash for every file.
  - With O(state=present) it is written, unless the file says the same already.
  - With O(state=verified) every file is hashed again, and each added, missing and changed path is
    reported. Verifies any tree against a manifest file, or a published tree and older snapshots
    against the manifests of their repository, and the chain of these manifests.
  - What cannot be read is reported like what differs, and the rest is verified all the same. A sync
    may publish meanwhile; what was published when the verification began is what it reads.
  - Besides its own form the module knows those of C(sha256sum), of BSD C(mtree) and of BagIt, so
    that others can verify with their own tools.
extends_documentation_fragment:
  - dsg.storage.attributes
  - dsg.storage.repository
  - dsg.storage.repository.paths_limit
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - One line for each path that the new manifest lists differently. Nothing for
        O(state=verified), which changes nothing.
  idempotent:
    support: full
options:
  repository:
    required: false
  backend:
    required: false
  state:
    description:
      - V(present) writes the manifest of O(path) to O(dest).
      - V(verified) compares O(path) with O(dest), or the trees of O(repository) with its manifests.
    type: str
    choices:
      - present
      - verified
    default: present
  path:
    description:
      - The tree, a directory. What is called C(.dsg) or C(.zfs) is never part of it, and neither
        is O(dest) where it lies in the tree.
      - Required unless O(repository) is given. With O(state=verified) and O(format=bagit) it may be
        left out to verify the bag itself.
    type: path
  dest:
    description:
      - The manifest file. With O(format=bagit) the directory of the bag.
      - Required unless O(repository) is given.
    type: path
  format:
    description:
      - The form of O(dest).
      - V(native) holds everything, one line of JSON for each entry.
      - V(sha256sum) is what C(sha256sum -c) reads, V(mtree) what BSD C(mtree) and C(bsdtar) read.
      - V(bagit) is a bag by RFC 8493. O(state=present) copies the files of the tree into it, and
        refuses an existing bag with other content, as bags are made to be kept.
      - V(sha256sum) and V(bagit) have no words for symbolic links and empty directories, see
        RV(unexpressed).
    type: str
    choices:
      - native
      - sha256sum
      - mtree
      - bagit
    default: native
  ignore:
    description:
      - Patterns of paths that are not part of the tree, as in C(.gitignore).
    type: list
    elements: str
    default: []
  user:
    description:
      - Who is recorded in a V(native) manifest. By default the user that runs the module.
    type: str
    default: ""
  snapshots:
    description:
      - Which snapshots of O(repository) to verify by their own trees, beside the published tree, which
        is verified in any case.
      - V(newest) adds none, V(all) every one that is kept, a number (V(3) or V(s3)) that one.
      - With the V(directory) backend a file that snapshots share is read once.
    type: list
    elements: str
    default:
      - newest
  fail_on_difference:
    description:
      - Whether O(state=verified) fails where tree and manifest differ. Otherwise RV(verified) tells.
    type: bool
    default: true
seealso:
  - module: dsg.storage.dsg_sync
"""

EXAMPLES = r"""
---
- name: Write a manifest of a tree
  dsg.storage.dsg_manifest:
    path: /srv/data
    dest: /srv/checks/data.jsonl

- name: Verify the tree against it
  dsg.storage.dsg_manifest:
    state: verified
    path: /srv/data
    dest: /srv/checks/data.jsonl

- name: Let anyone check the tree with sha256sum -c SHA256SUMS
  dsg.storage.dsg_manifest:
    path: /srv/data
    dest: /srv/data/SHA256SUMS
    format: sha256sum
    ignore:
      - "*.tmp"

- name: Verify what a repository has published
  dsg.storage.dsg_manifest:
    state: verified
    repository: handbook
    backend:
      base: /srv/dsg
    fail_on_difference: false
  register: handbook

- name: Verify the published tree and every snapshot that is kept
  dsg.storage.dsg_manifest:
    state: verified
    repository: handbook
    backend:
      base: /srv/dsg
    snapshots: all

- name: Make a bag for an archive
  dsg.storage.dsg_manifest:
    path: /srv/data
    dest: /srv/bags/data
    format: bagit
"""

RETURN = r"""
digest:
  description: SHA-256 that names the content of the tree (of the manifest, for O(repository)).
  returned: success, and failure for a difference, where O(path) or O(repository) is given
  type: str
files:
  description: Number of files in the tree.
  returned: success, and failure for a difference, where O(path) or O(repository) is given
  type: int
bytes:
  description: Size of all files in bytes.
  returned: success, and failure for a difference, where O(path) or O(repository) is given
  type: int
unexpressed:
  description: >-
    Paths that O(format) has no words for (symbolic links, empty directories), up to O(paths_limit).
    They are not in the manifest, and not verified against it.
  returned: success, unless O(repository) is given
  type: list
  elements: str
verified:
  description: Whether all trees, their manifests and the history agree.
  returned: O(state=verified)
  type: bool
sound:
  description: The same, by the name that monitoring looks for.
  returned: O(state=verified)
  type: bool
differences:
  description: How the tree (of O(repository), the published one) differs from the manifest.
  returned: O(state=verified)
  type: dict
  contains:
    counts:
      description: Number of paths that were added, are missing and changed.
      type: dict
      sample:
        added: 1
        missing: 0
        changed: 2
    added:
      description: Paths that only the tree has, up to O(paths_limit).
      type: list
      elements: str
    missing:
      description: Paths that only the manifest has, up to O(paths_limit).
      type: list
      elements: str
    changed:
      description: Paths that both have, but not the same, up to O(paths_limit).
      type: list
      elements: dict
      contains:
        path:
          description: The path.
          type: str
        fields:
          description: >-
            What differs, for instance V(sha256) or V(mode); with O(repository) as in RV(problems).
          type: list
          elements: str
    truncated:
      description: Whether a list holds fewer paths than its count says.
      type: bool
snapshot:
  description: Number of the snapshot that is published.
  returned: O(state=verified) and O(repository) is given
  type: int
trees:
  description: Every tree that was read.
  returned: O(state=verified) and O(repository) is given
  type: list
  elements: dict
  contains:
    snapshot:
      description: Its number.
      type: int
    live:
      description: Whether it is the published tree itself.
      type: bool
    sound:
      description: Whether it is what its manifest says.
      type: bool
    checked:
      description: Whether there was a manifest, or a history in its place, to compare it with.
      type: bool
    gone:
      description: >-
        Whether the snapshot was removed meanwhile, which is no problem; of the published tree, whether
        another one took its place and it was removed then.
      type: bool
    problems:
      description: How many problems it has.
      type: int
    files:
      description: Number of files by its manifest.
      type: int
    bytes:
      description: Size of all files in bytes by its manifest.
      type: int
    read_bytes:
      description: How much had to be read, as files that snapshots share are read once.
      type: int
problem_counts:
  description: Number of problems of each kind in RV(problems) that occurs.
  returned: O(state=verified) and O(repository) is given
  type: dict
  sample:
    content: 1
    missing: 2
problems:
  description: Every problem, up to O(paths_limit).
  returned: O(state=verified) and O(repository) is given
  type: list
  elements: dict
  contains:
    snapshot:
      description: Number of the snapshot that it is about.
      type: int
    live:
      description: Whether it is about the published tree or its records, not about an older tree.
      type: bool
    path:
      description: The path in the tree, below C(.dsg) for manifest and history.
      type: str
    what:
      description: >-
        V(missing), V(added), V(content), V(mode), V(type) (another kind of file), V(target) (of a link),
        V(time) (of modification), V(unreadable), V(manifest), V(history) or V(snapshot) (the newest one is not
        there).
      type: str
    detail:
      description: One more line where there is something to say.
      type: str
problems_truncated:
  description: Whether RV(problems) holds fewer than there are.
  returned: O(state=verified) and O(repository) is given
  type: bool
chain_problems:
  description: What is wrong with manifests and history, one line for each, also in RV(problems).
  returned: O(state=verified) and O(repository) is given
  type: list
  elements: str
summary:
  description: The same in words, as one row of a table.
  returned: O(state=verified) and O(repository) is given
  type: dict
  contains:
    repository:
      description: Name of the repository.
      type: str
    snapshot:
      description: The snapshot that is published.
      type: str
    also:
      description: Snapshots that were verified beside it.
      type: str
    files:
      description: Number of files in all these trees.
      type: str
    sound:
      description: V(yes) or V(NO).
      type: str
    problems:
      description: How many problems of each kind there are.
      type: str
    problem:
      description: Code of the error that kept the module from looking.
      type: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import (
    _manifest_file,
    _options,
    _shell,
    _verification,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.backends.registry import (
    open_repository,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ArgumentError,
    DsgError,
    from_oserror,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.digest import tree_digest
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.entry import Entry
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.foreign import (
    FORMATS,
    compare,
    unexpressed,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.foreign.bag_read import (
    verify_bag,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.upkeep.verify import verify
from ansible_collections.dsg.storage.plugins.module_utils._verification import (
    Findings,
    Found,
    RepositoryFindings,
)


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
        "path": {"type": "path"},
        "dest": {"type": "path"},
        "format": {"type": "str", "choices": list(FORMATS), "default": "native"},
        **_options.repository_options(required=False),
        "ignore": {"type": "list", "elements": "str", "default": []},
        "user": {"type": "str", "default": ""},
        "snapshots": {"type": "list", "elements": "str", "default": ["newest"]},
        "fail_on_difference": {"type": "bool", "default": True},
        "paths_limit": _options.PATHS_LIMIT,
    }


def tree_facts(entries: list[Entry], module: AnsibleModule) -> _shell.Result:
    """Return the figures of a scanned tree."""
    left_out = unexpressed(module.params["format"], entries)
    return {
        "digest": tree_digest(entries),
        "files": sum(entry.kind == "file" for entry in entries),
        "bytes": sum(entry.size for entry in entries),
        "unexpressed": left_out[: _options.limit_of(module.params)],
    }


def scanned(module: AnsibleModule) -> list[Entry]:
    """Return the entries of the module's tree."""
    params = module.params
    return _manifest_file.scan(params["path"], params["ignore"], params["dest"])


def present(module: AnsibleModule) -> _shell.Result:
    """Write the manifest unless it says the same already."""
    params = module.params
    entries = scanned(module)
    target = _manifest_file.Target(params["dest"], params["format"], params["user"])
    differences = target.differences(entries)
    if differences.changed and not module.check_mode:
        target.write(params["path"], entries, module.atomic_move)
    header = f"{params['format']} manifest {params['dest']} of {params['path']}"
    return {
        "changed": differences.changed,
        "diff": differences.diff(header, _options.limit_of(params)),
        **tree_facts(entries, module),
    }


def verified(module: AnsibleModule) -> _shell.Result:
    """Compare and report; fails where that is asked for."""
    params = module.params
    findings: Found
    facts: _shell.Result
    if params["repository"]:
        findings, facts = repository_findings(params), {}
    elif params["path"]:
        entries = scanned(module)
        said = _manifest_file.read(params["dest"], params["format"])
        findings = Findings.of(compare(said, entries))
        facts = tree_facts(entries, module)
    else:
        findings, facts = bag_findings(params["dest"])
    result = {"changed": False, **facts, **findings.data(_options.limit_of(params))}
    if not findings.sound and params["fail_on_difference"]:
        subject = params["repository"] or params["path"] or params["dest"]
        raise _verification.VerificationError.of(findings, subject, result)
    return result


def repository_findings(params: dict[str, Any]) -> RepositoryFindings:
    """Verify a published tree and the chosen snapshots."""
    repository = open_repository(params["backend"], params["repository"])
    try:
        found = verify(repository, snapshots=params["snapshots"])
    except OSError as exc:
        raise from_oserror(exc, "verifying") from exc
    return RepositoryFindings(found, params["repository"])


def bag_findings(dest: str) -> tuple[Findings, _shell.Result]:
    """Verify a bag against itself."""
    found = verify_bag(dest)
    findings = Findings.of(found.payload, found.tags)
    return findings, {"unexpressed": []}


def run(module: AnsibleModule) -> _shell.Result:
    """Check the options and do what is asked for."""
    check_options(module.params)
    return present(module) if module.params["state"] == "present" else verified(module)


def results_of(module: AnsibleModule, error: DsgError) -> _shell.Result:
    """Add what was found to a failure for differences, and a row for the table to any other one."""
    if isinstance(error, _verification.VerificationError):
        return error.result
    repository = module.params["repository"]
    return {"summary": {"repository": repository, "problem": error.code}} if repository else {}


def check_options(params: dict[str, Any]) -> None:
    """Refuse combinations that an argument spec cannot tell."""
    if params["repository"]:
        if params["state"] == "present":
            raise ArgumentError("repository goes with state=verified only")
        return
    may_lack_path = params["state"] == "verified" and params["format"] == "bagit"
    missing = [name for name in ("path", "dest") if not params[name]]
    if missing == ["path"] and may_lack_path:
        return
    if missing:
        raise ArgumentError(f"without repository, {' and '.join(missing)} must be given")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_together=[("repository", "backend")],
        mutually_exclusive=[("repository", "path"), ("repository", "dest")],
        supports_check_mode=True,
    )
    _shell.run_module(module, run, results_of)


if __name__ == "__main__":
    main()
