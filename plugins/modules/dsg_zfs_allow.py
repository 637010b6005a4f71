#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_zfs_allow``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_zfs_allow
short_description: Hold what somebody may do with a dataset of OpenZFS
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Grants and revokes permissions (C(zfs allow), C(zfs unallow)) of a user, a group or everyone on
    one dataset.
  - Only grants that were made on this very dataset are looked at. One that sits on a parent is
    left alone, although it counts here as well.
  - Create-time permissions and permission sets are neither made nor removed. A grant may name a set
    that exists, such as V(@operators).
extends_documentation_fragment:
  - dsg.storage.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  dataset:
    description:
      - The dataset that the grant is made on.
    type: str
    required: true
  user:
    description:
      - Name of the user. A number is taken for a user id, for instance of a user that is gone.
      - Exactly one of O(user), O(group) and O(everyone) is required.
    type: str
  group:
    description:
      - Name of the group. A number is taken for a group id.
    type: str
  everyone:
    description:
      - Whether everyone is meant.
    type: bool
    choices:
      - true
  permissions:
    description:
      - The permissions, as C(zfs allow) names them. The order does not count.
      - With O(state=exact), an empty list revokes everything.
    type: list
    elements: str
    required: true
  local_permissions:
    description:
      - Further permissions, which count for the dataset alone, whatever O(scope) says.
    type: list
    elements: str
    default: []
  scope:
    description:
      - Whether O(permissions) count for the dataset itself, for everything below it, or for V(both).
    type: str
    choices:
      - local
      - descendants
      - both
    default: both
  state:
    description:
      - V(present) grants what is not granted yet.
      - V(absent) revokes these permissions in this scope and leaves others.
      - V(exact) grants these and revokes every other one that the same user, group or everyone has
        on this dataset, in whichever scope.
    type: str
    choices:
      - present
      - absent
      - exact
    default: present
seealso:
  - module: dsg.storage.dsg_zfs_dataset
"""

EXAMPLES = r"""
---
- name: Let the service user do exactly what it needs
  dsg.storage.dsg_zfs_allow:
    dataset: tank/dsg
    user: dsg
    permissions:
      - clone
      - promote
      - rename
      - snapshot
    local_permissions:
      - create
    state: exact

- name: Let the backup operators send snapshots
  dsg.storage.dsg_zfs_allow:
    dataset: tank/dsg
    group: backup
    permissions:
      - send
      - hold

- name: Let nobody create datasets here who has no right of their own
  dsg.storage.dsg_zfs_allow:
    dataset: tank/dsg
    everyone: true
    permissions:
      - create
      - mount
    state: absent
"""

RETURN = r"""
permissions:
  description: >-
    What the user, the group or everyone has on this very dataset afterwards (in check mode, now).
  returned: success
  type: dict
  contains:
    local:
      description: Permissions on the dataset itself.
      type: list
      elements: str
    descendants:
      description: Permissions on what is below it.
      type: list
      elements: str
unknown_users:
  description: >-
    Ids of users that have grants on this very dataset and no name on this host, as C(zfs allow)
    shows them in C((unknown: 998)). Usually such a user was deleted, and keeps the grants.
  returned: success
  type: list
  elements: str
  sample:
    - "998"
commands:
  description: The commands that were started to change something (in check mode, would be).
  returned: success
  type: list
  elements: str
  sample:
    - zfs allow -d -u dsg clone,promote tank/dsg
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _provisioning, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.command import Runner
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.grant_state import (
    GrantRequest,
    describe,
    nameless,
    plan,
)


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "dataset": {"type": "str", "required": True},
        "user": {"type": "str"},
        "group": {"type": "str"},
        "everyone": {"type": "bool", "choices": [True]},
        "permissions": {"type": "list", "elements": "str", "required": True},
        "local_permissions": {"type": "list", "elements": "str", "default": []},
        "scope": {"type": "str", "choices": ["local", "descendants", "both"], "default": "both"},
        "state": {"type": "str", "choices": ["present", "absent", "exact"], "default": "present"},
    }


WHO = ["user", "group", "everyone"]


def run(module: AnsibleModule) -> _shell.Result:
    """Plan, carry out unless in check mode, and shape the result."""
    params = module.params
    kind = next(kind for kind in WHO if params[kind] is not None)
    request = GrantRequest(
        dataset=params["dataset"],
        kind=kind,
        name="" if kind == "everyone" else params[kind],
        permissions=params["permissions"],
        scope=params["scope"],
        state=params["state"],
        here=params["local_permissions"],
    )
    runner = Runner()
    result = _provisioning.hold(runner, lambda: plan(runner, request), check=module.check_mode)
    result["permissions"] = describe(runner, request)
    result["unknown_users"] = nameless(runner, request.dataset)
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[WHO],
        required_one_of=[WHO],
        supports_check_mode=True,
    )
    _shell.run_module(module, run)


if __name__ == "__main__":
    main()
