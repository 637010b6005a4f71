# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``hosts: storage`` by ansible-playbook over a real sshd: working copy here, repositories there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import Play
from tests.integration.support import make, provision, read
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.tools.sshd import Sshd, sshd
from tests.transport.world import PASSWORD, World, world

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

DEFAULT_SSH_ARGS = "-C -o ControlMaster=auto -o ControlPersist=60s"  # Ansible's own


class Fleet:
    """Storage hosts that are one server under several names, and playbooks against them."""

    def __init__(self, root: Path, installed: InstalledCollection, server: Sshd) -> None:
        self.root, self.installed, self.server = root, installed, server
        self.src = make(str(root / "wc"), {"a.txt": "a", "sub/b.txt": "b"})
        self.bases = {name: provision(str(root / name)) for name in ("one", "two")}
        self.env: dict[str, str] = {}
        self.of_here: dict[str, str] = {}
        self.task: dict[str, Any] = {
            "src": self.src,
            "repository": "docs",
            "backend": {"base": f"{root}/{{{{ inventory_hostname }}}}"},
        }

    @property
    def reached(self) -> dict[str, Any]:
        return {
            "ansible_host": self.server.host,
            "ansible_port": self.server.port,
            "ansible_user": self.server.user,
            "ansible_ssh_private_key_file": str(self.server.key),
            "ansible_ssh_common_args": shlex.join(self.server.options),
            # Nothing may stay behind the test.
            "ansible_ssh_args": "-o ControlMaster=no",
            "ansible_control_path": "%(directory)s/%%h-%%r",
        }

    def play(self, *tasks: dict[str, Any], options: tuple[str, ...] = (), **variables: Any) -> Play:
        """Run tasks on the group ``storage``; the host ``client`` is beside it.

        A variable that is None is left out.
        """
        storage = {"hosts": {name: {} for name in self.bases}}
        local = {"ansible_connection": "local", "ansible_host": "not.the.storage.host"}
        here = {**local, **self.of_here}
        client = {"hosts": {"client": {"ansible_python_interpreter": sys.executable}, "here": here}}
        groups = {"storage": storage, "clients": client}
        given = {k: v for k, v in {**self.reached, **variables}.items() if v is not None}
        inventory = {"all": {"children": groups, "vars": given}}
        (self.root / "inventory.json").write_text(json.dumps(inventory))
        play = [{"hosts": "storage", "gather_facts": False, "tasks": list(tasks)}]
        (self.root / "play.yml").write_text(json.dumps(play))
        arguments = ["-i", self.root / "inventory.json", *options]
        return Play(self.installed.playbook(self.root / "play.yml", *arguments, **self.env))

    def published(self) -> list[object]:
        return [
            read(f"{base}/docs") if Path(base, "docs").exists() else None
            for base in self.bases.values()
        ]


@pytest.fixture
def fleet(tmp_path: Path, installed_collection: InstalledCollection, server: Sshd) -> Fleet:
    return Fleet(tmp_path, installed_collection, server)


def sync(fleet: Fleet, **options: Any) -> dict[str, Any]:
    return {"dsg.storage.dsg_sync": {**fleet.task, **options}}


def without_arguments(fleet: Fleet) -> dict[str, str]:
    """Return variables without any argument for OpenSSH's client; a home knows the server."""
    home = fleet.root / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copy(fleet.server.known_hosts, home / ".ssh" / "known_hosts")
    fleet.env["HOME"] = str(home)
    return {"ansible_ssh_common_args": "", "ansible_ssh_args": DEFAULT_SSH_ARGS}


def test_without_an_ssh_client_the_same_playbook_goes_by_paramiko(
    fleet: Fleet,
) -> None:
    known = without_arguments(fleet)
    fleet.env["PATH"] = str(fleet.root / "nothing")
    fleet.play(sync(fleet), **known).succeeded()
    assert fleet.published() == [read(fleet.src)] * 2
    Path(fleet.src, "a.txt").write_text("changed")
    jump = fleet.play(sync(fleet), **{**known, "ansible_ssh_common_args": "-J gate"})
    assert jump.result.rc == 2
    assert "Install OpenSSH's client" in jump.said
    assert fleet.published() != [read(fleet.src)] * 2


def test_one_login_for_each_host_and_run(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """A task is one connection to a host; the many tasks of a fleet's playbook share it."""
    with sshd(tmp_path / "ssh", addresses=["127.0.0.1", "127.0.0.2"]) as server:
        fleet = Fleet(tmp_path, installed_collection, server)
        for options in ([], ["--check"]):
            before = logins(server)
            fleet.play(sync(fleet), options=(*options,)).succeeded()
            assert logins(server) - before == 2
        Path(fleet.src, "a.txt").write_text("changed")
        repository = {"name": "docs", "src": fleet.src, "backend": fleet.task["backend"]}
        hosts = {"one": {"ansible_host": "127.0.0.1"}, "two": {"ansible_host": "127.0.0.2"}}
        variables = {**fleet.reached, "ansible_ssh_args": DEFAULT_SSH_ARGS}
        del variables["ansible_host"]
        storage = {"hosts": hosts, "vars": {**variables, "dsg_repositories": [repository]}}
        (tmp_path / "inventory.json").write_text(json.dumps({"storage": storage}))
        before = logins(server)
        with short_folder() as sockets:
            env = {"ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
            inventory = ("-i", tmp_path / "inventory.json")
            Play(fleet.installed.playbook("dsg.storage.sync", *inventory, **env)).succeeded()
            masters = len(os.listdir(sockets))
        assert fleet.published() == [read(fleet.src)] * 2
        assert (masters, logins(server) - before) == (2, 2)


@pytest.mark.parametrize(("length", "masters"), [(69, 1), (80, 0)])
def test_a_long_home_directory(fleet: Fleet, length: int, masters: int) -> None:
    """What is too long for a socket is not shared; every connection is made all the same."""
    with short_folder(length) as sockets:
        assert len(sockets) == length
        fleet.env["ANSIBLE_SSH_CONTROL_PATH_DIR"] = sockets
        fleet.play(sync(fleet), ansible_ssh_args=DEFAULT_SSH_ARGS).succeeded()
        assert len(os.listdir(sockets)) == masters
    assert fleet.published() == [read(fleet.src)] * 2


def logins(server: Sshd) -> int:
    return (server.folder / "log").read_text(encoding="utf-8").count("Accepted ")


@contextmanager
def short_folder(length: int = 0) -> Iterator[str]:
    """Give a directory for sockets, whose paths may not be long; end the masters that listen there.

    Its own path has ``length`` characters, or what is needed.
    """
    prefix = "dsg-cp-".ljust(length - len("/tmp/") - 8, "x")
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp") as folder:
        yield folder
        for socket in Path(folder).iterdir():
            end = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "anything"]
            subprocess.run(end, check=False, stderr=subprocess.DEVNULL)


def test_every_host_of_the_group_gets_the_tree(fleet: Fleet) -> None:
    announced = fleet.play(sync(fleet), options=("--check", "--diff")).succeeded()
    assert fleet.published() == [None, None]
    assert not Path(fleet.src, ".dsg").exists()
    done = fleet.play(sync(fleet), options=("--diff",)).succeeded()
    assert done.differences() == announced.differences()
    assert [done.changed(host) for host in fleet.bases] == [1, 1]
    assert fleet.published() == [read(fleet.src)] * 2
    info = {"dsg.storage.dsg_info": {**fleet.task}}
    again = fleet.play(sync(fleet), info).succeeded()
    assert [again.changed(host) for host in fleet.bases] == [0, 0]
    assert [item["in_sync"] for item in again.items() if "in_sync" in item] == [True, True]


def test_the_working_copy_is_on_the_host_that_the_task_is_delegated_to(fleet: Fleet) -> None:
    """The module runs there as a process of its own, with all of the core in its payload."""
    fleet.play({**sync(fleet), "delegate_to": "client"}).succeeded()
    assert fleet.published() == [read(fleet.src)] * 2
    for control_node in ("localhost", "here"):
        again = fleet.play({**sync(fleet), "delegate_to": control_node}).succeeded()
        assert [again.changed(host) for host in fleet.bases] == [0, 0]


def test_both_may_be_on_the_storage_host(fleet: Fleet) -> None:
    task = {**sync(fleet), "delegate_to": "{{ inventory_hostname }}"}
    fleet.play(task, ansible_python_interpreter=sys.executable).succeeded()
    assert fleet.published() == [read(fleet.src)] * 2
    record = Path(fleet.src, ".dsg", "repositories")
    assert len(list(record.iterdir())) == 2
    again = fleet.play(sync(fleet, transport="local"), ansible_python_interpreter=sys.executable)
    assert [again.succeeded().changed(host) for host in fleet.bases] == [0, 0]
    assert len(list(record.iterdir())) == 2, "it is the same repository, reached in the same way"


def test_the_inventory_says_everything(fleet: Fleet, tmp_path: Path) -> None:
    """Templates, and variables that only an encrypted file would hold, come out resolved."""
    (tmp_path / "password").write_text("secret\n")
    vault = tmp_path / "vault.yml"
    vault.write_text(f"the_user: {fleet.server.user}\n")
    encrypt = ("encrypt", "--vault-password-file", str(tmp_path / "password"), str(vault))
    fleet.installed.run("ansible-vault", *encrypt).must_succeed()
    options = ("--vault-password-file", str(tmp_path / "password"), "-e", f"@{vault}")
    fleet.play(
        sync(fleet),
        options=options,
        ansible_user="{{ the_user }}",
        ansible_python_interpreter="{{ '/usr/bin/env' | dirname }}/python3",
    ).succeeded()
    assert fleet.published() == [read(fleet.src)] * 2


@pytest.mark.parametrize(
    ("variables", "options", "code"),
    [
        ({"ansible_port": 1}, {}, "DSG-CONNECT"),
        ({"ansible_host": "-oProxyCommand=x"}, {}, "DSG-ARGUMENT"),
        ({"ansible_ssh_common_args": "-F none"}, {}, "DSG-HOST-KEY"),
        ({"ansible_user": "nobody-here"}, {}, "DSG-AUTHENTICATION"),
        ({"ansible_python_interpreter": "/nowhere/python3"}, {}, "DSG-PYTHON"),
        ({"ansible_connection": "community.docker.docker"}, {}, ""),
        ({"ansible_become": True, "ansible_become_method": "su"}, {}, "DSG-ARGUMENT"),
        ({"ansible_connection": "local"}, {"transport": "ssh"}, "DSG-ARGUMENT"),
        ({}, {"storage_host": {"host": "x"}, "transport": "local"}, "DSG-ARGUMENT"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    fleet: Fleet, variables: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    done = fleet.play(sync(fleet, **options), **variables)
    assert done.result.rc == 2, done.result
    failed = [task["result"] for task in done.result.tasks if task["status"] == "failed"]
    assert len(failed) == 2 or not code
    assert {result["error"]["code"] for result in failed if code} == ({code} if code else set())
    assert fleet.published() == [None, None]


def test_a_host_that_is_away_does_not_hinder_the_others(fleet: Fleet) -> None:
    away = "{{ 1 if inventory_hostname == 'one' else " + str(fleet.server.port) + " }}"
    done = fleet.play(sync(fleet), ansible_port=away)
    assert done.result.rc == 2
    assert fleet.published() == [None, read(fleet.src)]
    assert fleet.play(sync(fleet)).succeeded().changed("one") == 1
    assert fleet.published() == [read(fleet.src)] * 2


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as made:
        yield made


def test_becoming_root_with_the_password_of_the_inventory(
    tmp_path: Path, installed_collection: InstalledCollection, host: World
) -> None:
    """sudo asks for it; it is shown nowhere, and a wrong one changes nothing."""
    fleet = Fleet(tmp_path, installed_collection, host.server)
    user = {"ansible_user": "asked", "ansible_become": True}
    wrong = fleet.play(
        sync(fleet),
        options=("-vvvv", "--limit", "one"),
        **user,
        ansible_become_password="wrong-one",
    )
    wrong.failed("DSG-BECOME")
    assert "wrong-one" not in wrong.said
    assert fleet.published() == [None, None]
    done = fleet.play(sync(fleet), options=("-vvvv",), **user, ansible_become_password=PASSWORD)
    done.succeeded()
    assert PASSWORD not in done.said
    assert fleet.published() == [read(fleet.src)] * 2
    assert {Path(base, "docs").stat().st_uid for base in fleet.bases.values()} == {0}
    assert "asked : " in host.sudo_log()


def vaulted(fleet: Fleet, **secrets: str) -> tuple[str, ...]:
    """Write variables, each encrypted by itself, beside the inventory; return the options to read them."""
    key = fleet.root / "vault-key"
    key.write_text("the key of the vault\n")
    texts = []
    for name, secret in secrets.items():
        words = ("encrypt_string", "--vault-password-file", str(key), "--name", name, secret)
        texts.append(fleet.installed.run("ansible-vault", *words).must_succeed().stdout)
    folder = fleet.root / "group_vars"
    folder.mkdir(exist_ok=True)
    (folder / "all.yml").write_text("\n".join(texts))
    assert all(f"{name}: !vault |" in "".join(texts) for name in secrets)
    return ("--vault-password-file", str(key))


def holding(root: Path, text: str) -> list[str]:
    """Name the files below a directory that hold a text."""
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in found if text.encode() in path.read_bytes()]


@pytest.fixture
def locked(
    tmp_path: Path, installed_collection: InstalledCollection, host: World
) -> tuple[Fleet, dict[str, str]]:
    """A fleet that opens by passwords alone, and the variables for it: no key, nothing for ssh."""
    fleet = Fleet(tmp_path, installed_collection, host.server)
    bare = without_arguments(fleet)
    return fleet, {**bare, "ansible_ssh_private_key_file": "", "ansible_user": "asked"}


def test_passwords_that_are_vaulted_in_the_inventory(
    locked: tuple[Fleet, dict[str, str]], host: World
) -> None:
    """One to log in and one for sudo; they are in nothing that is said or written."""
    fleet, variables = locked
    both = {"ansible_password": PASSWORD, "ansible_become_password": PASSWORD}
    options = (*vaulted(fleet, **both), "-vvvv", "--diff")
    done = fleet.play(sync(fleet), options=options, **variables, ansible_become=True)
    done.succeeded()
    assert "sub/b.txt" in done.said, "it says a lot"
    assert PASSWORD not in done.said
    assert PASSWORD not in json.dumps(done.result.tasks)
    assert holding(fleet.root, PASSWORD) == []
    assert fleet.published() == [read(fleet.src)] * 2
    assert {Path(base, "docs").stat().st_uid for base in fleet.bases.values()} == {0}


@pytest.mark.parametrize("more", [{}, {"delegate_to": "localhost"}], ids=["direct", "delegated"])
def test_what_ansible_asks_for_and_the_play_says(
    locked: tuple[Fleet, dict[str, Any]], tmp_path: Path, more: dict[str, str]
) -> None:
    """`--ask-pass`, `--ask-become-pass` and `remote_user`, wherever the working copy is."""
    fleet, variables = locked
    told = tmp_path / "told"
    told.write_text(f"{PASSWORD}\n")
    options = ("--connection-password-file", str(told), "--become-password-file", str(told))
    task = {**sync(fleet), "remote_user": variables["ansible_user"], "become": True, **more}
    fleet.play(task, options=options, **{**variables, "ansible_user": None}).succeeded()
    assert fleet.published() == [read(fleet.src)] * 2
    assert {Path(base, "docs").stat().st_uid for base in fleet.bases.values()} == {0}


@pytest.mark.parametrize("kind", ["password", "become_password"])
def test_a_password_of_the_host_delegated_to_is_for_nobody_else(
    locked: tuple[Fleet, dict[str, Any]], kind: str
) -> None:
    """Ansible puts it where it has what it asked for; it would be the right one here."""
    fleet, variables = locked
    task = {**sync(fleet), "delegate_to": "here", "become": True}
    other = {"password": "become_password", "become_password": "password"}[kind]
    # Without a password it is ssh that connects, which knows no key of the host here.
    refused = {"password": "DSG-HOST-KEY", "become_password": "DSG-BECOME"}[kind]
    given = {**variables, f"ansible_{other}": PASSWORD}
    fleet.of_here = {f"ansible_{kind}": PASSWORD, "ansible_host": "localhost"}
    failed = [one for one in fleet.play(task, **given).result.tasks if one["status"] == "failed"]
    assert {one["result"]["error"]["code"] for one in failed} == {refused}
    assert fleet.published() == [None, None]


@pytest.mark.parametrize("which", ["ansible_password", "ansible_become_password"])
def test_a_wrong_vaulted_password_is_not_said_either(
    locked: tuple[Fleet, dict[str, str]], which: str
) -> None:
    fleet, variables = locked
    both = {"ansible_password": PASSWORD, "ansible_become_password": PASSWORD, which: "wrong-one"}
    options = (*vaulted(fleet, **both), "-vvvv", "--limit", "one")
    done = fleet.play(sync(fleet), options=options, **variables, ansible_become=True)
    done.failed({"ansible_password": "DSG-AUTHENTICATION"}.get(which, "DSG-BECOME"))
    assert not any(secret in done.said for secret in both.values())
    assert fleet.published() == [None, None]


def test_a_password_does_not_go_with_arguments_for_openssh(
    locked: tuple[Fleet, dict[str, str]],
) -> None:
    """A jump host would be asked for it as well, or ask for it: it is refused before anything begins."""
    fleet, variables = locked
    options = (*vaulted(fleet, ansible_password=PASSWORD), "-vvvv", "--limit", "one")
    jump = {**variables, "ansible_ssh_common_args": "-J gate"}
    done = fleet.play(sync(fleet), options=options, **jump)
    failed = done.failed("DSG-ARGUMENT")
    assert failed["error"]["object"] == "-J gate"
    assert "ansible_ssh_common_args" in failed["error"]["next_step"]
    assert PASSWORD not in done.said
    assert fleet.published() == [None, None]


def test_the_status_of_a_fleet_in_every_form(fleet: Fleet, tmp_path: Path) -> None:
    """With a host that is away, one that was written to, and one with a process in a work area."""
    fleet.play(sync(fleet)).succeeded()
    Path(fleet.bases["one"], "docs", "a.txt").write_text("behind our back")
    left = Path(fleet.bases["two"], ".dsg", "docs.stage.dead-1")
    left.mkdir()
    forms = {key: str(tmp_path / f"status.{key}") for key in ("html", "prom", "json")}
    variables = {
        "dsg_repositories": [{"name": "docs", "src": fleet.src, "backend": fleet.task["backend"]}],
        "dsg_report": forms["html"],
        "dsg_metrics": forms["prom"],
        "dsg_status_json": forms["json"],
    }
    hosts = {**{name: {} for name in fleet.bases}, "away": {"ansible_port": 1}}
    group = {"hosts": hosts, "vars": {**fleet.reached, **variables}}
    (tmp_path / "inventory.json").write_text(json.dumps({"storage": group}))
    with subprocess.Popen(["sleep", "1000"], cwd=left) as process:
        done = fleet.installed.playbook("dsg.storage.status", "-i", tmp_path / "inventory.json")
        process.kill()
    assert done.rc == 2, "a host is away"
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if " docs " in line}
    assert "  in sync  " in rows["one"]
    assert "  unreachable (DSG-CONNECT)  " in rows["away"]
    assert max(len(line) for line in rows.values()) <= 120
    assert "    - a.txt: has 15 bytes instead of 1" in lines
    said = " ".join(done.stdout.split())
    assert f"- pid {process.pid} (sleep) of {fleet.server.user} in {left}" in said
    assert "3 hosts, 3 repositories: 2 in sync, 1 unreachable; 2 errors, 1 warning." in done.stdout
    found = json.loads(Path(forms["json"]).read_text())
    assert [one["state"] for one in found["repositories"]] == ["in sync", "in sync", "unreachable"]
    assert found["repositories"][0]["drift"]["count"] == 1
    assert "DSG-CONNECT" in Path(forms["html"]).read_text()
    labels = f'host="away",repository="docs",location="{fleet.root}/away/docs"'
    assert f"dsg_up{{{labels}}} 0" in Path(forms["prom"]).read_text()


def test_a_report_that_is_delegated_is_made_there(fleet: Fleet) -> None:
    info = {"dsg.storage.dsg_info": {**fleet.task}, "register": "found"}
    results = (
        "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars)"
    )
    results += " | map(attribute='found', default={}))) }}"
    task = {"dsg.storage.dsg_report": {"results": results}, "run_once": True}
    done = fleet.play(info, {**task, "delegate_to": "client"}).succeeded()
    (told,) = [item for item in done.items() if "totals" in item]
    assert (told["totals"]["hosts"], told["totals"]["absent"]) == (2, 2)
    assert told["table"][2].startswith("one ")


def test_snapshots_are_worked_on_where_they_are_and_fetched_to_where_working_copies_are(
    fleet: Fleet,
) -> None:
    """``dsg_snapshot`` is an ordinary module over there; ``dsg_fetch`` brings to the control node."""
    first = read(fleet.src)
    fleet.play(sync(fleet)).succeeded()
    Path(fleet.src, "a.txt").write_text("second")
    fleet.play(sync(fleet)).succeeded()
    names = {key: fleet.task[key] for key in ("repository", "backend")}
    dest = f"{fleet.root}/out-{{{{ inventory_hostname }}}}"
    bring = {"dsg.storage.dsg_fetch": {**names, "snapshot": 1, "dest": dest}}
    back = {"dsg.storage.dsg_snapshot": {**names, "state": "restored", "snapshot": 1}}
    keep = {**names, "state": "pruned", "keep": {"last": 1}}
    done = fleet.play(
        bring, back, {"dsg.storage.dsg_snapshot": keep}, ansible_python_interpreter=sys.executable
    ).succeeded()
    assert [done.changed(host) for host in fleet.bases] == [3, 3]
    assert fleet.published() == [first] * 2
    assert [read(f"{fleet.root}/out-{host}") for host in fleet.bases] == [first] * 2
    for base in fleet.bases.values():
        assert not any(Path(base, ".dsg", "docs").iterdir())
    client = {**bring["dsg.storage.dsg_fetch"], "snapshot": 3, "dest": f"{dest}-by-client"}
    fleet.play({"dsg.storage.dsg_fetch": client, "delegate_to": "client"}).succeeded()
    assert read(f"{fleet.root}/out-one-by-client") == first
