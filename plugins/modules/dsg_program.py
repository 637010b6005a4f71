#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg_program``: documentation, options and result; the archive is built in _program."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_program
short_description: Install the program that recovers and mounts on a storage host
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Installs C(dsg-storage), one file that holds this collection's core and needs nothing but Python.
  - C(dsg-storage recover) finishes or undoes what a crash left in repositories on OpenZFS. It is meant
    for a unit that runs at boot, and for administrators.
  - C(dsg-storage helper) does, for a service user, what only root may do on Linux. It is meant to be
    started by a rule of sudo. It does what F(/etc/dsg/helper.json) allows, and nothing else.
  - The file belongs to root, and nobody else can write it.
extends_documentation_fragment:
  - dsg.storage.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the SHA-256 of the program, and its owner and permissions.
  idempotent:
    support: full
options:
  path:
    description:
      - Where the program is, an absolute path.
      - Its directory has to belong to root, and is made if it is missing.
    type: path
    default: /usr/local/libexec/dsg-storage
  state:
    description:
      - V(present) installs the program or brings it up to date, V(absent) removes it.
    type: str
    choices:
      - present
      - absent
    default: present
  interpreter:
    description:
      - The Python that runs it, 3.9 or newer, an absolute path.
    type: path
    default: /usr/bin/python3
seealso:
  - name: Role dsg.storage.repository
    description: Installs the program and a unit that recovers at boot.
    link: https://docs.ansible.com/ansible/latest/collections/dsg/storage/repository_role.html
  - name: Role dsg.storage.delegation
    description: Installs the program for a service user.
    link: https://docs.ansible.com/ansible/latest/collections/dsg/storage/delegation_role.html
"""

EXAMPLES = r"""
---
- name: Install the program
  dsg.storage.dsg_program:
    path: /usr/local/libexec/dsg-storage
  become: true

- name: Remove it
  dsg.storage.dsg_program:
    path: /usr/local/libexec/dsg-storage
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: Where the program is.
  returned: success
  type: str
sha256:
  description: SHA-256 of the program as it is to be, empty with O(state=absent).
  returned: success
  type: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

import hashlib
import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dsg.storage.plugins.module_utils import _program, _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ArgumentError,
    from_oserror,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.posix.durable import replace

_MODE = 0o755


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "path": {"type": "path", "default": "/usr/local/libexec/dsg-storage"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "interpreter": {"type": "path", "default": "/usr/bin/python3"},
    }


def describe(path: str) -> dict[str, Any]:
    """Return what is at the path, as it is compared and shown; empty where nothing is.

    Raises :class:`ArgumentError` for what no program of ours can have been.
    """
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return {}
    if not stat.S_ISREG(seen.st_mode):
        raise ArgumentError("this is not a plain file", object=path)
    with open(path, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    mode = f"{stat.S_IMODE(seen.st_mode):04o}"
    return {"sha256": digest, "owner": seen.st_uid, "group": seen.st_gid, "mode": mode}


def check(params: dict[str, Any]) -> None:
    """Refuse what would run with root's rights and could be replaced by somebody else."""
    for option in ("path", "interpreter"):
        if not os.path.isabs(params[option]) or any(c.isspace() for c in params[option]):
            raise ArgumentError(f"{option} has to be an absolute path without spaces")
    directory = os.path.dirname(params["path"])
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    seen = os.lstat(directory)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != 0 or seen.st_mode & 0o022:
        raise ArgumentError(
            "its directory has to be one that only root can write", object=params["path"]
        )


def ensure(module: AnsibleModule) -> _shell.Result:
    """Install or remove the program."""
    params = module.params
    check(params)
    path, wanted = params["path"], {}
    program = b""
    if params["state"] == "present":
        program = _program.build(params["interpreter"])
        digest = hashlib.sha256(program).hexdigest()
        wanted = {"sha256": digest, "owner": 0, "group": 0, "mode": f"{_MODE:04o}"}
    try:
        found = describe(path)
        if found != wanted and not module.check_mode:
            change(path, program)
    except OSError as exc:
        raise from_oserror(exc, "installing the program") from exc
    return {
        "changed": found != wanted,
        "path": path,
        "sha256": wanted.get("sha256", ""),
        "diff": {"before": found, "after": wanted, "before_header": path, "after_header": path},
    }


def change(path: str, program: bytes) -> None:
    """Write the program durably, or remove it where there is none to be."""
    if not program:
        os.unlink(path)
        return
    _make_directories(os.path.dirname(path))
    replace(path, [program], mode=_MODE)
    os.chmod(path, _MODE)
    os.chown(path, 0, 0)


def _make_directories(path: str) -> None:
    """Make what is missing of a directory; service users run what is in it, whatever root's umask is."""
    if not os.path.isdir(path):
        _make_directories(os.path.dirname(path))
        os.mkdir(path, _MODE)
        os.chmod(path, _MODE)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    _shell.run_module(module, ensure)


if __name__ == "__main__":
    main()
