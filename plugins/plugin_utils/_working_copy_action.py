# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of ours where the working copy is, and connects it with the storage host.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import (
    ArgumentError,
    DsgError,
)
from ansible_collections.dsg.storage.plugins.plugin_utils import _storage_host
from ansible_collections.dsg.storage.plugins.plugin_utils._progress_lines import (
    NONE,
    interval,
    progress_lines,
)


class Invocation:
    """What a module would be told by Ansible: its checked options, and the mode."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode


class WorkingCopyAction(ActionBase):
    """The working copy is on the control node, or on the host that ``delegate_to`` names.

    On the control node the work is done in this process: no module has to be packed and started,
    and Ansible's user is whose working copy it is.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def module(self) -> _shell.Command:
        """Return the module's options and what it does."""
        raise TypeError("a subclass names its module")

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._run(dict(self._task.args), task_vars or {}))
        except DsgError as error:
            result.update(_shell.failed(error))
        return result

    def _run(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        here = self._connection.transport in _storage_host.LOCAL
        transport = args.get("transport") or "auto"
        if args.get("storage_host") is None and transport != "local":
            args["storage_host"] = self._storage_host(transport, task_vars)
        if here and (args.get("storage_host") is not None or not self._connection.become):
            return self._in_process(args, task_vars)
        if args.get("storage_host") is None or self._task.delegate_to:
            return self._on_the_host(args, task_vars)
        return self._in_process(args, task_vars)

    def _storage_host(self, transport: str, task_vars: dict[str, Any]) -> dict[str, Any] | None:
        """Return how to reach the storage host, None where the working copy is on it."""
        name = task_vars["inventory_hostname"]
        delegate = self._task.delegate_to
        delegate_vars = task_vars.get("ansible_delegated_vars", {}).get(delegate, {})
        if delegate == name and transport == "auto":
            return None
        if delegate:  # what is in task_vars of a connection is the other host's
            task_vars = task_vars["hostvars"][name]
        kind = _storage_host.connection_name(
            task_vars, self._templar, "ssh" if delegate else self._connection.transport
        )
        if kind in _storage_host.LOCAL:
            return self._local(transport, name)
        if kind not in (*_storage_host.SSH, *_storage_host.PARAMIKO):
            raise ArgumentError(
                f"the connection {kind} is not supported: supported are ssh and local",
                object=name,
            )
        if delegate or kind in _storage_host.PARAMIKO:
            asked = _storage_host.asked_for(self._play_context, delegate_vars)
            return _storage_host.of_variables(
                name, task_vars, self._templar, self._task, self._play_context, asked
            )
        return _storage_host.of_connection(
            self._connection, self._play_context, name, task_vars, self._templar
        )

    @staticmethod
    def _local(transport: str, name: str) -> None:
        if transport == "ssh":
            raise ArgumentError("transport is ssh, but ansible_connection is local", object=name)

    def _on_the_host(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module by the connection of the task, be it delegated or not."""
        if args.get("storage_host") is not None:
            # `become` is for the storage host: the working copy belongs to who is logged in.
            self._connection.set_become_plugin(None)
        found: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
        return found

    def _in_process(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        command = self.module()
        checked = ArgumentSpecValidator(command.options, **command.rules).validate(args)
        if checked.error_messages:
            return _shell.told({"failed": True, "msg": "; ".join(checked.error_messages)})
        params = checked.validated_parameters
        invocation = Invocation(params, bool(self._play_context.check_mode))
        with self._progress(params, task_vars["inventory_hostname"]):
            return _shell.result_of(invocation, command)

    def _progress(self, params: dict[str, Any], name: str) -> AbstractContextManager[None]:
        """Tell of progress for the block, unless it is not wanted."""
        if params.get("progress", NONE) == NONE:
            return nullcontext()
        host = (params.get("storage_host") or {}).get("name") or name
        return progress_lines(host, self._display.display, interval())
