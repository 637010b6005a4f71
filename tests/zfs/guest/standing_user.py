# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository stands as its service user sees it: every right that is missing, and who grants it."""

from __future__ import annotations

import os

from _core.sync.status import Status, inspect
from guest.delegation import SUDO_RULE, USER
from guest.lab import PARENT, Lab, sh


def _look(lab: Lab) -> Status:
    found = lab.acting(lambda: inspect(lab.request(), drift=True))
    assert isinstance(found, Status)
    return found


def nothing_is_missing() -> None:
    lab = Lab("rights1")
    lab.put("a", "1")
    lab.sync()
    found = _look(lab)
    assert found.in_sync
    assert (found.missing_rights, found.unknown, found.drift) == ([], [], [])
    assert (found.space or {})["pool"] == "tank"
    lab.destroy()


def every_missing_right_is_told() -> None:
    """A grant and the helper's sudo rule are gone: both are told, and the rest is told all the same."""
    lab = Lab("rights2")
    lab.put("a", "1")
    lab.sync()
    moved = f"{os.path.dirname(SUDO_RULE)}/../dsg-moved"
    sh("zfs", "unallow", "-u", USER, "promote,rename", PARENT)
    sh("mv", SUDO_RULE, moved)
    try:
        found = _look(lab)
    finally:
        sh("mv", moved, SUDO_RULE)
        sh("zfs", "allow", "-u", USER, "promote,rename", PARENT)
    helper, grants = found.missing_rights
    assert "cannot start the helper" in helper["message"], helper
    assert "promote, rename" in grants["message"], grants
    assert all("dsg.storage.delegation" in one["next_step"] for one in (helper, grants))
    assert found.snapshot == 1
    assert found.unknown == []
    assert _look(lab).missing_rights == []
    lab.destroy()
