# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module runs, and the one place where its errors end.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ansible.module_utils.basic import AnsibleModule

from ._core.errors import DsgError

Result = dict[str, Any]


class Invocation(Protocol):
    """Options and mode of one run, as Ansible's modules have them."""

    params: dict[str, Any]
    check_mode: bool


class Command(NamedTuple):
    """A module: its options, the rules among them, what it does, and what it adds to a failure."""

    options: dict[str, Any]
    rules: dict[str, Any]
    action: Callable[[Invocation], Result]
    explain: Callable[[Invocation, DsgError], Result] | None = None


def result_of(invocation: Invocation, command: Command) -> Result:
    """Return the result of a run, or of its failure.

    ``explain`` adds data to the result of a failure. An error knows whether something was changed
    before it and stays so, such as a transaction that committed and could not be finished yet.
    """
    try:
        return told(command.action(invocation))
    except DsgError as error:
        failure: Result = command.explain(invocation, error) if command.explain else {}
        failure["changed"] = error.changed and not invocation.check_mode
        return told({**failed(error), **failure})


def failed(error: DsgError) -> Result:
    """Return the result of a run that ended with an error."""
    return told({"failed": True, "msg": str(error), "error": error.as_dict()})


def told(result: Result) -> Result:
    """Return a result as Ansible takes it, which refuses all of it for one name that is no UTF-8."""
    found: Result = _told(result)
    return found


def in_utf8(text: str) -> str:
    """Return a text that is UTF-8: bytes that are none are told by number, ``\\udcff`` for ff."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return in_utf8(value)
    if isinstance(value, Mapping):
        return {_told(key): _told(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(one) for one in value]
    return value


def run_module(
    module: AnsibleModule,
    action: Callable[[AnsibleModule], Result],
    explain: Callable[[AnsibleModule, DsgError], Result] | None = None,
) -> None:
    """End the module with the result of ``action``, or with the error that it raised."""
    end(module, result_of(module, Command({}, {}, action, explain)))


def end(module: AnsibleModule, result: Result) -> None:
    """End the module with a result."""
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def run_command(command: Command) -> None:
    """Run a module as a process of its own."""
    module = AnsibleModule(argument_spec=command.options, supports_check_mode=True, **command.rules)
    end(module, result_of(module, command))
