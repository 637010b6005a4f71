# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``dsg.storage.repository`` and ``dsg.storage.repository.<name>``.

    ``module_utils/_options.py`` has the argument spec of each under the same name.
    """

    DOCUMENTATION = r"""
options:
  repository:
    description:
      - Name of the repository, the published tree.
      - It is published at C(base/repository) with the V(directory) backend, and as the dataset
        C(dataset/repository) with the V(zfs) backend.
    type: str
    required: true
  backend:
    description:
      - How the repository is held.
      - What it needs must have been provisioned, see the role P(dsg.storage.repository#role).
    type: dict
    required: true
    suboptions:
      type:
        description:
          - The V(directory) backend holds the published tree in a directory of any POSIX file
            system, and every older snapshot beside it with hard links to unchanged files.
          - The V(zfs) backend holds the published tree in a dataset of OpenZFS, and every older
            snapshot as a snapshot of that dataset.
        type: str
        choices:
          - directory
          - zfs
        default: directory
      base:
        description:
          - Directory that holds the published trees, and the work area C(.dsg).
          - An absolute path on the host that runs the module.
          - For the V(directory) backend, which requires it; not with O(backend.dataset).
        type: path
      dataset:
        description:
          - The publish parent, a dataset below a pool's root (V(tank/dsg)). The repositories are
            its children, and C(.dsg) is its work container.
          - For the V(zfs) backend, which requires it; not with O(backend.base).
        type: str
"""

    COMPARISON = r"""
options:
  direction:
    description:
      - Which way changes travel.
      - With V(push) nothing is changed in the working copy, with V(pull) nothing in the repository.
        What the direction holds back is listed as C(held) and seen again by the next run.
    type: str
    choices:
      - both
      - push
      - pull
    default: both
  conflict:
    description:
      - What to do with paths that changed on both sides since the last sync.
      - V(fail) stops before anything is changed, and lists every conflict with both sides.
      - V(local) lets the working copy win, the other version stays in the older snapshot.
      - V(remote) lets the repository win, the local version is kept as a backup below C(.dsg).
    type: str
    choices:
      - fail
      - local
      - remote
    default: fail
  conflict_paths:
    description:
      - Decisions for single paths, or for everything below a directory. They come before
        O(conflict).
      - Keys are paths relative to the tree, values are V(fail), V(local) or V(remote).
    type: dict
    default: {}
  names:
    description:
      - Which names the tree may have.
      - V(any) allows whatever keeps the path rules (UTF-8 in NFC, no control characters, none that
        differ only in case).
      - V(portable) also refuses names that other systems cannot hold, those with quotation marks,
        backslashes or any of C(<>:|?*), with a dot or a space at the end, and those that Windows
        reserves. The error lists what each would be.
      - V(normalise) gives such names, and those that break the path rules, a portable one. They are
        renamed in the working copy in the same transaction that publishes the new names, and links
        follow them. Check mode and diff mode show each. Names that exclude one another get a number.
        It does not go with O(direction=push).
    type: str
    choices:
      - any
      - portable
      - normalise
    default: any
  ignore:
    description:
      - Patterns of paths that are left alone on both sides, as in C(.gitignore).
    type: list
    elements: str
    default: []
  checksum:
    description:
      - Re-hash every file instead of trusting size, times and inode of files seen before.
    type: bool
    default: false
  user:
    description:
      - Who is recorded as having changed content. By default the user that runs the module.
    type: str
    default: ""
"""

    STORAGE_HOST = r"""
options:
  transport:
    description:
      - How the repository is reached from the working copy.
      - The working copy is on the control node, or on the host that C(delegate_to) names; the
        repository is on the host of the inventory that the task is for.
      - V(auto) works on one host where C(ansible_connection) is V(local) or the task is delegated to
        the very host it is for, and over SSH otherwise.
      - V(local) takes both from the host that the task runs on.
      - V(ssh) insists on SSH.
    type: str
    choices:
      - auto
      - local
      - ssh
    default: auto
  storage_host:
    description:
      - How to reach the host of the repository.
      - Filled in from the inventory (address, port, user, key, arguments of the client, interpreter,
        become), so it is only given for a host that the inventory does not have.
      - Host keys are always checked, and nothing is ever asked on a terminal.
    type: dict
    suboptions:
      name:
        description: What messages and the working copy's records call the host.
        type: str
        default: ""
      host:
        description: Name or address, as OpenSSH's client knows it.
        type: str
        required: true
      port:
        description: Port of the SSH server, by default as OpenSSH's client is configured.
        type: int
      user:
        description: User to log in as, by default as OpenSSH's client is configured.
        type: str
        default: ""
      private_key_file:
        description: Private key to log in with.
        type: str
        default: ""
      ssh_args:
        description: Further arguments of OpenSSH's client.
        type: list
        elements: str
        default: []
      ssh_executable:
        description:
          - OpenSSH's client. Without one of this name the Python package paramiko is used, which takes no O(storage_host.ssh_args).
        type: str
        default: ssh
      interpreter:
        description: Python on the storage host, 3.9 or newer. Looked for if it is empty.
        type: str
        default: ""
      timeout:
        description: How long to wait for the connection, in seconds.
        type: float
        default: 10.0
      password:
        description:
          - Password to log in with. It needs the Python package paramiko, and does not go with O(storage_host.ssh_args).
        type: str
      become:
        description: Whether to work on the storage host as another user.
        type: bool
        default: false
      become_method:
        description: How to become that user, which can only be V(sudo).
        type: str
        default: sudo
      become_user:
        description: The user to become.
        type: str
        default: root
      become_exe:
        description: The program that does it.
        type: str
        default: sudo
      become_flags:
        description: Further arguments of that program.
        type: list
        elements: str
        default: []
      become_password:
        description: Password that the program asks for.
        type: str
"""

    LOCK_TIMEOUT = r"""
options:
  lock_timeout:
    description:
      - How long to wait, in seconds, for another run on the same repository or working copy.
    type: float
    default: 60.0
"""

    PATHS_LIMIT = r"""
options:
  paths_limit:
    description:
      - How many paths each list in the result, and how many lines the diff may hold. Counts are
        always complete.
    type: int
    default: 1000
"""

    PROGRESS = r"""
options:
  progress:
    description:
      - Whether a run that takes long tells how far it is, host by host (phase, files, bytes, rate and
        remaining time, or how long the phase takes already), every second on a terminal and every ten
        seconds in a log, also while nothing moves.
      - A module that runs as a process of its own cannot tell before it ends. So it is with C(delegate_to)
        another host, with O(transport=local) for a host that is reached by SSH, and with C(become) where
        C(ansible_connection) is V(local).
    type: str
    choices:
      - auto
      - none
    default: auto
"""

    SNAPSHOT_PATHS = r"""
options:
  paths:
    description:
      - Which paths of the snapshot, relative to the root of the tree. By default everything.
      - A directory stands for all that it holds. C(*), C(?) and C([…]) make a pattern for a whole path,
        in which C(**) crosses directories.
      - They only select. Other than in C(.gitignore) none begins with a slash (C(a), not C(/a)), and C(!)
        makes no exception.
    type: list
    elements: str
    default: []
"""
