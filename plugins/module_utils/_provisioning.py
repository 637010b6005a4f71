# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the provisioning modules share: one list of steps is the prediction, the diff and the run.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._core.errors import DsgError
from ._core.zfs.command import Runner, ZfsError
from ._core.zfs.steps import UNCHANGED, Step, carry_out

Plan = Callable[[], list[Step]]


def hold(runner: Runner, plan: Plan, *, check: bool) -> dict[str, Any]:
    """Plan, carry out unless ``check``, and return ``changed``, ``diff`` and ``commands``."""
    try:
        steps = plan()
    except DsgError as error:  # whatever could not be read: nothing was done yet
        error.unchanged = UNCHANGED
        if isinstance(error, ZfsError):
            error.next_step = "Remove the cause and run again."
        raise
    if not check:
        steps = carry_out(runner, plan, steps)
    return {
        "changed": bool(steps),
        "diff": difference(steps),
        "commands": [str(step) for step in steps],
    }


def difference(steps: list[Step]) -> dict[str, str]:
    """Return the diff for Ansible: a line for every value before, and for every value after."""
    changes = [change for step in steps for change in step.changes]
    return {
        "before": "".join(f"{c.subject}: {c.before}\n" for c in changes if c.before),
        "after": "".join(f"{c.subject}: {c.after}\n" for c in changes if c.after),
    }
