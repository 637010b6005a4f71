# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root-owned helper as it is, but that a fault can be ordered for one of its own calls.

It takes the place of the program that sudo starts. An order is for the next helper alone: the one that
a client starts because the first one died works.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from _core.program.main import main
from guest.tape import Fault, Tape

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ORDER, HIT, STEPS = (f"/run/dsg-tests.{name}" for name in ("order", "hit", "steps"))
DRIVER = f"""\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, {HOME!r})

from guest.faulty_helper import helper

sys.exit(helper(sys.argv[1:]))
"""


class _Written(Tape):
    """Writes every call down as it comes: whoever asked has its answer before it looks."""

    def _step(
        self, label: str, changes: bool, act: Callable[[], Any], fail: Callable[[], None]
    ) -> Any:
        with open(STEPS, "a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps([os.getpid(), label, changes])}\n")
        return super()._step(label, changes, act, fail)


def order(name: str, fault: Fault | None) -> None:
    """Have the calls for a repository written down, and the fault happen in the next helper."""
    for path in (HIT, STEPS):
        with suppress(FileNotFoundError):
            os.unlink(path)
    asked = None if fault is None else [fault.label, fault.kind, fault.nth]
    with open(ORDER, "w", encoding="utf-8") as stream:
        json.dump([name, asked], stream)


def met() -> tuple[str, list[tuple[str, bool]]]:
    """Return the call where the fault happened, '' for nowhere, and all calls of the first helper."""
    hit = ""
    with suppress(FileNotFoundError), open(HIT, encoding="utf-8") as stream:
        hit = stream.read().strip()
    with open(STEPS, encoding="utf-8") as stream:
        steps = [json.loads(line) for line in stream]
    return hit, [(label, changes) for pid, label, changes in steps if pid == steps[0][0]]


def helper(argv: list[str]) -> int:
    """Serve as the program does; runs in the helper's process."""
    taken = f"{ORDER}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.rename(ORDER, taken)
        with open(taken, encoding="utf-8") as stream:
            name, asked = json.load(stream)
        os.unlink(taken)
        answer = os.open(HIT, os.O_WRONLY | os.O_CREAT, 0o600)
        _Written(name, Fault(*asked) if asked else None, answer).install()
    return main(argv)
