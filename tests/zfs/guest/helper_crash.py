# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 of the root-owned helper, and errors, at every command and mount call of its own."""

from __future__ import annotations

import time
from typing import Any

from guest import delegation, faulty_helper
from guest.crash import Walk, lab_of, provision_workers, told, walk_through
from guest.lab import sh
from guest.points import points, steps_of
from guest.tape import Fault, Outcome


class HelperWalk(Walk):
    """From point to point, each of them in the helper that serves the sync."""

    def title(self, scenario: str) -> str:
        """Return what the table calls the operation."""
        return f"{scenario}, within the helper"

    def strike(self, fault: Fault) -> Outcome:
        """The service user's own process goes on, and is told that the helper ended."""
        faulty_helper.order(self.lab.name, fault)
        end = self.lab.attempt(self.lab.sync, None)
        hit, _steps = faulty_helper.met()
        return end._replace(hit=hit)

    def check_end(self, fault: Fault, end: Outcome) -> None:
        """Whatever happened there, what the user is told is true: he lacks no right."""
        assert end.end != "DSG-RIGHTS", end
        self.check_told(end)

    def watched(self) -> list[Fault]:
        """Publish once without a fault; return every moment of the helper that served it."""
        faulty_helper.order(self.lab.name, None)
        self.lab.sync()
        _hit, calls = faulty_helper.met()
        steps = steps_of(calls)
        return [*points(steps, "kill"), *points(steps, "error")]


def matrix(scenario: str) -> dict[str, Any]:
    """Go through every point; return rows of the table, and what went wrong."""
    began = time.monotonic()
    provision_workers(1)
    with open(delegation.PROGRAM, "w", encoding="utf-8") as stream:  # executable as it was
        stream.write(faulty_helper.DRIVER)
    try:
        watched = HelperWalk(lab_of(f"watched-{scenario}", 0), scenario == "sync")
        faults = watched.watched()
        watched.lab.clean()
        watched.lab.destroy()
        done = walk_through(HelperWalk, scenario, list(enumerate(faults)), 0)
    finally:
        provision_workers(1)
        sh("rm", "-f", faulty_helper.ORDER)
    return told(done["rows"], done["failures"], began)
