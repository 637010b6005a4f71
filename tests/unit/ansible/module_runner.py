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


def tree(root: Path) -> dict[str, tuple[str, str]]:
    """Return path to (kind and mode, content) of everything below ``root``, `.dsg` included."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", "")
        elif path.name == "lock" or path.suffix == ".lock":
            found[name] = ("lock", "")  # its content only says who held it last
        elif not path.is_file():
            found[name] = ("special", "")
        else:
            found[name] = (oct(path.stat().st_mode), path.read_bytes().hex())
    return found


def content(root: Path) -> dict[str, tuple[str, str]]:
    """Return the same without ``.dsg`` and without directories."""
    return {
        name: entry
        for name, entry in tree(root).items()
        if entry[0] != "directory" and not name.startswith(".dsg/")
    }


def untouched(*roots: Path) -> list[dict[str, tuple[str, str]]]:
    """Return everything that must stay as it is when nothing may change.

    The stat index is a cache: it may learn at any run that a file's time stamp is old enough.
    """
    return [
        {path: found for path, found in tree(root).items() if path != ".dsg/index"}
        for root in roots
    ]
