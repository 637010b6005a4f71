# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in this process, as Ansible would run it on its target."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils import basic


class ModuleFailedError(AssertionError):
    """The module failed; ``result`` is what it returned."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg"))
        self.result = result


def run_module(
    module: ModuleType, *, check: bool = False, diff: bool = True, **options: Any
) -> dict[str, Any]:
    """Return the module's result, or raise :class:`ModuleFailedError` with it."""
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    printed = io.StringIO()
    with (
        mock.patch.object(basic, "_ANSIBLE_ARGS", given),
        mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),  # since 2.19
        contextlib.redirect_stdout(printed),
    ):
        try:
            module.main()
        except SystemExit as end:
            result = json.loads(printed.getvalue())
            if end.code not in (None, 0):
                raise ModuleFailedError(result) from None
            return result
    raise AssertionError("the module returned without a result")


def provision(base: Path) -> None:
    """Make what the role ``repository`` makes."""
    (base / ".dsg").mkdir(parents=True, mode=0o700)
    (base / ".dsg" / "format.json").write_text('{"format": 1, "type": "directory"}\n')
