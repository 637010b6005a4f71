# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results as Ansible takes them: it refuses all of one for a single name that is no UTF-8."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.dsg.storage.plugins.action import dsg_info, dsg_report, dsg_sync
from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import TreeError

ROOT = Path(__file__).resolve().parents[3]
NAME, SHOWN = "d/\udcff\u00e9\n", "d/\\udcff\u00e9\n"


class Pair(NamedTuple):
    """A row as the core returns it."""

    path: str
    number: int


def utf8(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result, all of which can be written as UTF-8."""
    json.dumps(result, ensure_ascii=False).encode("utf-8")
    return result


def refuse(*_unused: object) -> NoReturn:
    raise TreeError(f"{NAME} is none", object=NAME, details=[NAME])


def test_names_are_told_wherever_they_are() -> None:
    given = {"a": [{NAME: (NAME,)}, Pair(NAME, 1)], "n": [None, True, 1.5, "\u00e9\u540d", ""]}
    result = utf8(_shell.result_of(mock.Mock(), _shell.Command({}, {}, lambda _one: given)))
    assert result == {"a": [{SHOWN: [SHOWN]}, [SHOWN, 1]], "n": given["n"]}


def test_an_error_tells_its_object_and_what_explains_it() -> None:
    invocation = mock.Mock(check_mode=False)
    command = _shell.Command({}, {}, refuse, lambda _one, _error: {"found": [NAME]})
    result = utf8(_shell.result_of(invocation, command))
    assert (result["failed"], result["changed"]) == (True, False)
    assert (result["error"]["object"], result["error"]["details"]) == (SHOWN, [SHOWN])
    assert result["found"] == [SHOWN]


@pytest.mark.parametrize("action", [dsg_info, dsg_report, dsg_sync])
def test_what_an_action_refuses_itself(action: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a module is started: an option that nobody knows, or a host that cannot be reached."""
    monkeypatch.setattr(ActionBase, "run", lambda *_unused: {})
    one = object.__new__(action.ActionModule)
    one._task = SimpleNamespace(args={NAME: 1, "transport": "local"}, delegate_to=None)
    one._connection = SimpleNamespace(transport="local", become=None)
    result = utf8(one.run(None, {}))
    assert result["failed"] and SHOWN in result["msg"], result
    if action is not dsg_report:
        monkeypatch.setattr(one, "_run", refuse)
        assert utf8(one.run(None, {}))["error"]["object"] == SHOWN


def test_every_module_ends_in_one_place() -> None:
    for path in sorted((ROOT / "plugins" / "modules").glob("dsg_*.py")):
        source = path.read_text(encoding="utf-8")
        assert "_shell.run_module(" in source or "_shell.run_command(" in source, path.name
        assert "exit_json(" not in source and "fail_json(" not in source, path.name
        assert source.count("module.warn(") == source.count("module.warn(_shell.in_utf8("), path
