# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provisioning as a list of steps: one list tells what differs, and is what is then carried out.

Check mode only looks at the list, so it cannot tell anything but what a run does.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from ..errors import DsgError
from .command import CommandFailed, Runner, ZfsError

UNCHANGED = "Pools, disks, datasets and grants are unchanged."

_ATTEMPTS = 5


class PoolError(DsgError):
    """A pool is not as declared, or cannot become so."""

    code = "DSG-POOL"
    unchanged = UNCHANGED


class DiskError(DsgError):
    """A disk is in use, carries something, or is no disk."""

    code = "DSG-DISK"
    unchanged = UNCHANGED


class DatasetError(DsgError):
    """A dataset is not as declared, and cannot become so without loss."""

    code = "DSG-DATASET"
    unchanged = UNCHANGED


class Change(NamedTuple):
    """One difference: of what, its value before and after ('' for none)."""

    subject: str
    before: str
    after: str


class Step(NamedTuple):
    """One command (name of the program first) and the differences that it removes.

    ``traces`` says what a failure of it may leave all the same. ``passing``: what it says where the
    cause is over soon, and it is tried again. ``guard`` is held while it runs.
    """

    command: tuple[str, ...]
    changes: tuple[Change, ...]
    traces: str = ""
    passing: tuple[str, ...] = ()
    guard: Callable[[], AbstractContextManager[None]] = nullcontext

    def __str__(self) -> str:
        return shlex.join(self.command)


Plan = Callable[[], list[Step]]


def carry_out(runner: Runner, plan: Plan, steps: Sequence[Step]) -> list[Step]:
    """Run ``steps``, then what the plan asks for after them; return everything that was done.

    A second round belongs to what can only be read after the first (an imported pool). If anything
    is left after that, OpenZFS took a command and did not do it, which is an error.
    """
    done: list[Step] = []
    for _round in range(2):
        for step in steps:
            try:
                _run(runner, step)
            except DsgError as error:
                traces = _taken_effect(error, plan, step) or step.traces
                raise _with_progress(error, done, traces) from None
            done.append(step)
        try:
            steps = plan() if steps else []
        except DsgError as error:
            raise _with_progress(error, done) from None
    if steps:
        left = [f"{change.subject}: {change.before}" for change in steps[0].changes]
        raise _with_progress(
            ZfsError(
                f"`{steps[0]}` would have to be run again",
                object=steps[0].command[-1],
                details=left,
                next_step="If OpenZFS reads a value back under another name, declare that one.",
            ),
            done,
        )
    return done


def _run(runner: Runner, step: Step) -> None:
    with step.guard():
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                runner.run(*step.command)
                return
            except CommandFailed as error:
                if not left or not any(text in error.output for text in step.passing):
                    raise
                runner.run("udevadm", "settle")


def _taken_effect(error: DsgError, plan: Plan, step: Step) -> str:
    """Tell what a command has done although it failed: made a dataset, say, and not mounted it."""
    if not isinstance(error, ZfsError):
        return ""
    try:
        left = {change.subject for one in plan() for change in one.changes}
    except DsgError:
        return ""
    made = [change.subject for change in step.changes if change.subject not in left]
    return f"`{step}` has taken effect all the same: {', '.join(made)}." if made else ""


def _with_progress(error: DsgError, done: Sequence[Step], traces: str = "") -> DsgError:
    """Make the error tell what was done before it: nothing is taken back."""
    if not isinstance(error, ZfsError):
        traces = ""  # it is the guard's: nothing was started
    error.changed = bool(done or traces)
    if isinstance(error, CommandFailed):
        error.next_step = "Remove the cause and run again; the next run does what is left."
    told = [f"Done before the error, and not taken back: {'; '.join(map(str, done))}"] * bool(done)
    error.unchanged = " ".join(filter(None, [*told, traces])) or UNCHANGED
    return error
