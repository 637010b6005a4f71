# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9, or an error, at every command and mount call of an open transaction's steps."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from guest.lab import listing
from guest.opened import Opened
from guest.tape import ERROR, FALSE_ERROR, KILL_AFTER, KILL_BEFORE, Fault

Row = list[str]
Tree = dict[str, list[object]]
INIT = "first commit"
UNFINISHED = "DSG-UNFINISHED"


def matrix(step: str, faults: str) -> dict[str, Any]:
    """Kill a step, or have it meet errors, at every point; repeat it.

    Returns rows of the table, and what went wrong.
    """
    rows: list[Row] = []
    failures: list[str] = []
    case = _repository(step, "steps")
    points = list((_kills if faults == "kill" else _errors)(case, step))
    case.end()
    case = _repository(step, "0")
    for number, fault in enumerate(points):
        if step == INIT and number:
            case = _repository(step, str(number))
        try:
            rows.append([f"open transaction, {step}", *_point(case, step, fault, number)])
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        except Exception:
            failures.append(f"{step}, {fault}: {traceback.format_exc()}")
            return {"rows": rows, "failures": failures}  # what is left there is evidence
        if step == INIT:
            case.end()
    if step != INIT:
        case.end()
    return {"rows": rows, "failures": failures}


def _repository(step: str, name: str) -> Opened:
    case = Opened(f"txnkill-{step.replace(' ', '-')}-{name}")
    if step != INIT:
        case.publish(a="published")
    return case


def _work(case: Opened, step: str) -> Callable[[], Any]:
    return {
        "begin": lambda: case.begin(txn_id=case.txn_id),
        "prepare": case.prepare,
        "commit": case.commit,
        INIT: case.commit,
        "rollback": case.rollback,
    }[step]


def _bring(case: Opened, step: str, number: int) -> Tree:
    """Bring a new transaction to where the step begins; return the tree that it will publish."""
    if step == "begin":
        case.txn_id = _id(number)
        return {}
    case.begin(txn_id=_id(number))
    case.put("a", f"generation {number}")
    case.put(f"only/in-{number}", "o")
    tree = listing(case.work)
    if step in ("commit", INIT):
        case.prepare()
    return tree


def _id(number: int) -> str:
    """Return an id that looks like those that are made."""
    return f"20260101T000000Z-{number:012x}"


def _kills(case: Opened, step: str) -> Iterator[Fault]:
    """Yield every moment that differs from the others.

    Reading changes nothing, and between two calls only a preparation writes to files.
    """
    for nth in range(len(_changes(case, step))):
        if step == "prepare" or nth == 0:
            yield Fault("", KILL_BEFORE, nth)
        yield Fault("", KILL_AFTER, nth)


def _errors(case: Opened, step: str) -> Iterator[Fault]:
    """Yield an error of every call that changes something; of commands also one that is not true."""
    for nth, label in enumerate(_changes(case, step)):
        yield Fault("", ERROR, nth)
        if label.startswith("zfs"):
            yield Fault("", FALSE_ERROR, nth)


def _changes(case: Opened, step: str) -> list[str]:
    """Take the step; return its calls that change something."""
    _bring(case, step, 1000)
    done = case.lab.attempt(_work(case, step), None)
    assert done.end == "done", done
    if step in ("begin", "prepare"):
        case.rollback()
    return [label for label, changes in done.steps if changes]


def _point(case: Opened, step: str, fault: Fault, number: int) -> Row:
    """Let it happen; then everything is old or new, and the step can be repeated."""
    lab = case.lab
    new = _bring(case, step, number)
    old = lab.published() if os.path.ismount(lab.path) else {}
    end = lab.attempt(_work(case, step), fault)
    shown = lab.published() if os.path.ismount(lab.path) else {}
    assert shown in (old, new), shown
    if fault.kind in (KILL_BEFORE, KILL_AFTER):
        assert end.end == "killed", end
    else:
        assert end.end not in ("crashed", "killed") and end.hit, end
        assert end.end in ("done", UNFINISHED) or shown == old, f"{end} says that nothing changed"
    if number % 2:
        lab.recover()
        assert lab.recover() == []
    after = _repeat(case, step, old)
    assert after == (old if step in ("begin", "rollback") else new), after
    assert not lab.recover()
    if os.path.ismount(lab.path):
        lab.clean()
    then = f"shows {'old' if shown == old else 'new'}, repeated"
    return [end.hit, fault.kind, f"{end.end}, {then}", "old" if after == old else "new"]


def _repeat(case: Opened, step: str, old: Tree) -> Tree:
    """Take the step again, to the end of the transaction; return what is published then."""
    done = _work(case, step)()
    if step == "begin":
        assert os.path.ismount(case.work) and listing(case.work) == old
        assert case.rollback().changed
    elif step == "prepare":
        assert not case.prepare().changed
        assert case.commit().changed
    elif step == "rollback":
        assert not case.rollback().changed
    else:
        assert done.snapshot == case.commit().snapshot
    return case.lab.published()
