# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ENOSPC, EIO, EACCES and EDQUOT from every changing call: unchanged, or committed and said so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .calls import looking
from .lab import Lab, inject
from .scenarios import RECOVERIES
from .sweep import Operation, Point, every_error, failed

Row = Callable[[Operation, str], None]

ERRORS = ("ENOSPC", "EIO", "EACCES", "EDQUOT")


@pytest.mark.parametrize(
    ("scenario", "errno_name"),
    [(scenario, number) for scenario in ("init", "sync", "clone") for number in ERRORS]
    + [(scenario, "EIO") for scenario in ("pull", "push", "converge")]
    + [(scenario, number) for scenario in ("rename", "undo names") for number in ("EIO", "ENOSPC")],
)
def test_error_from_every_call(lab: Lab, row: Row, scenario: str, errno_name: str) -> None:
    """The user gets one of our errors; both sides are as before, or recovery carries forward."""
    operation = Operation(lab, scenario)
    operation.sweep(every_error(operation.calls, errno_name), failed)
    row(operation, errno_name)
    operation.check()


@pytest.mark.parametrize("scenario", ["init", "pull"])
def test_error_from_every_look(lab: Lab, row: Row, scenario: str) -> None:
    """What cannot be read is an error, never taken for absent or empty.

    Only the index may be: it is a cache.
    """
    operation = Operation(lab, scenario)
    calls = looking(operation.attempt(["-e", "trace=all"]).calls)
    points = (
        Point(call, f"EIO at {call}", ["-e", "trace=all", *inject(call, "error=EIO")])
        for call in calls
    )
    operation.sweep(points, failed)
    row(operation, "EIO from looking")
    operation.check()


@pytest.mark.parametrize("scenario", [each for each in RECOVERIES if each != "recover exchanged"])
def test_error_in_recovery(lab: Lab, row: Row, scenario: str) -> None:
    """A recovery that fails can be repeated."""
    operation = Operation(lab, scenario)
    operation.sweep(every_error(operation.calls, "EIO"), failed)
    row(operation, "EIO")
    operation.check()
