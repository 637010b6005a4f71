# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``dsg.storage.dsg_fetch``: the work is done where what is fetched is to be."""

from __future__ import annotations

from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.modules import dsg_fetch
from ansible_collections.dsg.storage.plugins.plugin_utils._working_copy_action import (
    WorkingCopyAction,
)


class ActionModule(WorkingCopyAction):
    """Runs the module on the control node, or where it is delegated to."""

    def module(self) -> _shell.Command:
        """Return the module's options and what it does."""
        return dsg_fetch.COMMAND
