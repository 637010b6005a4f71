# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps: an error tells what was done before it, and what its own command may have left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from _core.errors import DsgError
from _core.zfs.command import CommandFailed, Runner
from _core.zfs.steps import UNCHANGED, Change, DiskError, Step, carry_out

CHANGE = (Change("pool tank", "", "created"),)


class Recorded(Runner):
    """Starts nothing; fails at one command."""

    def __init__(self, failing: str = "") -> None:
        super().__init__()
        self.ran: list[str] = []
        self.failing = failing

    def run(self, name: str, *arguments: str) -> str:
        self.ran.append(name)
        if name == self.failing:
            raise CommandFailed((name,), 1, "no")
        return ""


def locked() -> AbstractContextManager[None]:
    raise DiskError("another program keeps this disk locked", object="/dev/sdx")


def failed(runner: Runner, *steps: Step, left: Sequence[Step] | None = None) -> DsgError:
    """Return the error of steps of which, behind it, ``left`` differ still: as a rule all."""
    with pytest.raises(DsgError) as caught:
        carry_out(runner, lambda: list(steps if left is None else left), list(steps))
    return caught.value


def test_what_was_not_started_has_left_nothing():
    runner = Recorded()
    error = failed(runner, Step(("zpool",), CHANGE, "They may carry partitions.", guard=locked))
    assert (error.changed, error.unchanged, runner.ran) == (False, UNCHANGED, [])


def test_what_was_done_before_is_told():
    runner = Recorded()
    error = failed(
        runner, Step(("wipefs",), CHANGE), Step(("zpool",), CHANGE, "They may.", guard=locked)
    )
    assert error.changed and "wipefs" in error.unchanged and "They may" not in error.unchanged
    assert runner.ran == ["wipefs"]


def test_what_was_started_may_have_left_traces():
    error = failed(Recorded("zpool"), Step(("zpool",), CHANGE, "They may carry partitions."))
    assert error.changed and error.unchanged == "They may carry partitions."


def test_what_took_effect_although_it_failed_is_told():
    """OpenZFS makes a dataset, cannot mount it, and ends with an error."""
    made, properties = Change("dataset t/x", "", "filesystem"), Change("t/x atime", "on", "off")
    create = Step(("zfs", "create", "t/x"), (made, properties))
    error = failed(Recorded("zfs"), create, left=[Step(("zfs", "set"), (properties,))])
    assert error.changed
    assert error.unchanged == "`zfs create t/x` has taken effect all the same: dataset t/x."
    error = failed(Recorded("zfs"), create)
    assert (error.changed, error.unchanged) == (False, UNCHANGED)


def test_it_is_guarded_until_the_last_attempt():
    """What the guard keeps away must not come between two attempts either."""
    seen: list[str] = []

    @contextmanager
    def guard() -> Iterator[None]:
        seen.append("locked")
        yield
        seen.append("free")

    class Late(Recorded):
        def run(self, name: str, *arguments: str) -> str:
            seen.append(name)
            if name == "zpool" and seen.count(name) < 3:
                raise CommandFailed((name,), 1, "it is late")
            return ""

    step = Step(("zpool",), CHANGE, passing=("late",), guard=guard)
    carry_out(Late(), list, [step])
    assert seen == ["locked", *("zpool", "udevadm") * 2, "zpool", "free"]
