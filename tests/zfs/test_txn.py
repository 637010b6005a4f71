# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transactions that stay open between tasks, on real OpenZFS. The cases are in ``guest/txn.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import cases

Say = Callable[[object], None]
CUT = ("txn.open_before_the_cut", "txn.open_behind_the_cut")
LIFE = cases("txn")
USERS = [pytest.param("", id="root"), pytest.param("dsg", id="dsg")]


@pytest.mark.parametrize("case", [case for case in [*LIFE, *cases("txn_trees")] if case not in CUT])
def test_case(guest: Guest, case: str) -> None:
    guest.do(case)


@pytest.mark.parametrize("case", [case for case in LIFE if case not in CUT])
def test_the_service_user_does_what_root_does(delegated: Guest, case: str) -> None:
    delegated.do(case, user="dsg")


@pytest.mark.parametrize("step", ["begin", "prepare", "commit", "first commit", "rollback"])
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("faults", ["kill", "error"])
def test_every_point(delegated: Guest, say: Say, faults: str, user: str, step: str) -> None:
    """The step can be repeated, and what is published is the old tree or the new one."""
    done = delegated.do("txn_crash.matrix", user=user, step=step, faults=faults)
    say(f"{len(done['rows'])} points")
    assert done["failures"] == [], "\n".join(done["failures"])
    ends = {"begin": "old", "rollback": "old"}  # all others are carried to their end
    assert {row[-1] for row in done["rows"]} == {ends.get(step, "new")}


def test_power_cut(guest: Guest) -> None:
    """The host goes down with one transaction begun and one prepared."""
    ids = guest.do(CUT[0])
    guest.host.power_cut()
    guest.hang_up()
    guest.host.boot()
    guest.do(CUT[1], ids=ids)
