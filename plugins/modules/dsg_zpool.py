#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_zpool``: documentation, options and result; the work is in the core."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_zpool
short_description: Hold a pool of OpenZFS as declared, and never lose data for it
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Creates a pool from a declared layout, imports it where it is exported, sets its properties, and
    tells where its layout is not the declared one.
  - Never destroys a pool, never removes or replaces a disk, and never uses force.
  - A disk that carries anything (a partition table, a file system, a label of LVM, of a RAID or of
    another pool, or data of an unknown kind) or that is in use is refused with what was found on
    it, and nothing is changed. Old content is destroyed only on a disk that O(overwrite) names.
    Nothing destroys a disk that is in use, or that belongs to an imported pool.
  - Disks are the same when their paths lead to the same device, for instance
    C(/dev/disk/by-id/wwn-0x5000c500a1b2c3d4), C(/dev/sdb) and C(/dev/sdb1) where OpenZFS
    partitioned the whole disk.
extends_documentation_fragment:
  - dsg.storage.attributes
attributes:
  check_mode:
    support: full
    details:
      - Looks at the disks and tells which commands the run would start.
      - The properties of a pool that is exported cannot be read. Where the run imports a pool, the
        changes that it makes after that are not in the prediction.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the pool.
    type: str
    required: true
  state:
    description:
      - V(present) creates or imports the pool where it is absent, and holds what is declared.
      - V(exported) exports a pool that is imported. A pool that is not imported is left alone,
        whether it is exported or does not exist.
      - Nothing destroys a pool.
    type: str
    choices:
      - present
      - exported
    default: present
  vdevs:
    description:
      - The layout. The order of the list and of the disks does not count.
      - Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - How the disks are put together. V(stripe) makes every disk a vdev of its own, without
            redundancy.
          - Caches and spares are always a V(stripe), and logs are a V(stripe) or a V(mirror).
        type: str
        choices:
          - stripe
          - mirror
          - raidz1
          - raidz2
          - raidz3
        default: stripe
      role:
        description:
          - What the disks are for.
        type: str
        choices:
          - data
          - special
          - dedup
          - log
          - cache
          - spare
        default: data
      disks:
        description:
          - Paths of the disks, absolute ones and best stable ones (C(/dev/disk/by-id)). Partitions
            are possible, files are not.
        type: list
        elements: path
        required: true
  properties:
    description:
      - Properties of the pool, such as V(ashift), V(autotrim), V(autoexpand) and V(comment).
      - They are set at the creation, and later wherever they differ. V(ashift) only counts for
        disks that are added later.
      - YAML's booleans stand for V(on) and V(off).
    type: dict
    default: {}
  filesystem_properties:
    description:
      - Properties of the pool's root dataset.
      - They are set at the creation, and later wherever they differ, as
        M(dsg.storage.dsg_zfs_dataset) does it. One that only the creation can set, and that
        differs, is an error.
    type: dict
    default: {}
  overwrite:
    description:
      - Disks whose old content may be destroyed when they become a part of the pool, by any of
        their paths. Best taken out of the playbook again afterwards.
      - It counts for each named disk alone. A disk that is in the pool already is never touched.
    type: list
    elements: path
    default: []
  extend:
    description:
      - Whether declared vdevs that are not in the pool are added to it. Data vdevs cannot be taken
        out again of most pools, so it has to be said.
      - Only whole new vdevs are added. A disk more in a mirror is drift, as every difference in a
        vdev that exists.
    type: bool
    default: false
  mixed_redundancy:
    description:
      - Whether vdevs that hold data (V(data), V(special), V(dedup)) may differ in how many disks
        they can lose. The pool is lost with its weakest vdev, so it has to be said.
    type: bool
    default: false
  on_drift:
    description:
      - What to do where the layout of a pool that exists is not the declared one.
      - V(fail) fails before anything is changed, V(report) warns, lists it in RV(drift), and goes on
        with the rest.
    type: str
    choices:
      - fail
      - report
    default: fail
seealso:
  - module: dsg.storage.dsg_zfs_dataset
"""

EXAMPLES = r"""
---
- name: Have a pool of two mirrors, with a mirrored log, a cache and a spare
  dsg.storage.dsg_zpool:
    name: tank
    vdevs:
      - type: mirror
        disks:
          - /dev/disk/by-id/virtio-dsg-data1
          - /dev/disk/by-id/virtio-dsg-data2
      - type: mirror
        disks:
          - /dev/disk/by-id/virtio-dsg-data3
          - /dev/disk/by-id/virtio-dsg-data4
      - role: log
        type: mirror
        disks:
          - /dev/disk/by-id/virtio-dsg-data5
          - /dev/disk/by-id/virtio-dsg-data6
      - role: cache
        disks:
          - /dev/disk/by-id/virtio-dsg-data7
      - role: spare
        disks:
          - /dev/disk/by-id/virtio-dsg-data8
    properties:
      ashift: 12
      autotrim: true
    filesystem_properties:
      compression: lz4
      mountpoint: none

- name: Add the second raidz2, on disks of which one may be overwritten
  dsg.storage.dsg_zpool:
    name: archive
    vdevs:
      - type: raidz2
        disks: "{{ first_shelf }}"
      - type: raidz2
        disks: "{{ second_shelf }}"
    overwrite:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
    extend: true

- name: Export a pool before its disks are taken out
  dsg.storage.dsg_zpool:
    name: archive
    state: exported
"""

RETURN = r"""
guid:
  description: The pool's GUID, empty where it is not imported.
  returned: success
  type: str
  sample: "7382605750840296722"
vdevs:
  description: The layout that the pool has afterwards (in check mode, now), as in O(vdevs).
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: How the disks are put together.
      type: str
    role:
      description: What the disks are for.
      type: str
    disks:
      description: The disks, by the paths that the pool knows them by.
      type: list
      elements: str
drift:
  description: >-
    What is not as declared and was left so, one line for each finding. With O(on_drift=fail) it is
    in RV(error) instead.
  returned: success
  type: list
  elements: str
  sample:
    - "data mirror of /dev/sdb, /dev/sdc is declared and not in the pool (extend: true adds it)"
commands:
  description: The commands that were started to change something (in check mode, would be).
  returned: success
  type: list
  elements: str
  sample:
    - zpool create -o ashift=12 tank mirror /dev/sdb /dev/sdc
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _provisioning, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.command import Runner
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.pool_state import (
    PoolRequest,
    describe,
    exported,
    present,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.zfs.vdevs import ROLES, TYPES


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "exported"], "default": "present"},
        "vdevs": {
            "type": "list",
            "elements": "dict",
            "options": {
                "type": {"type": "str", "choices": list(TYPES), "default": "stripe"},
                "role": {"type": "str", "choices": list(ROLES), "default": "data"},
                "disks": {"type": "list", "elements": "path", "required": True},
            },
        },
        "properties": {"type": "dict", "default": {}},
        "filesystem_properties": {"type": "dict", "default": {}},
        "overwrite": {"type": "list", "elements": "path", "default": []},
        "extend": {"type": "bool", "default": False},
        "mixed_redundancy": {"type": "bool", "default": False},
        "on_drift": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    }


REQUIRED_IF = [("state", "present", ["vdevs"])]


def request_of(params: dict[str, Any]) -> PoolRequest:
    """Turn the module's options into the core's request."""
    return PoolRequest(
        name=params["name"],
        vdevs=[(vdev["role"], vdev["type"], vdev["disks"]) for vdev in params["vdevs"] or []],
        properties=params["properties"],
        filesystem_properties=params["filesystem_properties"],
        overwrite=params["overwrite"],
        extend=params["extend"],
        mixed_redundancy=params["mixed_redundancy"],
        tolerate_drift=params["on_drift"] == "report",
    )


def run(module: AnsibleModule) -> _shell.Result:
    """Plan, carry out unless in check mode, and shape the result."""
    request = request_of(module.params)
    runner = Runner()
    plan = present if module.params["state"] == "present" else exported
    result = _provisioning.hold(runner, lambda: plan(runner, request), check=module.check_mode)
    result.update(describe(runner, request))
    for line in result["drift"]:
        module.warn(_shell.in_utf8(f"pool {request.name}: {line}"))
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(), required_if=REQUIRED_IF, supports_check_mode=True
    )
    _shell.run_module(module, run)


if __name__ == "__main__":
    main()
