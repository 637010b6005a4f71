# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every command and mount call of a transaction that two repositories take part in.

One process does all steps and is its own coordinator: who kills it kills that as well.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import Any

from _core.client.fleet import COMMIT
from _core.sync.fleet.decision import decide
from _core.sync.phases import run
from _core.sync.request import PREPARE, SyncRequest
from guest.crash import lab_of, provision_workers
from guest.lab import Lab
from guest.points import edit
from guest.tape import KILL_AFTER, KILL_BEFORE, Fault

Row = list[str]
FLEET = "20260101T000000Z-f1"
PLACES = 2


class _Fleet:
    """One working copy, and a repository of the same name below each of two parents."""

    def __init__(self, name: str, decision: str) -> None:
        self.labs: list[Lab] = [lab_of(name, place) for place in range(PLACES)]
        self.decision = decision
        self.generation = 0
        self.src = self.labs[0].copy("wc")
        self._edit()

    def _edit(self) -> None:
        self.generation += 1
        edit(self.labs[0], self.generation)

    def _request(self, number: int, phase: str) -> SyncRequest:
        asked = self.labs[number].request()
        return asked._replace(phase=phase, fleet=FLEET, host=f"h{number}", coordinator=os.getpid())

    def steps(self) -> None:
        """Prepare everywhere, decide, carry it out everywhere."""
        everyone = range(PLACES)
        prepared = [run(self._request(number, PREPARE)).txn_id for number in everyone]
        stands = decide(self.src, FLEET, self.decision, [txn_id for txn_id in prepared if txn_id])
        for number in everyone:
            run(self._request(number, stands))

    def published(self) -> list[dict[str, Any]]:
        return [lab.published() for lab in self.labs]

    def recover(self) -> list[str]:
        return [line for lab in self.labs for line in lab.recover()]

    def publish(self) -> None:
        """Publish what is to be published to every repository, and edit again."""
        for lab in self.labs:
            lab.sync()
        self._edit()

    def points(self) -> list[Fault]:
        """Return every moment: each call may be the first that does not happen; the last one may."""
        done = self.labs[0].attempt(self.steps, None)
        assert done.end == "done", done
        number = sum(changes for _label, changes in done.steps)
        faults = [Fault("", KILL_BEFORE, nth) for nth in range(number)]
        self.publish()
        return [*faults, Fault("", KILL_AFTER, number - 1)]

    def meet(self, fault: Fault) -> Row:
        """Let it happen and recover: both repositories are old, or both are new."""
        old, new = self.published(), [self.labs[0].local()] * PLACES
        died = self.labs[0].attempt(self.steps, fault)
        assert died.end == "killed", died
        shown = self.published()
        assert all(tree in (old[0], new[0]) for tree in shown), shown
        self.recover()
        again = self.recover()
        assert again == [], again
        now = self.published()
        assert now in (old, new), {"old": old, "new": new, "now": now}
        for lab in self.labs:
            lab.clean()
        if now == new:
            self._edit()
        side = "new" if now == new else "old"
        return [died.hit, fault.kind, "killed", side]

    def end(self) -> None:
        """The next transaction works; then all is removed."""
        self.publish()
        for lab in self.labs:
            lab.clean()
        home = self.labs[0].home
        for lab in self.labs:
            os.makedirs(home, exist_ok=True)
            lab.destroy()


def matrix(decision: str = COMMIT) -> dict[str, Any]:
    """Kill the steps at every point; return rows of the table, and what went wrong."""
    began = time.monotonic()
    provision_workers(PLACES)
    rows: list[Row] = []
    failures: list[str] = []
    fleet = _Fleet(f"fleet-{decision}", decision)
    fleet.publish()
    for fault in fleet.points():
        try:
            rows.append([f"fleet {decision}", *fleet.meet(fault)])
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        except Exception:
            failures.append(f"{fault}: {traceback.format_exc()}")
            break  # what is left there is evidence
    else:
        fleet.end()
    return {"rows": rows, "failures": failures, "seconds": round(time.monotonic() - began, 1)}
