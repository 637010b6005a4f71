# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installed program does for repositories of a host from time to time, as a timer has it."""

from __future__ import annotations

from _core.program import tasks
from _core.program.configuration import Looked
from _core.program.report import SOUND, Result
from guest.lab import Lab
from guest.tape import KILL_AFTER, Fault


def _collect(lab: Lab) -> Result:
    looked = Looked(lab.name, lab.backend, lab.user or "root")
    found: Result = lab.acting(lambda: tasks.run(tasks.COLLECT, looked))
    assert (found.status, found.error) == (SOUND, None), found
    return found


def a_first_publication_that_died_before_it_was_mounted_is_collected() -> None:
    """It is committed, and nobody sees it yet: nobody else may come to finish it."""
    lab = Lab("unmounted")
    lab.put("a", "1")
    died = lab.attempt(lab.sync, Fault("zfs rename init live", KILL_AFTER))
    assert died.end == "killed", died
    assert lab.published() == {}
    lab.refused("DSG-UNFINISHED", check=True)
    assert _collect(lab).done
    assert lab.published() == lab.local()
    assert _collect(lab).done == []
    lab.clean()
    lab.destroy()


def what_was_never_published_is_nothing_to_collect() -> None:
    lab = Lab("nothing")
    assert _collect(lab).done == ["is not published yet"]
