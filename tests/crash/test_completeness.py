# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sweeps rest upon: strace sees and counts every changing call, and kills before it."""

from __future__ import annotations

import pytest

from .calls import CHANGING, changing, unknown
from .lab import Lab, inject, watch
from .scenarios import RUNS, SCENARIOS
from .sweep import Operation


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_other_call_changes_anything(lab: Lab, scenario: str) -> None:
    """Of *all* calls of a run, each is either swept or known to leave the disk as it is."""
    operation = Operation(lab, scenario)
    everything = operation.attempt(["-e", "trace=all"]).calls
    assert len(everything) > len(operation.calls)
    assert unknown(everything) == []
    swept = [(call.name, call.nth) for call in operation.calls]
    assert swept == [(call.name, call.nth) for call in changing(everything)]


def test_every_run_has_what_it_is_to_prove(lab: Lab) -> None:
    """The sweeps cover every sort of changing call that the engine makes."""
    names = {call.name for scenario in RUNS for call in Operation(lab, scenario).calls}
    assert {"openat", "write", "fsync", "syncfs", "renameat2", "linkat", "symlinkat"} <= names
    assert {"mkdirat", "unlinkat", "fchmod", "utimensat"} <= names


def test_killed_on_entry_means_not_done(lab: Lab) -> None:
    """A call at which strace kills the process is not carried out."""
    operation = Operation(lab, "init")
    making = next(call for call in operation.calls if "data.stage." in call.text)
    assert making.name.startswith("mkdir")
    ended = operation.attempt(watch(inject(making, "signal=SIGKILL")))
    assert ended.signal == 9
    left = lab.do("look", root=lab.root)["left"]
    assert left and all(name.startswith("wc/.dsg/staging/") for name in left)


def test_after_a_call_is_before_the_next(lab: Lab) -> None:
    """Stopped behind each call, and killed on entering the next, the disk is the same.

    So a kill on entry of every call is also a kill behind every call.
    """
    operation = Operation(lab, "pull")
    behind = _listings_behind(operation)
    assert len(behind) == len(operation.calls)
    for before, (call, following) in zip(behind, zip(operation.calls, operation.calls[1:])):
        operation.attempt(watch(inject(following, "signal=SIGKILL")))
        assert lab.do("everything", root=lab.root) == before, f"between {call} and {following}"


def _listings_behind(operation: Operation) -> list[object]:
    lab = operation.lab
    faults = [["-e", f"inject={','.join(f'?{name}' for name in CHANGING)}:signal=SIGSTOP"]]
    traced = lab.start(
        "attempt", watch(*faults), scenario=operation.scenario, root=lab.root, keep=lab.keep
    )
    listings = []
    while (ended := lab.go(traced)) is None:
        if changing(lab.calls()[-1:]):
            listings.append(lab.do("everything", root=lab.root))
    assert ended.outcome is not None and "result" in ended.outcome
    return listings
