# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of mixed kinds: two hosts with OpenZFS over ssh, a directory at hand; hosts lose their power."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.pages import BLOCK
from tests.integration.playbooks import Play
from tests.testbed.bed import Bed, Host
from tests.testbed.pools import zpool
from tests.tools.browser import Browser, browser
from tests.tools.collection import ROOT, InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.playbooks import LISTING
from tests.zfs.test_remote import listing, write

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

FAR, NEAR = ("host1", "host2"), "near"
HOSTS = (*FAR, NEAR)
PARENT, MOUNTPOINT = "tank/fleet", "/srv/fleet"
FILES = {"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n"}


class Fleet:
    """Three hosts that publish one working copy as repository ``name``."""

    def __init__(self, root: Path, installed: InstalledCollection, bed: Bed, name: str) -> None:
        self.root, self.installed, self.bed, self.name = root, installed, bed, name
        self.src = root / "wc"
        self.inventory = root / "inventory.json"
        self.inventory.write_text(json.dumps({"storage": self._storage()}))

    def _storage(self) -> dict[str, Any]:
        reached = self.bed.inventory()["testbed"]
        zfs = {"backend": {"type": "zfs", "dataset": PARENT}, "mountpoint": MOUNTPOINT}
        hosts = {
            host: {**reached["vars"], **own, "dsg_repositories": [self._repository(zfs)]}
            for host, own in reached["hosts"].items()
        }
        directory = {"backend": {"type": "directory", "base": str(self.root / "srv")}}
        hosts[NEAR] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "dsg_repositories": [self._repository(directory)],
        }
        return {"hosts": hosts}

    def _repository(self, held: dict[str, Any]) -> dict[str, Any]:
        return {"name": self.name, "src": str(self.src), "user": "ann", **held}

    def play(self, playbook: str | Path, *options: str) -> Play:
        """Run a playbook of the collection, or one of ours."""
        name = playbook if isinstance(playbook, Path) else f"dsg.storage.{playbook}"
        arguments = ("-i", self.inventory, *options)
        return Play(self.installed.playbook(name, *arguments, ANSIBLE_PIPELINING="true"))

    def prepare_all(self, *commit: str) -> Play:
        """Prepare every host, commit some, and end there: the coordinator is gone then."""
        options = {
            "src": str(self.src),
            "repository": self.name,
            "backend": "{{ dsg_repositories[0].backend }}",
            "user": "ann",
        }
        tasks = [
            {
                "name": "Prepare",
                "dsg.storage.dsg_sync": {**options, "phase": "prepare"},
                "register": "prepared",
            },
            {
                "name": "Commit",
                "dsg.storage.dsg_sync": {
                    **options,
                    "phase": "commit",
                    "txn_id": "{{ prepared.txn_id }}",
                },
                "when": f"inventory_hostname in {list(commit)}",
            },
        ]
        play = {"name": "By hand", "hosts": "storage", "gather_facts": False, "tasks": tasks}
        path = self.root / "by-hand.yml"
        path.write_text(json.dumps([play]))
        return self.play(path).succeeded()

    def status(self) -> tuple[Play, dict[str, Any], dict[str, dict[str, float]]]:
        """Return the run of ``status``, its data, and its metrics by host and name."""
        written = {form: self.root / f"status.{form}" for form in ("json", "html", "prom")}
        names = {"json": "dsg_status_json", "html": "dsg_report", "prom": "dsg_metrics"}
        options = json.dumps({names[form]: str(path) for form, path in written.items()})
        play = self.play("status", "-e", options).succeeded()
        told: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(written["prom"].read_text()):
            for sample in family.samples:
                told.setdefault(sample.labels.get("host", ""), {})[sample.name] = sample.value
        return play, json.loads(written["json"].read_text()), told

    def published(self) -> list[dict[str, Any]]:
        """Return what each host publishes."""
        argv = ("python3", "-c", LISTING, f"{MOUNTPOINT}/{self.name}")
        far = [json.loads(self.bed.host(name).run(*argv).stdout) for name in FAR]
        return [*far, listing(self.root / "srv" / self.name)]

    def check_tidy(self, snapshots: int) -> None:
        """Every host is at that snapshot, and holds nothing but what is published."""
        for name in FAR:
            listed = ("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", PARENT)
            found = self.bed.host(name).run(*listed).stdout.split()
            live = f"{PARENT}/{self.name}"
            wanted = [live, *(f"{live}@s{number}" for number in range(1, snapshots + 1))]
            marks = (live, f"{PARENT}/.dsg/{self.name}.")
            assert sorted(one for one in found if one.startswith(marks)) == sorted(wanted), name
        container = sorted(os.listdir(self.root / "srv" / ".dsg"))
        assert [name for name in container if ".held." in name or ".stage." in name] == []
        assert not (self.src / ".dsg" / "fleet").exists()


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed(f"pytest-fleet-{os.getpid()}").use(FAR) as bed:
        for name in FAR:
            host = bed.host(name)
            zpool(host, "create", "-O", "mountpoint=none", "tank", host.disks[0])
        yield bed


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def fleet(
    tmp_path: Path,
    installed_collection: InstalledCollection,
    bed: Bed,
    request: pytest.FixtureRequest,
) -> Fleet:
    """Three hosts at s1, and an edited working copy; ``old`` and ``new`` are the trees."""
    name = "".join(letter for letter in request.node.name if letter.isalnum())[-40:]
    made = Fleet(tmp_path, installed_collection, bed, name)
    write(made.src, FILES)
    made.play("provision").succeeded()
    made.play("init").succeeded()
    assert made.published() == [listing(made.src)] * 3
    write(made.src, {"a.txt": "longer\n", "new/d.txt": "d\n"})
    (made.src / "b.txt").unlink()
    return made


def lose_power(host: Host) -> None:
    host.power_cut()
    host.boot()


def test_all_at_once_and_then_nothing(fleet: Fleet) -> None:
    old = fleet.published()
    announced = fleet.play("sync", "--check", "--diff").succeeded()
    assert fleet.published() == old
    assert [announced.changed(host) > 0 for host in HOSTS] == [True] * 3
    fleet.play("sync").succeeded()
    assert fleet.published() == [listing(fleet.src)] * 3
    again = fleet.play("sync").succeeded()
    assert [again.changed(host) for host in HOSTS] == [0] * 3
    fleet.check_tidy(2)


def test_one_host_that_refuses_keeps_all_as_they_were(fleet: Fleet) -> None:
    """Somebody made the published tree of one host writable, and wrote."""
    old = fleet.published()
    host, live = fleet.bed.host(FAR[1]), f"{PARENT}/{fleet.name}"
    host.run("zfs", "set", "readonly=off", live)
    host.run("touch", f"{MOUNTPOINT}/{fleet.name}/intruder")
    fleet.play("sync").failed("DSG-DRIFT")
    host.run("rm", f"{MOUNTPOINT}/{fleet.name}/intruder")
    host.run("zfs", "inherit", "readonly", live)
    assert fleet.published() == old
    fleet.check_tidy(1)


def test_power_cuts_before_the_decision_take_all_back(fleet: Fleet) -> None:
    """All are prepared, then the coordinator is gone and both storage hosts lose their power."""
    old, new = fleet.published(), listing(fleet.src)
    fleet.prepare_all()
    for name in FAR:
        lose_power(fleet.bed.host(name))
    assert fleet.published() == old, "boot leaves to the fleet what is held"
    fleet.play("recover").succeeded()
    assert fleet.published() == old
    fleet.check_tidy(1)
    fleet.play("sync").succeeded()
    assert fleet.published() == [new] * 3
    fleet.check_tidy(2)


@pytest.mark.parametrize("first", [FAR[0], NEAR])
def test_power_cuts_behind_the_decision_bring_all_forward(fleet: Fleet, first: str) -> None:
    """One host has committed when the others lose their power."""
    new = listing(fleet.src)
    fleet.prepare_all(first)
    for name in FAR:
        lose_power(fleet.bed.host(name))
    fleet.play("recover").succeeded()
    assert fleet.published() == [new] * 3
    again = fleet.play("recover").succeeded()
    assert [again.changed(host) for host in HOSTS] == [0] * 3
    fleet.check_tidy(2)


def test_a_host_that_is_down_is_completed_when_it_is_back(fleet: Fleet) -> None:
    """It lost its power before its commit; the others publish, and recovery brings it forward."""
    old, new = fleet.published(), listing(fleet.src)
    down = fleet.bed.host(FAR[1])
    fleet.prepare_all(FAR[0], NEAR)
    down.power_cut()
    play = fleet.play("recover")
    assert play.result.rc != 0, play.result
    down.boot()
    assert fleet.published() == [new, old[1], new]
    fleet.play("recover").succeeded()
    assert fleet.published() == [new] * 3
    fleet.check_tidy(2)


def test_status_of_all_as_table_data_page_and_metrics(fleet: Fleet, chromium: Browser) -> None:
    """Somebody stays in the old tree of one host, and somebody holds a snapshot of another."""
    first, second = (fleet.bed.host(name) for name in FAR)
    pid = stay(first, f"{MOUNTPOINT}/{fleet.name}")
    second.run("zfs", "hold", "backup", f"{PARENT}/{fleet.name}@s1")
    fleet.play("sync").succeeded()

    play, data, told = fleet.status()
    rows = {row["host"]: row for row in data["repositories"]}
    assert {host: row["state"] for host, row in rows.items()} == dict.fromkeys(HOSTS, "in sync")
    (cleanup,) = rows[FAR[0]]["pending_cleanups"]
    assert [holder["pid"] for holder in cleanup["holders"]] == [pid]
    (held,) = rows[FAR[1]]["snapshot_users"]
    assert (held["snapshot"], "backup" in held["text"]) == (1, True), held
    assert [rows[host]["pending_cleanups"] for host in HOSTS[1:]] == [[], []]
    waits = [line for line in play.result.stdout.splitlines() if "1 cleanup" in line]
    assert [line.split()[0] for line in waits] == [FAR[0]], play.result

    chromium.open(fleet.root / "status.html")
    chromium.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    page = chromium.ask("document.body.innerText")
    words = (*HOSTS, "3 in sync", f"pid {pid} (sleep)", held["text"], "tank, ONLINE")
    assert [one for one in words if one not in page] == [], page

    assert {host: told[host]["dsg_in_sync"] for host in HOSTS} == dict.fromkeys(HOSTS, 1)
    assert {host: told[host]["dsg_pending_cleanups"] for host in HOSTS} == {
        **dict.fromkeys(HOSTS, 0),
        FAR[0]: 1,
    }
    assert [told[host].get("dsg_pool_healthy") for host in HOSTS] == [1, 1, None]
    for host, machine in zip(FAR, (first, second)):
        free = int(machine.run("zfs", "get", "-Hpo", "value", "available", PARENT).stdout)
        assert abs(told[host]["dsg_space_free_bytes"] - free) < 64 << 20

    first.run("systemctl", "stop", "stays")
    fleet.play("recover").succeeded()
    _play, data, told = fleet.status()
    assert [row["pending_cleanups"] for row in data["repositories"]] == [[], [], []]
    assert told[FAR[0]]["dsg_pending_cleanups"] == 0
    second.run("zfs", "release", "backup", f"{PARENT}/{fleet.name}@s1")
    fleet.check_tidy(2)


def stay(host: Host, place: str) -> int:
    """Have a process stay in a place of a host, as the unit ``stays``; return its number."""
    unit = ("--unit=stays", "--property=Type=exec", f"--working-directory={place}")
    host.run("systemd-run", *unit, "sleep", "infinity")
    shown = host.run("systemctl", "show", "--property=MainPID", "--value", "stays")
    return int(shown.stdout)


def test_the_page_from_bare_disks_to_a_verified_fleet(
    tmp_path: Path, installed_collection: InstalledCollection, bed: Bed
) -> None:
    """Every command of docs/fleet.md, with our hosts and disks in place of those it shows."""
    text = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8").replace("tank", "depot")
    blocks = {kind: body for kind, body in BLOCK.findall(text) if kind == "yaml"}
    storage = yaml.safe_load(blocks["yaml"])["storage"]
    reached = bed.inventory("admin")["testbed"]
    src = tmp_path / "handbook"
    write(src, FILES)
    storage["hosts"] = {host: {**reached["vars"], **reached["hosts"][host]} for host in FAR}
    (definition,) = storage["vars"]["dsg_repositories"]
    definition["src"] = str(src)
    storage["vars"]["dsg_pools"][0]["vdevs"][0]["disks"] = bed.host(FAR[0]).disks[1:3]
    (tmp_path / "fleet.yml").write_text(json.dumps({"storage": storage}))
    said = {}
    commands = [body for kind, body in BLOCK.findall(text) if kind == "sh"]
    for line in "".join(commands).splitlines():
        words = shlex.split(line, comments=True)
        done = installed_collection.playbook(*words[1:], cwd=tmp_path, ANSIBLE_PIPELINING="true")
        assert done.rc == 0, f"{line}: {done}"
        said[words[3], "--check" in words] = done.stdout
        if words[3] == "dsg.storage.init":
            write(src, {"a.txt": "longer\n"})
    for name in FAR:
        argv = ("python3", "-c", LISTING, "/srv/dsg/handbook")
        assert json.loads(bed.host(name).run(*argv).stdout) == listing(src)
    assert "Chapter 3" in said["dsg.storage.log", False]
    assert "a.txt" in said["dsg.storage.sync", True]
