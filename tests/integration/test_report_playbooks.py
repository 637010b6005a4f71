# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``verify``, ``log`` and ``status`` over several hosts: one that fails keeps no other from being told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import HOSTS, FleetGround, Ground, Play
from tests.tools.collection import InstalledCollection
from tests.unit.trees import untouched

REFUSES = {  # nobody listens at port 1
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_args": "-o ControlMaster=no",
    "ansible_ssh_retries": 0,
}


@pytest.fixture
def fleet(tmp_path: Path, installed_collection: InstalledCollection) -> FleetGround:
    made = FleetGround(tmp_path, installed_collection)
    made.run("provision init").succeeded()
    return made


def tables_of(play: Play) -> list[list[list[str]]]:
    """Return the cells of the tables that a playbook printed, without their headers."""
    printed = [item["msg"] for item in play.items() if isinstance(item.get("msg"), list)]
    return [_cells(lines, play.result.stdout) for lines in printed]


def _cells(lines: list[str], said: str) -> list[list[str]]:
    assert all(line in said for line in lines), "as it is, not only as data"
    header, rule, *rows = lines
    starts = [at for at in range(len(rule)) if rule[at] == "-" and rule[at - 1 : at] in ("", " ")]
    ends = [*starts[1:], None]
    assert all(header[start] != " " for start in starts)
    return [[row[start:end].strip() for start, end in zip(starts, ends)] for row in rows]


def rows_of(play: Play) -> list[list[str]]:
    """Return the rows of the only table that a playbook printed."""
    (rows,) = tables_of(play)
    return rows


def flip_a_byte(path: Path) -> None:
    """Damage a file as a disk does: neither its size nor its times change."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def away(ground: FleetGround, *hosts: str) -> None:
    """Have some hosts not answer any more."""
    inventory = json.loads(ground.inventory.read_text())
    for host in hosts:
        inventory["storage"]["hosts"][host] = REFUSES
    ground.inventory.write_text(json.dumps(inventory))


@pytest.mark.parametrize("damaged", ["h1", "h2"], ids=["the first host", "another host"])
def test_verify_fails_for_the_damaged_host_and_reports_all(
    fleet: FleetGround, damaged: str
) -> None:
    assert [row[0] for row in rows_of(fleet.run("verify").succeeded())] == list(HOSTS)
    flip_a_byte(fleet.live_of(damaged) / "sub" / "c.txt")
    before = untouched(fleet.root)
    play = fleet.run("verify")
    assert play.failed("DSG-VERIFY")["problems"][0]["path"] == "sub/c.txt"
    rows = {row[0]: row for row in rows_of(play)}
    assert list(rows) == list(HOSTS)
    for host in HOSTS:
        counts = play.result.stats[host]
        assert (counts["failures"], counts["unreachable"]) == (int(host == damaged), 0)
        assert ("1 content" in rows[host]) == (host == damaged), rows
        assert rows[host][1:3] == ["docs", "s1"]
    sound = [rows[host][1:] for host in HOSTS if host != damaged]
    assert sound[0] == sound[1] != rows[damaged][1:]
    assert untouched(fleet.root) == before


def test_verify_reports_the_others_where_a_host_does_not_answer(fleet: FleetGround) -> None:
    flip_a_byte(fleet.live_of("h2") / "a.txt")
    away(fleet, "h1")
    play = fleet.run("verify")
    assert play.result.rc not in (0, 1), play.result
    assert [row[0] for row in rows_of(play)] == ["h2", "h3"]
    assert play.result.stats["h1"]["unreachable"] == 1
    assert [play.result.stats[host]["failures"] for host in HOSTS] == [0, 1, 0]


@pytest.mark.parametrize("transport", ["auto", "local"])
@pytest.mark.parametrize("hosts", [["h1"], list(HOSTS)], ids=["the first host", "all hosts"])
def test_status_reports_hosts_that_do_not_answer(
    fleet: FleetGround, transport: str, hosts: list[str]
) -> None:
    """``local``: the module is to run on the storage host, and it is Ansible that does not get there."""
    if transport == "local":  # the working copy has to be on each of them
        src = {"src": f"{fleet.root}/on-{{{{ inventory_hostname }}}}"}
        fleet.define({**fleet.definition, **src})
        fleet.run("clone").succeeded()
    away(fleet, *hosts)
    written = fleet.root / "status.json"
    play = fleet.run("status", dsg_transport=transport, dsg_status_json=str(written))
    assert play.result.rc == 2, play.result
    found = json.loads(written.read_text())
    states = {row["host"]: row["state"] for row in found["repositories"]}
    assert states == {host: "unreachable" if host in hosts else "in sync" for host in HOSTS}
    assert {row["repository"] for row in found["repositories"]} == {"docs"}
    assert {problem["host"] for problem in found["problems"]} == set(hosts)
    lines = [line for line in play.result.stdout.splitlines() if " docs " in line]
    assert [line.split()[0] for line in lines] == list(HOSTS)
    assert f"3 hosts, 3 repositories: {found['totals']['in_sync'] or ''}" in play.said
    failures = {host: play.result.stats[host]["failures"] for host in HOSTS}
    assert failures == {host: int(host in hosts) for host in HOSTS}


def test_status_of_a_host_that_is_to_hold_no_repository(fleet: FleetGround) -> None:
    inventory = json.loads(fleet.inventory.read_text())
    inventory["storage"]["hosts"]["h2"] = {"dsg_repositories": []}
    fleet.inventory.write_text(json.dumps(inventory))
    written = {form: fleet.root / f"status.{form}" for form in ("json", "prom")}
    files = {"dsg_status_json": str(written["json"]), "dsg_metrics": str(written["prom"])}
    play = fleet.run("status", **files).succeeded()
    assert "3 hosts, 2 repositories: 2 in sync; no problems" in play.said
    found = json.loads(written["json"].read_text())
    assert [row["host"] for row in found["repositories"]] == ["h1", "h3"]
    assert 'host="h2"' not in written["prom"].read_text()


@pytest.fixture
def told(tmp_path: Path, installed_collection: InstalledCollection) -> Ground:
    """A repository with publications of two people."""
    ground = Ground(tmp_path, installed_collection)
    ground.publish()
    ground.write({"sub/c.txt": "Ben's\n"}, ground.ben)
    ground.play("sync", who="ben", dsg_message="Ben was here").succeeded()
    ground.write({"a.txt": "Ann's\n", "deep/sub/e.txt": "e\n"})
    ground.play("sync").succeeded()
    return ground


SELECTED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["s3", "s2", "s1"]),
    ({"dsg_author": "ben"}, ["s2"]),
    ({"dsg_author": "a*"}, ["s3", "s1"]),
    ({"dsg_since": "s2"}, ["s3", "s2"]),
    ({"dsg_since": 2, "dsg_until": 2}, ["s2"]),
    ({"dsg_since": "2000-01-01", "dsg_limit": 1}, ["s3", "-"]),
    ({"dsg_since": "2999-01-01"}, []),
    ({"dsg_paths": ["sub/"]}, ["s3", "s2", "s1"]),
    ({"dsg_paths": ["/sub"]}, ["s2", "s1"]),
    ({"dsg_paths": ["/sub/c.txt"]}, ["s2", "s1"]),
    ({"dsg_paths": "/a.txt", "dsg_author": "ann", "dsg_since": "s2"}, ["s3"]),
]


def test_log_prints_what_is_asked_for(told: Ground) -> None:
    plays = [
        {"import_playbook": "dsg.storage.log", "vars": {"dsg_hosts": "ann", **asked}}
        for asked, _snapshots in SELECTED
    ]
    (told.root / "logs.yml").write_text(json.dumps(plays))
    play = Play(told.installed.playbook(told.root / "logs.yml", "-i", told.inventory)).succeeded()
    tables = tables_of(play)
    assert len(tables) == len(SELECTED)
    assert play.said.count("dsg_limit=0") == 1
    for (asked, snapshots), rows in zip(SELECTED, tables):
        assert [row[:3] for row in rows] == [["ann", "docs", one] for one in snapshots], asked


def test_log_prints_every_host_with_author_message_and_paths(told: Ground) -> None:
    rows = rows_of(told.play("log", who="all", dsg_with_paths=True).succeeded())
    steps = [row for row in rows if row[1] == "docs"]
    assert [row[0] for row in steps] == ["ann"] * 3 + ["ben"] * 3
    assert [row[4].partition("@")[0] for row in steps[:3]] == ["ann", "ben", "ann"]
    assert steps[1][-1] == "Ben was here"
    below = rows[1 : rows.index(steps[1])]
    assert [(row[5], row[-1]) for row in below] == [
        ("changed", "a.txt"),
        ("added", "deep/sub/e.txt"),
    ]


def test_log_answers_one_question_at_a_time(told: Ground) -> None:
    failed = told.play("log", dsg_blame=True, dsg_path="a.txt").failed("DSG-ARGUMENT")
    assert "dsg_path" in failed["error"]["next_step"]


def test_log_reports_the_others_where_a_host_fails(fleet: FleetGround) -> None:
    (fleet.live_of("h1") / ".dsg" / "history" / "s1.jsonl").unlink()
    play = fleet.run("log")
    play.failed("DSG-MANIFEST")
    assert [row[0] for row in rows_of(play)] == ["h2", "h3"]
