# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens at whatever command or mount call: the old tree or the new one, nothing left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import ROOT, Guest
from tests.zfs.table import PAGE, Row, Table, differences

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

Say = Callable[[object], None]
Add = Callable[[list[Row]], None]
WORKERS = 2  # a host has two processors


def check(done: dict[str, Any], table: Add, say: Say) -> None:
    """Add to the table, tell what it cost, and fail with what went wrong in the host."""
    table(done["rows"])
    say(f"{len(done['rows'])} points in {done['seconds']} s")
    assert done["failures"] == [], "\n".join(done["failures"])


@pytest.mark.parametrize("faults", ["kill", "error"])
@pytest.mark.parametrize("scenario", ["init", "sync"])
def test_every_point(
    guest: Guest, table: Add, say: Say, stride: int, scenario: str, faults: str
) -> None:
    """Recover twice, compare bit for bit, verify, look for leaks, and sync again."""
    done = guest.do(
        "crash.matrix", scenario=scenario, faults=faults, workers=WORKERS, stride=stride
    )
    check(done, table, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


@pytest.mark.parametrize("scenario", ["init", "sync"])
def test_every_point_of_the_service_user(
    guest: Guest, table: Add, say: Say, stride: int, scenario: str
) -> None:
    """The same with grants and the helper in place of root's rights, at all that changes something."""
    arguments = {"scenario": scenario, "workers": WORKERS, "stride": stride}
    done = guest.do("crash.matrix", user="dsg", faults="changes", **arguments)
    check(done, table, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


@pytest.mark.parametrize("scenario", ["init", "sync"])
def test_every_point_within_the_helper(guest: Guest, table: Add, say: Say, scenario: str) -> None:
    """The service user's process lives; the helper that does root's part dies or meets an error."""
    done = guest.do("helper_crash.matrix", user="dsg", scenario=scenario)
    check(done, table, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


@pytest.mark.parametrize("user", ["", "dsg"], ids=["root", "dsg"])
@pytest.mark.parametrize("decision", ["commit", "rollback"])
def test_every_point_of_a_fleet(delegated: Guest, say: Say, decision: str, user: str) -> None:
    """Two repositories are both old or both new, whenever the process dies that does it all."""
    done = delegated.do("fleet_crash.matrix", user=user, decision=decision)
    say(f"{len(done['rows'])} points in {done['seconds']} s")
    assert done["failures"] == [], "\n".join(done["failures"])
    assert {row[-1] for row in done["rows"]} == {"old", *(("new",) if decision == "commit" else ())}


def test_every_recovery(guest: Guest, table: Add, say: Say) -> None:
    """A recovery is killed or fails at each of its own steps, wherever the run before it died."""
    done = guest.do("crash.recoveries", workers=WORKERS)
    check(done, table, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


def test_every_recovery_of_the_service_user(guest: Guest, say: Say) -> None:
    """The same with grants and the helper; the table has root's, which goes through more steps."""
    done = guest.do("crash.recoveries", user="dsg", workers=WORKERS)
    check(done, lambda _rows: None, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}


def test_the_next_sync_recovers_by_itself(guest: Guest, table: Add, say: Say, stride: int) -> None:
    check(guest.do("crash.alone", workers=WORKERS, stride=stride), table, say)


def test_what_others_do_meanwhile(guest: Guest, table: Add) -> None:
    """No space, readers, sends, holds, snapshots and datasets of others: done, or all as before."""
    table(guest.do("surroundings.matrix"))


def test_the_service_user_beside_others(delegated: Guest) -> None:
    """The very same, but that nobody is named who is none of the user's; the table has root's."""
    rows = delegated.do("surroundings.matrix", user="dsg")
    page = Table({"test_what_others_do_meanwhile": rows}).page()
    found = differences(PAGE.read_text(encoding="utf-8"), page)
    assert [line for line in found if "Sync beside others" in line] == []


@pytest.fixture
def boot_unit(tmp_path: Path, installed_collection: InstalledCollection) -> str:
    """The boot unit as the role ``repository`` installs it."""
    unit = tmp_path / "unit"
    template = ROOT / "roles/repository/templates/dsg-recover.service.j2"
    task = {"ansible.builtin.template": {"src": str(template), "dest": str(unit), "mode": "0644"}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    variables = {
        "repository_program": "/usr/local/sbin/dsg-storage",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    (tmp_path / "play.yml").write_text(json.dumps([{**play, "vars": variables}]), encoding="utf-8")
    done = installed_collection.playbook("play.yml", "-i", "localhost,", cwd=tmp_path)
    done.must_succeed()
    return unit.read_text(encoding="utf-8")


def test_power_cuts(guest: Guest, table: Add, say: Say, stride: int, boot_unit: str) -> None:
    """The host goes down in the middle of everything, and once more while everything recovers."""
    began = guest.do("power.first", workers=WORKERS, stride=stride)
    say(began)
    _cut(guest)
    again = guest.do("power.second", workers=WORKERS, unit=boot_unit)
    say({key: again[key] for key in ("stopped", "seconds")})
    assert again["failures"] == [], "\n".join(again["failures"])
    assert again["stopped"] > began["points"] // 8
    _cut(guest)
    done = guest.do("power.third", workers=WORKERS)
    check(done, table, say)
    assert {row[-1] for row in done["rows"]} == {"old", "new"}
    assert len(done["rows"]) == began["points"] - 1


def _cut(guest: Guest) -> None:
    guest.host.power_cut()
    guest.hang_up()
    guest.host.boot()


def test_reboot(guest: Guest) -> None:
    """In good order: what is published is mounted by its name, and nothing else of ours is."""
    guest.do("power.before_the_reboot")
    guest.hang_up()
    guest.host.reboot()
    guest.do("power.behind_the_reboot")
