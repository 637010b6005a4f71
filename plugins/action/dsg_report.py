# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``dsg.storage.dsg_report``: done in this process, and printed as it is meant to look."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.modules import dsg_report

_COLORS = {"error": C.COLOR_ERROR, "warning": C.COLOR_WARN, "note": C.COLOR_VERBOSE}


class _Invocation:
    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode


class ActionModule(ActionBase):
    """Works on the control node, or as a module where it is delegated to."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if self._task.delegate_to:
            done: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
            return done
        command = dsg_report.COMMAND
        checked = ArgumentSpecValidator(command.options, **command.rules).validate(args)
        if checked.error_messages:
            msg = "; ".join(checked.error_messages)
            result.update(_shell.told({"failed": True, "msg": msg}))
            return result
        params = checked.validated_parameters
        invocation = _Invocation(params, bool(self._play_context.check_mode))
        result.update(_shell.result_of(invocation, command))
        if params["show"] and not result.get("failed") and not _prints_json():
            self._show(result)
        return result

    def _show(self, result: dict[str, Any]) -> None:
        """Print the table as lines of its own: inside a result they would be quoted."""
        for line in result["table"]:
            self._display.display(line)
        self._display.display("")
        for one in result["problems"]:
            for line in one["lines"]:
                self._display.display(line, color=_COLORS[one["severity"]])
            self._display.display("")
        self._display.display(result["sentence"])
        for path in result["written"]:
            self._display.display(
                f"{'Would write' if self._play_context.check_mode else 'Wrote'} {path}"
            )


def _prints_json() -> bool:
    """Tell whether a program reads what Ansible prints."""
    return "json" in str(C.DEFAULT_STDOUT_CALLBACK)
