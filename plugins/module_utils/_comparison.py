# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A working copy and a repository that are compared: what the modules ask of it, and of the core.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._core.plan.policy import ANY, NAMES_CHOICES, Policy
from ._core.sync.request import SyncRequest
from ._options import destination_of


def comparison_options() -> dict[str, Any]:
    """Return the options that decide how two sides are compared; the doc fragment has their name."""
    return {
        "direction": {"type": "str", "choices": ["both", "push", "pull"], "default": "both"},
        "conflict": {"type": "str", "choices": ["fail", "local", "remote"], "default": "fail"},
        "conflict_paths": {"type": "dict", "default": {}},
        "names": {"type": "str", "choices": list(NAMES_CHOICES), "default": ANY},
        "ignore": {"type": "list", "elements": "str", "default": []},
        "checksum": {"type": "bool", "default": False},
        "user": {"type": "str", "default": ""},
    }


def request_of(params: Mapping[str, Any], *, check: bool) -> SyncRequest:
    """Turn these options, and those that name the two sides, into the core's request."""
    return SyncRequest(
        src=params["src"] or "",
        repository=params["repository"],
        backend=params["backend"],
        policy=Policy(
            direction=params["direction"],
            conflict=params["conflict"],
            conflict_paths=params["conflict_paths"],
            names=params["names"],
        ),
        ignore=params["ignore"],
        checksum=params["checksum"],
        check=check,
        user=params["user"],
        lock_timeout=params["lock_timeout"],
        destination=destination_of(params),
    )
