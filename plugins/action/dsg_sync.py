# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``dsg.storage.dsg_sync``: the work is done where the working copy is."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.posix.process import identify
from ansible_collections.dsg.storage.plugins.modules import dsg_sync
from ansible_collections.dsg.storage.plugins.plugin_utils import _storage_host
from ansible_collections.dsg.storage.plugins.plugin_utils._working_copy_action import (
    WorkingCopyAction,
)


class ActionModule(WorkingCopyAction):
    """Runs the module on the control node, or where it is delegated to.

    It tells a phase of a fleet transaction what only Ansible knows: which process decides, and which
    host this is.
    """

    def module(self) -> _shell.Command:
        """Return the module's options and what it does."""
        return dsg_sync.COMMAND

    def _run(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if args.get("phase", "full") != "full":
            args = {**_of_the_fleet(task_vars["inventory_hostname"]), **args}
        return super()._run(args, task_vars)

    def _on_the_host(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._connection.transport not in _storage_host.LOCAL:
            args = {**args, "fleet_coordinator": 0}  # the number of another process there
        return super()._on_the_host(args, task_vars)


def _of_the_fleet(host: str) -> dict[str, Any]:
    """Return what all tasks of one ``ansible-playbook`` have in common, and the host's name."""
    # This is a worker: it ends with its task. One whose parent was killed is given another parent,
    # which would be waited for as long as that runs.
    started_by = multiprocessing.parent_process()
    coordinator = os.getppid() if started_by is None else started_by.pid
    found = identify(coordinator) if coordinator == os.getppid() else None
    if found is None:
        return {"fleet_host": host}
    return {
        "fleet": f"{found.boot[:8]}-{found.start}-{found.pid}",
        "fleet_host": host,
        "fleet_coordinator": coordinator,
    }
