# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that several modules have, or a module and a filter; most are in the doc fragment ``repository``.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._core.backends.registry import OPTIONS, TYPES
from ._core.errors import ArgumentError
from ._core.transport.destination import Become, Destination

LOCK_TIMEOUT = {"type": "float", "default": 60.0}
PATHS_LIMIT = {"type": "int", "default": 1000}
PROGRESS = {"type": "str", "choices": ["auto", "none"], "default": "auto"}
SNAPSHOT_PATHS = {"type": "list", "elements": "str", "default": []}

_NUMBER = {"type": "int", "default": 0}
_WORDS = {"type": "list", "elements": "str", "default": []}
KEEP: dict[str, Any] = {
    "type": "dict",
    "options": {
        **dict.fromkeys(("last", "hourly", "daily", "weekly", "monthly", "yearly"), _NUMBER),
        "within": {"type": "str", "default": ""},
        "messages": _WORDS,
        "tags": _WORDS,
    },
}


def repository_options(*, required: bool = True) -> dict[str, Any]:
    """Return the options that name a repository."""
    return {
        "repository": {"type": "str", "required": required},
        "backend": backend_option(required=required),
    }


def backend_option(*, required: bool) -> dict[str, Any]:
    """Return the option that tells how a repository is held."""
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


def limit_of(params: Mapping[str, Any]) -> int:
    """Return how many paths a list in the result may hold (0: none, only counts)."""
    return max(0, int(params["paths_limit"]))
