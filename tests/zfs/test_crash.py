# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens at whatever command or mount call: the old tree or the new one, nothing left."""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.table import Table

WORKERS = 2  # a host has two processors


@pytest.mark.parametrize("faults", ["kill", "error"])
@pytest.mark.parametrize("scenario", ["init", "sync", "recovery"])
def test_every_point(guest: Guest, table: Table, scenario: str, faults: str) -> None:
    """Recover twice, compare bit for bit, verify, look for leaks, and sync again."""
    done = guest.do("crash.matrix", scenario=scenario, faults=faults, workers=WORKERS)
    table.rows += done["rows"]
    assert done["failures"] == [], "\n".join(done["failures"])
    assert {row[-1] for row in done["rows"]} == ({"old", "new"})


def test_power_cut(guest: Guest, table: Table) -> None:
    """The host goes down in the middle of everything; it boots, and every repository recovers."""
    guest.do("crash.before_the_cut")
    guest.host.power_cut()
    guest.hang_up()
    guest.host.boot()
    done = guest.do("crash.behind_the_cut")
    table.rows += done["rows"]
    assert done["failures"] == [], "\n".join(done["failures"])
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


def test_reboot(guest: Guest) -> None:
    """In good order: what is published is mounted by its name, and nothing else of ours is."""
    guest.do("crash.before_the_reboot")
    guest.hang_up()
    guest.host.reboot()
    guest.do("crash.behind_the_reboot")
