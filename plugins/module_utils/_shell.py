# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules share: options that name a repository, and the one place where errors end.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ansible.module_utils.basic import AnsibleModule

from ._core.backends.registry import OPTIONS, TYPES
from ._core.errors import ArgumentError, DsgError
from ._core.plan.policy import ANY, NAMES_CHOICES
from ._core.transport.destination import Become, Destination

Result = dict[str, Any]


def backend_option(*, required: bool) -> dict[str, Any]:
    """Return the argument spec of O(backend); the doc fragment C(repository) describes it."""
    return {
        "type": "dict",
        "required": required,
        "options": {
            "type": {"type": "str", "choices": list(TYPES), "default": TYPES[0]},
            "base": {"type": "path"},
            "dataset": {"type": "str"},
        },
        "mutually_exclusive": [tuple(OPTIONS.values())],
        "required_if": [("type", kind, [option]) for kind, option in OPTIONS.items()],
    }


def comparison_options() -> dict[str, Any]:
    """Return the options that decide how two sides are compared."""
    return {
        "direction": {"type": "str", "choices": ["both", "push", "pull"], "default": "both"},
        "conflict": {"type": "str", "choices": ["fail", "local", "remote"], "default": "fail"},
        "conflict_paths": {"type": "dict", "default": {}},
        "names": {"type": "str", "choices": list(NAMES_CHOICES), "default": ANY},
        "ignore": {"type": "list", "elements": "str", "default": []},
        "checksum": {"type": "bool", "default": False},
        "user": {"type": "str", "default": ""},
        "lock_timeout": {"type": "float", "default": 60.0},
        "paths_limit": {"type": "int", "default": 1000},
    }


def storage_host_options() -> dict[str, Any]:
    """Return the options that say on which host the repository is."""
    return {
        "transport": {"type": "str", "choices": ["auto", "local", "ssh"], "default": "auto"},
        "storage_host": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "default": ""},
                "host": {"type": "str", "required": True},
                "port": {"type": "int"},
                "user": {"type": "str", "default": ""},
                "private_key_file": {"type": "str", "default": ""},
                "ssh_args": {"type": "list", "elements": "str", "default": []},
                "ssh_executable": {"type": "str", "default": "ssh"},
                "interpreter": {"type": "str", "default": ""},
                "timeout": {"type": "float", "default": 10.0},
                "password": {"type": "str", "no_log": True},
                "become": {"type": "bool", "default": False},
                "become_method": {"type": "str", "default": "sudo"},
                "become_user": {"type": "str", "default": "root"},
                "become_exe": {"type": "str", "default": "sudo"},
                "become_flags": {"type": "list", "elements": "str", "default": []},
                "become_password": {"type": "str", "no_log": True},
            },
        },
    }


def destination_of(params: Mapping[str, Any]) -> Destination | None:
    """Return the storage host that the options name, None for the host that the module runs on."""
    given = params["storage_host"]
    if given is None:
        if params["transport"] == "ssh":
            raise ArgumentError("transport is ssh, but no storage_host is given")
        return None
    if params["transport"] == "local":
        raise ArgumentError("storage_host does not go with transport local")
    become = None
    if given["become"]:
        become = Become(
            user=given["become_user"],
            method=given["become_method"],
            password=given["become_password"],
            flags=given["become_flags"],
            executable=given["become_exe"],
        )
    destination = Destination(
        host=given["host"],
        label=given["name"],
        port=given["port"],
        user=given["user"],
        key_file=given["private_key_file"],
        options=given["ssh_args"],
        executable=given["ssh_executable"],
        interpreter=given["interpreter"],
        timeout=given["timeout"],
        password=given["password"],
        become=become,
    )
    destination.check()
    return destination


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
        return command.action(invocation)
    except DsgError as error:
        failure: Result = command.explain(invocation, error) if command.explain else {}
        failure["changed"] = error.changed and not invocation.check_mode
        return {"failed": True, "msg": str(error), "error": error.as_dict(), **failure}


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


def limit_of(params: Mapping[str, Any]) -> int:
    """Return how many paths a list in the result may hold (0: none, only counts)."""
    return max(0, int(params["paths_limit"]))
