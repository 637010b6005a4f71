# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules share: options that name a repository, and the one place where errors end.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._core.backends.registry import OPTIONS, TYPES
from ._core.errors import DsgError

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
        "ignore": {"type": "list", "elements": "str", "default": []},
        "checksum": {"type": "bool", "default": False},
        "user": {"type": "str", "default": ""},
        "lock_timeout": {"type": "float", "default": 60.0},
        "paths_limit": {"type": "int", "default": 1000},
    }


def run_module(
    module: AnsibleModule,
    action: Callable[[AnsibleModule], Result],
    explain: Callable[[AnsibleModule, DsgError], Result] | None = None,
) -> None:
    """End the module with the result of ``action``, or with the error that it raised.

    ``explain`` adds data to the result of a failure. An error knows whether something was changed
    before it and stays so, such as a transaction that committed and could not be finished yet.
    """
    try:
        result = action(module)
    except DsgError as error:
        failure: Result = explain(module, error) if explain else {}
        failure["changed"] = error.changed and not module.check_mode
        module.fail_json(msg=str(error), error=error.as_dict(), **failure)
    module.exit_json(**result)


def limit_of(params: Mapping[str, Any]) -> int:
    """Return how many paths a list in the result may hold (0: none, only counts)."""
    return max(0, int(params["paths_limit"]))
