# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provisioning by ansible-playbook over ssh, with the playbooks that docs/provisioning.md shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _core.backends.zfs.rights import REQUIRED

from tests.integration.pages import Page
from tests.integration.playbooks import Play
from tests.tools.collection import ROOT, InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import Guest

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

BLOCK = re.compile(r"^```yaml\n(# (\w+\.yml)\n.*?)^```$", re.MULTILINE | re.DOTALL)


class Site:
    """The page's playbooks, and an inventory with the guest as its only storage host."""

    def __init__(self, root: Path, installed: InstalledCollection, guest: Guest) -> None:
        self.root, self.installed, self.guest = root, installed, guest
        text = (ROOT / "docs" / "provisioning.md").read_text(encoding="utf-8")
        for block, name in BLOCK.findall(text):
            (root / name).write_text(block, encoding="utf-8")
        inventory = json.dumps({"storage": guest.host.bed.inventory()["testbed"]})
        (root / "inventory.json").write_text(inventory, encoding="utf-8")

    def play(self, playbook: str, *options: str, **extra: Any) -> Play:
        arguments = ["-i", self.root / "inventory.json", *options, "-e", json.dumps(extra)]
        path = self.root / playbook
        return Play(self.installed.playbook(path, *arguments, ANSIBLE_PIPELINING="true"))

    def changed(self, playbook: str, *options: str) -> tuple[int, list[str]]:
        """Return how many tasks changed something, and all the commands that they tell."""
        play = self.play(playbook, "--diff", *options).succeeded()
        commands = [text for item in play.items() for text in item.get("commands", [])]
        return play.changed(self.guest.host.name), commands

    def held(self, playbook: str, changes: int) -> list[str]:
        """Check, run and run again: the check equals the run, and the second run does nothing."""
        predicted = self.changed(playbook, "--check")
        done = self.changed(playbook)
        assert predicted == done and done[0] == changes, (predicted, done)
        assert self.changed(playbook) == (0, [])
        return done[1]


@pytest.fixture
def site(tmp_path: Path, installed_collection: InstalledCollection, guest: Guest) -> Iterator[Site]:
    yield Site(tmp_path, installed_collection, guest)
    guest.do("provisioning.clean", pools=["depot"], disks=guest.host.disks[1:])


def test_the_documented_playbooks(site: Site) -> None:
    """An empty host gets its pool, its dataset and its grant; each once."""
    host = site.guest.host
    (created,) = site.held("pools.yml", 1)
    disks = "/dev/disk/by-id/virtio-dsg-data"
    assert created == (
        "zpool create -o ashift=12 -o autotrim=on -O compression=lz4 -O mountpoint=none "
        f"depot mirror {disks}2 {disks}3 log {disks}4"
    )
    assert site.held("datasets.yml", 1) == [
        "zfs create -o mountpoint=/srv/archive -o recordsize=1M -o quota=500M -o atime=off "
        "-o 'org.example:owner=storage team' depot/archive",
    ]
    assert site.held("grants.yml", 1) == ["zfs allow -g backup hold,send,snapshot depot/archive"]
    host.run("zfs", "set", "atime=on", "depot/archive")
    assert site.changed("datasets.yml") == (1, ["zfs set atime=off depot/archive"])
    host.run("zfs", "allow", "-g", "backup", "destroy", "depot/archive")
    assert site.changed("grants.yml") == (1, ["zfs unallow -g backup destroy depot/archive"])

    host.run("zpool", "export", "depot")
    changes, (imported,) = site.changed("pools.yml")
    assert changes == 1 and imported.startswith("zpool import ")


def test_a_disk_that_carries_something(site: Site) -> None:
    """Refused in the dry run and in the run, with the same words; taken with consent for it."""
    host = site.guest.host
    host.run("mkfs.ext4", "-q", "-F", host.disks[2])
    for options in (["--check"], []):
        failed = site.play("pools.yml", *options).failed("DSG-DISK")
        assert failed["changed"] is False
        assert failed["error"]["details"] == [
            f"{host.disks[2]}: /dev/vdd carries ext4 (not named in `overwrite`)"
        ]
    others = [disk for disk in host.disks if disk != host.disks[2]]
    site.play("pools.yml", dsg_overwrite=others).failed("DSG-DISK")
    site.play("pools.yml", dsg_overwrite=[host.disks[2]]).succeeded()
    assert host.run("zpool", "list", "-H", "-o", "health", "depot").stdout == "ONLINE\n"
    # Its consent does no harm afterwards.
    again = site.play("pools.yml", dsg_overwrite=[host.disks[2]]).succeeded()
    assert again.changed(host.name) == 0


DELEGATE = """
- hosts: storage
  gather_facts: false
  roles:
    - role: dsg.storage.delegation
      vars:
        delegation_users:
          - name: dsg
            parents: [tank/dsg]
            create: false
"""


def test_a_delegation_is_taken_back(site: Site) -> None:
    """Nothing of it is left, what the user published stays, and others may be delegated anew."""
    host = site.guest.host
    (site.root / "delegate.yml").write_text(DELEGATE, encoding="utf-8")
    host.run("zfs", "allow", "-u", "dsg", "mountpoint,send", "tank/dsg")
    site.play("delegate.yml").succeeded()
    _swap_the_container(site)
    granted = host.run("zfs", "allow", "tank/dsg").stdout
    wanted = ["create", ",".join(sorted(REQUIRED))]
    assert re.findall(r"^\tuser dsg (.*)$", granted, re.MULTILINE) == wanted
    granted = host.run("zfs", "allow", "tank/dsg/.dsg").stdout.partition("tank/dsg -")[0]
    assert re.findall(r"^\tuser dsg (.*)$", granted, re.MULTILINE) == ["create"]
    files = ("/usr/local/libexec/dsg-storage", "/etc/dsg/helper.json", "/etc/sudoers.d/dsg-storage")
    modes = host.run("stat", "-c", "%U %G %a", *files).stdout.splitlines()
    assert modes == ["root root 755", "root root 644", "root root 440"]
    rules = [
        line for line in host.run("cat", files[2]).stdout.splitlines() if line[:1] not in ("", "#")
    ]
    assert rules == [f"dsg ALL=(root) NOPASSWD: {files[0]} helper"]
    site.guest.do("delegation.publish_and_leave", user="dsg")
    helper = ("sudo", "-n", "/usr/local/libexec/dsg-storage", "helper")
    assert host.run(*helper, user="dsg", input="").returncode == 0

    undo = {"delegation_state": "absent"}
    predicted = site.play("delegate.yml", "--check", **undo).succeeded().changed(host.name)
    assert site.play("delegate.yml", **undo).succeeded().changed(host.name) == predicted > 0
    assert site.play("delegate.yml", **undo).succeeded().changed(host.name) == 0
    assert host.run("zfs", "allow", "tank/dsg").stdout == ""
    for path in ("/etc/dsg/helper.json", "/etc/sudoers.d/dsg-storage"):
        assert host.run("test", "-e", path, check=False).returncode == 1, path
    assert host.run(*helper, user="dsg", input="", check=False).returncode != 0
    site.guest.do("delegation.refused_and_removed", user="dsg")

    # A publish parent that was destroyed took its grants with it: rule and configuration go all the same.
    site.play("delegate.yml").succeeded()
    gone = [{"name": "dsg", "parents": ["tank/gone"], "create": False}]
    assert site.play("delegate.yml", delegation_users=gone, **undo).succeeded().changed(host.name)
    assert host.run(*helper, user="dsg", input="", check=False).returncode != 0
    for dataset in ("tank/dsg", "tank/dsg/.dsg"):
        host.run("zfs", "unallow", "-u", "dsg", dataset)


def test_a_user_that_is_there_is_left_as_it_is(site: Site) -> None:
    """One that may not log in gets the rights, and nothing else; one that is not there is made."""
    host = site.guest.host
    (site.root / "delegate.yml").write_text(DELEGATE, encoding="utf-8")
    before = host.run("getent", "passwd", "games").stdout
    assert before.endswith("/nologin\n")
    for name, made in (("games", False), ("messenger", True)):
        users = [{"name": name, "parents": ["tank/dsg"], "shell": "/bin/bash"}]
        announced = site.play("delegate.yml", "--check", delegation_users=users).succeeded()
        done = site.play("delegate.yml", delegation_users=users).succeeded()
        for play in (announced, done):
            changed = [task["task"] for task in play.result.tasks if task["result"].get("changed")]
            assert any("Create the service users" in task for task in changed) is made, changed
        if made:
            assert host.run("getent", "passwd", name).stdout.endswith("/bin/bash\n")
            _deleted_before_it_is_taken_back(site, users)
        else:
            _the_last_one_is_taken_off_the_list(site)
            _a_former_user(site, name)
    assert host.run("getent", "passwd", "games").stdout == before


def _the_last_one_is_taken_off_the_list(site: Site) -> None:
    """Nobody reaches the helper any more; the grants stay until they are taken back."""
    host = site.guest.host
    granted = host.run("zfs", "allow", "tank/dsg").stdout
    changes = [
        site.play("delegate.yml", *options, delegation_users=[]).succeeded().changed(host.name)
        for options in (["--check"], [], ["--check"], [])
    ]
    assert changes == [1, 1, 0, 0]
    kept = host.run("ls", "/etc/dsg/helper.json", "/etc/sudoers.d/dsg-storage", check=False)
    assert kept.stdout == ""
    assert host.run("zfs", "allow", "tank/dsg").stdout == granted != ""


def _a_former_user(site: Site, name: str) -> None:
    """What docs/security.md shows revokes all of it, and does nothing the second time."""
    host = site.guest.host
    block = Page("docs/security.md", site.root, {"publisher": name}).yaml("# former.yml")
    (site.root / "former.yml").write_text(block, encoding="utf-8")
    commands = site.held("former.yml", 1)
    assert {command.rpartition(" ")[2] for command in commands} == {"tank/dsg", "tank/dsg/.dsg"}
    assert host.run("zfs", "allow", "tank/dsg/.dsg").stdout == ""


def _deleted_before_it_is_taken_back(site: Site, users: list[dict[str, Any]]) -> None:
    """OpenZFS knows the number alone: it is not said that all was taken back, but what to do."""
    host = site.guest.host
    host.run("userdel", "--remove", users[0]["name"], check=False)
    undo = {"delegation_users": users, "delegation_state": "absent"}
    said = [site.play("delegate.yml", *options, **undo).failed() for options in (["--check"], [])]
    assert said[0]["msg"] == said[1]["msg"]
    kept = host.run("ls", "/etc/dsg/helper.json", "/etc/sudoers.d/dsg-storage", check=False)
    assert kept.stdout == "", "all else is taken back"
    assert "(unknown: " in host.run("zfs", "allow", "tank/dsg").stdout
    commands = re.findall(r"`(zfs unallow [^`]*)`", said[0]["msg"])
    assert [command.split()[-1] for command in commands] == ["tank/dsg", "tank/dsg/.dsg"]
    host.run("sh", "-ec", "\n".join(commands))
    assert host.run("zfs", "allow", "tank/dsg/.dsg").stdout == ""
    assert site.play("delegate.yml", **undo).succeeded().changed(host.name) == 0


def _swap_the_container(site: Site) -> None:
    """Who may rename puts a dataset that would be mounted, and all below it, into the container's place."""
    host = site.guest.host
    host.run("zfs", "rename", "-u", "tank/dsg/.dsg", "tank/dsg/away")
    host.run("zfs", "create", "-u", "tank/dsg/.dsg")
    try:
        play = site.play("delegate.yml").succeeded()
        kept = host.run("zfs", "get", "-H", "-o", "value", "canmount,mountpoint", "tank/dsg/.dsg")
        assert kept.stdout.split() == ["off", "none"]
        assert play.changed(host.name) == 2, "its properties, and its grant"
        tasks = [task for task in play.result.tasks if "Look for" not in task["task"]]
        items = [i for t in tasks for i in t["result"].get("results", [t["result"]])]
        done = [" ".join(text.split()[:2]) for item in items for text in item.get("commands", [])]
        assert done[0] == "zfs unallow" and done[-1] == "zfs allow", "nobody renames meanwhile"
        assert done.index("zfs set") < done.index("zfs allow"), done
        host.run("zfs", "destroy", "tank/dsg/.dsg")
    finally:
        host.run("zfs", "rename", "-u", "tank/dsg/away", "tank/dsg/.dsg")


REPOSITORY = """
- hosts: storage
  gather_facts: false
  roles:
    - role: dsg.storage.repository
      vars:
        repository_definitions:
          - name: docs
            backend: {type: zfs, dataset: tank/absent/dsg}
        repository_new_pools: [tank, absent]
        repository_boot_recovery: false
"""
FAR = REPOSITORY.replace("tank/absent", "absent/far")
PLACES = """
for place in /etc/dsg /etc/sudoers.d /usr/local/libexec; do ls -l --time-style=full-iso $place 2>&1; done
cut -d: -f1 /etc/passwd; zfs get -Hr all tank | grep -v -e used -e available -e written; zfs allow tank/dsg
"""


@pytest.mark.parametrize(
    ("playbook", "said", "extra"),
    [
        (DELEGATE, "does not exist", {"name": "courier", "parents": ["tank/typo"]}),
        (DELEGATE, "tank/.dsg", {"name": "courier", "parents": ["tank"]}),
        (DELEGATE, "needs no delegation", {"name": "root", "create": False}),
        (DELEGATE, "no user nobodyhere", {"name": "nobodyhere", "create": False}),
        (REPOSITORY, "its parent tank/absent does not exist", {}),
        (FAR, "dataset does not exist", {}),
    ],
    ids=[
        "no such parent",
        "no container",
        "root itself",
        "no such user",
        "nothing above it",
        "nothing above it on a new pool",
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    site: Site, playbook: str, said: str, extra: dict[str, Any]
) -> None:
    """Before anything is changed, so nothing of a delegation is there by halves."""
    (site.root / "refused.yml").write_text(playbook, encoding="utf-8")
    users = {"delegation_users": [{"parents": ["tank/dsg"], **extra}]} if extra else {}
    before = site.guest.host.run("sh", "-c", PLACES).stdout
    for options in (["--check"], []):
        play = site.play("refused.yml", *options, **users)
        assert play.result.rc == 2 and said in play.said, play.said
        assert site.guest.host.run("sh", "-c", PLACES).stdout == before
