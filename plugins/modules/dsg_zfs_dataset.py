#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_zfs_dataset``: documentation, options, result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_zfs_dataset
short_description: Hold a dataset of OpenZFS and its properties as declared
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Creates a file system or a volume, sets properties and lets properties be inherited.
  - Values are compared by what they mean. V(1M) is V(1048576), and V(none) is V(0) where OpenZFS
    takes both for the same.
  - Never destroys recursively and never with force. A listing that fails is an error, not a dataset
    that is absent.
extends_documentation_fragment:
  - dsg.storage.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads everything and tells which commands the run would start.
      - What OpenZFS refuses only when it is asked (a value that it does not know, a busy file
        system) fails in the run alone.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The dataset.
      - A pool's root dataset is taken with O(state=present), to hold its properties.
    type: str
    required: true
  state:
    description:
      - V(present) creates the dataset where it is absent, and holds what is declared.
      - V(absent) destroys this one dataset with what is in it. It is refused for the root dataset
        of a pool, and where there are child datasets, snapshots or bookmarks; snapshots that others
        cloned are named with their clones.
    type: str
    choices:
      - present
      - absent
    default: present
  type:
    description:
      - What to create. A dataset that is of the other type is an error.
      - A V(volume) needs V(volsize) in O(properties).
    type: str
    choices:
      - filesystem
      - volume
    default: filesystem
  properties:
    description:
      - Properties and their values, user properties (with a V(:) in their name) as well.
      - They are set on this very dataset. A value that is only inherited, even if it is the wanted
        one, is set, so that no change further up can take it away. One that was received counts as
        set. A property that is not inheritable (V(quota), V(canmount), ...) is set only where its
        value differs.
      - YAML's booleans stand for V(on) and V(off).
      - Properties that only a creation can set (such as V(encryption), V(casesensitivity),
        V(utf8only), V(normalization) and V(volblocksize)) are compared with a dataset that exists,
        and a difference is an error. So is a V(volsize) that is smaller than the volume is.
    type: dict
    default: {}
  inherit:
    description:
      - Properties that are to be inherited. What is set locally or was received is taken back.
    type: list
    elements: str
    default: []
  create_parents:
    description:
      - Create parents that are absent, with nothing but inherited properties.
      - Without it, an absent parent is an error.
    type: bool
    default: false
seealso:
  - module: dsg.storage.dsg_zpool
  - module: dsg.storage.dsg_zfs_allow
"""

EXAMPLES = r"""
---
- name: Have a file system for what is published
  dsg.storage.dsg_zfs_dataset:
    name: tank/dsg
    properties:
      mountpoint: /srv/dsg
      readonly: true
      recordsize: 1M
      quota: 500G
      org.example:owner: storage team

- name: Let a property come from the parent again
  dsg.storage.dsg_zfs_dataset:
    name: tank/dsg/handbook
    inherit:
      - readonly

- name: Have a volume, with its parents
  dsg.storage.dsg_zfs_dataset:
    name: tank/machines/web/disk0
    type: volume
    properties:
      volsize: 20G
      volblocksize: 16K
    create_parents: true

- name: Destroy a dataset that has neither children nor snapshots
  dsg.storage.dsg_zfs_dataset:
    name: tank/scratch
    state: absent
"""

RETURN = r"""
properties:
  description: >-
    The declared and the inherited properties afterwards (in check mode, as they are now), by name.
  returned: success, where the dataset exists
  type: dict
  contains:
    value:
      description: The value as C(zfs get -p) prints it.
      type: str
    source:
      description: Where it comes from.
      type: str
      sample: local
  sample:
    recordsize:
      value: "1048576"
      source: local
commands:
  description: The commands that were started to change something (in check mode, would be).
  returned: success
  type: list
  elements: str
  sample:
    - zfs set recordsize=1M tank/dsg
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _provisioning, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.command import Runner
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.dataset_state import (
    DatasetRequest,
    absent,
    describe,
    present,
)


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "type": {"type": "str", "choices": ["filesystem", "volume"], "default": "filesystem"},
        "properties": {"type": "dict", "default": {}},
        "inherit": {"type": "list", "elements": "str", "default": []},
        "create_parents": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> _shell.Result:
    """Plan, carry out unless in check mode, and shape the result."""
    params = module.params
    request = DatasetRequest(
        name=params["name"],
        kind=params["type"],
        properties=params["properties"],
        inherit=params["inherit"],
        create_parents=params["create_parents"],
    )
    runner = Runner()
    plan = present if params["state"] == "present" else absent
    result = _provisioning.hold(runner, lambda: plan(runner, request), check=module.check_mode)
    result["properties"] = describe(runner, request)
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    _shell.run_module(module, run)


if __name__ == "__main__":
    main()
