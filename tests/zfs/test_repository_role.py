# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role ``repository`` on a storage host: what it makes, keeps, mends and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pages import Page
from tests.integration.playbooks import Play
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import Guest
from tests.zfs.playbooks import StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

PARENT = {
    "mountpoint": "/srv/made",
    "readonly": "on",
    "setuid": "off",
    "devices": "off",
    "atime": "off",
    "canmount": "on",
    "dsg:parent": "1",
}
CONTAINER = {"canmount": "off", "mountpoint": "none", "readonly": "off"}


@pytest.fixture
def ground(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> StorageGround:
    ground = StorageGround(
        tmp_path, installed_collection, guest.host, "docs", "tank/made", "/srv/made"
    )
    ground.definition["mountpoint"] = "/srv/made"
    ground.define(ground.definition)
    return ground


def properties(ground: StorageGround, dataset: str, names: list[str]) -> dict[str, str]:
    """Return properties that were set on the dataset itself."""
    listed = ground.zfs("get", "-Hp", "-o", "property,value,source", ",".join(names), dataset)
    lines = [line.split("\t") for line in listed.splitlines()]
    # OpenZFS gives a canmount that is the default no source.
    return {name: value for name, value, source in lines if source == "local" or value == "on"}


def test_a_publish_parent_is_announced_made_kept_and_mended(ground: StorageGround) -> None:
    before = ground.zfs("list", "-H", "-o", "name")
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert ground.zfs("list", "-H", "-o", "name") == before
    assert ground.host.run("test", "-e", "/srv/made", check=False).returncode == 1
    done = ground.play("provision", "--diff").succeeded()
    assert done.changed() == announced.changed() == 5
    assert properties(ground, "tank/made", list(PARENT)) == PARENT
    assert properties(ground, "tank/made/.dsg", list(CONTAINER)) == CONTAINER
    for options in (["--check"], []):
        assert ground.play("provision", *options).succeeded().changed() == 0

    ground.zfs("set", "atime=on", "readonly=off", "tank/made")
    for options in (["--check", "--diff"], ["--diff"]):
        mended = ground.play("provision", *options).succeeded()
        assert mended.changed() == 1
        assert re.search(r"^-.*tank/made readonly.*off \(local\)", mended.said, re.MULTILINE)
    assert properties(ground, "tank/made", list(PARENT)) == PARENT


def test_a_publish_parent_that_is_there_and_not_mounted(ground: StorageGround) -> None:
    """It is mounted, but hides nothing that came to lie at its place."""
    ground.play("provision").succeeded()
    ground.zfs("unmount", "tank/made")
    ground.host.run("touch", "/srv/made/in-the-way")
    for options in (["--check"], []):
        refused = ground.play("provision", *options)
        assert refused.result.rc != 0 and "/srv/made is not an empty directory" in refused.said
    ground.host.run("rm", "/srv/made/in-the-way")
    for options in (["--check"], []):
        assert ground.zfs("get", "-H", "-o", "value", "mounted", "tank/made").strip() == "no"
        assert ground.play("provision", *options).succeeded().changed() == 1
    assert ground.zfs("get", "-H", "-o", "value", "mounted", "tank/made").strip() == "yes"
    assert ground.play("provision").succeeded().changed() == 0


def test_what_a_crash_left_is_gone_after_the_next_boot(ground: StorageGround, guest: Guest) -> None:
    ground.play("provision").succeeded()
    ground.zfs("create", "-u", "tank/made/.dsg/docs.init.dead-1")
    guest.hang_up()
    guest.host.reboot()
    assert ground.datasets() == []
    state = ("systemctl", "show", "-P", "Result", "-P", "ActiveState", "dsg-recover.service")
    assert set(ground.host.run(*state).stdout.split()) == {"success", "active"}
    order = ("systemctl", "list-dependencies", "--after", "--plain", "local-fs.target")
    assert "dsg-recover.service" in ground.host.run(*order).stdout
    behind = ground.host.run("systemctl", "show", "-P", "After", "dsg-recover.service").stdout
    assert {"zfs-import.target", "zfs-mount.service"} <= set(behind.split())
    cycles = ("journalctl", "-b", "-q", "--grep", "ordering cycle")
    assert ground.host.run(*cycles, check=False).stdout == ""


UNIT = "/etc/systemd/system/dsg-recover.service"
PROGRAM = "/usr/local/libexec/dsg-storage"
UNITS = (
    f"ls {UNIT} /etc/systemd/system/zfs.target.wants/dsg-recover.service 2>/dev/null; "
    "systemctl show -P LoadState dsg-recover.service; systemctl show -P ActiveState dsg-recover.service"
)


def test_recovery_at_boot_is_taken_away_and_set_up_again(ground: StorageGround) -> None:
    """Nothing but the unit goes: the program is also what others start."""

    def units() -> list[str]:
        return ground.host.run("sh", "-c", UNITS).stdout.split()

    ground.play("provision").succeeded()
    ground.host.run("systemctl", "start", "dsg-recover.service")
    before = units()
    assert before[2:] == ["loaded", "active"], before
    beside = ground.host.run("ls", "-A", "/etc/systemd/system/zfs.target.wants").stdout.split()

    announced = ground.play("provision", "--check", "--diff", repository_boot_recovery=False)
    assert units() == before
    done = ground.play("provision", "--diff", repository_boot_recovery=False).succeeded()
    assert done.changed() == announced.succeeded().changed() == 2
    assert units() == ["not-found", "inactive"]
    left = ground.host.run("ls", "-A", "/etc/systemd/system/zfs.target.wants").stdout.split()
    assert left == [name for name in beside if name != "dsg-recover.service"]
    assert ground.host.run("test", "-x", PROGRAM).returncode == 0
    assert properties(ground, "tank/made", list(PARENT)) == PARENT
    for options in (["--check"], []):
        again = ground.play("provision", *options, repository_boot_recovery=False)
        assert again.succeeded().changed() == 0

    assert ground.play("provision").succeeded().changed() == 2
    assert units()[:3] == [*before[:2], "loaded"]


@pytest.fixture
def another(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, request: Any
) -> StorageGround:
    """A publish parent that no other test of this host uses, not there yet."""
    name = request.param
    ground = StorageGround(
        tmp_path, installed_collection, guest.host, "handbook", f"tank/{name}", f"/srv/{name}"
    )
    ground.definition["mountpoint"] = f"/srv/{name}"
    ground.define(ground.definition)
    return ground


def shown(name: str, ground: StorageGround) -> Page:
    """Return a page with this publish parent in place of the one that it shows."""
    mountpoint = str(ground.definition["mountpoint"])
    return Page(name, Path(), {"tank/dsg": ground.parent, "/srv/dsg": mountpoint})


@pytest.mark.parametrize("another", ["undone"], indirect=True)
def test_the_role_is_undone_as_its_page_says(another: StorageGround, tmp_path: Path) -> None:
    """What roles/repository/README.md makes on OpenZFS is taken back by its commands."""
    ground = another
    page = shown("roles/repository/README.md", ground)
    _directory, made = [text for kind, text in page.blocks if kind == "yaml"]
    (tmp_path / "made.yml").write_text(made)
    arguments = ("-i", str(ground.inventory), "--limit", "ann")
    Play(ground.installed.playbook(tmp_path / "made.yml", *arguments)).succeeded()
    ground.write("ann", {"a": "first", "d/b": "bb"})
    ground.play("init").succeeded()
    ground.write("ann", {"a": "second"})
    ground.play("sync").succeeded()
    tree, datasets = ground.tree(ground.live), ground.datasets()
    assert [name.rpartition("@")[2] for name in datasets if "@" in name] == ["s1", "s2"]

    ground.host.run("sh", "-ec", "\n".join(["PATH=/usr/local/libexec:$PATH", *page.lines()]))
    assert (ground.tree(ground.live), ground.datasets()) == (tree, datasets)
    values = ground.zfs("get", "-H", "-o", "value", "dsg:parent,readonly", ground.parent)
    assert values.split() == ["-", "off"]
    for path in (UNIT, PROGRAM):
        assert ground.host.run("test", "-e", path, check=False).returncode == 1
    gone = ground.host.run("zfs", "list", f"{ground.parent}/.dsg", check=False)
    assert "does not exist" in gone.stderr
    ground.host.run("touch", f"{ground.definition['mountpoint']}/by-hand")

    refused = ground.play("provision")
    assert refused.result.rc != 0 and "is not marked as a publish parent" in refused.said
    ground.host.run("rm", f"{ground.definition['mountpoint']}/by-hand")
    ground.zfs("set", "dsg:parent=1", ground.parent)
    ground.play("provision").succeeded()
    ground.write("ann", {"a": "third"})
    ground.play("sync verify").succeeded()
    assert ground.tree(ground.live) == ground.tree(f"{ground.home}/ann")


@pytest.mark.parametrize("another", ["byhand"], indirect=True)
def test_a_publish_parent_that_was_made_by_hand(another: StorageGround) -> None:
    """What docs/transactions.md shows makes what the role would: nothing is left to set."""
    ground = another
    ground.host.run("sh", "-ec", "\n".join(shown("docs/transactions.md", ground).lines()))
    wanted = {**PARENT, "mountpoint": str(ground.definition["mountpoint"])}
    assert properties(ground, ground.parent, list(PARENT)) == wanted
    assert properties(ground, f"{ground.parent}/.dsg", list(CONTAINER)) == CONTAINER
    before = ground.zfs("get", "-Hp", "-r", "-s", "local", "all", ground.parent)
    ground.play("provision").succeeded()
    assert ground.zfs("get", "-Hp", "-r", "-s", "local", "all", ground.parent) == before


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "pool-root": ({"dataset": "tank"}, "below a pool's root"),
    "no-pool": ({"dataset": "nowhere/dsg"}, "'nowhere': dataset does not exist"),
    "no-parent": ({"dataset": "tank/absent/dsg"}, "its parent tank/absent does not exist"),
    "foreign": ({"dataset": "tank/foreign"}, "is not marked as a publish parent"),
    "moved": ({"dataset": "tank/dsg", "mountpoint": "/elsewhere"}, "is mounted at /srv/dsg"),
    "hides": ({"dataset": "tank/new", "mountpoint": "/etc"}, "/etc is not an empty directory"),
    "within": (
        {"dataset": "tank/covered/deep/new"},
        "tank/covered/deep/new lies within tank/covered",
    ),
    "around": ({"dataset": "tank/around"}, "tank/around/inner within tank/around is marked"),
    "nested": (
        {"dataset": "tank/new", "beside": "tank/new/inner"},
        "tank/new/inner would lie within tank/new",
    ),
    "slash": ({"dataset": "tank/new", "mountpoint": "/srv/new/"}, "without a slash at its end"),
    "link": ({"dataset": "tank/new", "mountpoint": "/bin/dsg"}, "it leads to /usr/bin/dsg"),
    "twice": (
        {"dataset": "tank/new", "mountpoint": "/srv/one", "beside": "tank/newer"},
        "tank/new, tank/newer cannot all be mounted at /srv/one",
    ),
    "mounted": ({"dataset": "tank/new", "mountpoint": "/mnt"}, "other is mounted at /mnt"),
    "covered": ({"dataset": "tank/covered"}, "other is mounted at /srv/covered"),
    "beside": ({"dataset": "tank/new", "beside": "tank/foreign"}, "is not marked as"),
    "file": ({"dataset": "tank/new", "mountpoint": "/etc/passwd"}, "is not an empty directory"),
    "owner": ({"dataset": "tank/new", "owner": "dsg"}, "have no owner, group or mode"),
    "both": ({"dataset": "tank/new", "base": "/srv"}, "mutually exclusive"),
}


def test_what_cannot_be_a_publish_parent_is_refused(ground: StorageGround) -> None:
    """Each case is a host of its own to Ansible, so that one run refuses them all."""
    ground.zfs("create", "-u", "tank/foreign")
    ground.zfs("create", "-o", "mountpoint=/srv/covered", "-o", "dsg:parent=1", "tank/covered")
    ground.zfs("create", "-u", "tank/covered/deep")
    for dataset in ("tank/around", "tank/around/inner"):
        ground.zfs("create", "-u", "-o", "mountpoint=none", "-o", "dsg:parent=1", dataset)
    for place in ("/mnt", "/srv/covered"):  # another file system that is empty
        ground.host.run("mount", "-t", "tmpfs", "other", place)
    before = ground.zfs("get", "-Hp", "-s", "local", "all")
    ground.define(hosts={case: definition_of(given) for case, (given, _text) in REFUSED.items()})
    for options in (["--check"], []):
        done = ground.play("provision", *options, who="all").result
        said = {task["host"]: task["result"] for task in done.tasks if task["status"] == "failed"}
        lacking = {
            case: said.get(case)
            for case, (_given, text) in REFUSED.items()
            if text not in str(said.get(case))
        }
        assert lacking == {}
    assert ground.zfs("get", "-Hp", "-s", "local", "all") == before
    ground.host.run("umount", "/mnt", "/srv/covered")
    for dataset in ("tank/covered", "tank/foreign", "tank/around"):
        ground.zfs("destroy", "-r", dataset)


def definition_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a host with one repository on OpenZFS, or one in each of two parents."""
    more = {key: value for key, value in given.items() if key not in ("dataset", "base", "beside")}
    backend = {key: value for key, value in given.items() if key in ("dataset", "base")}
    backends = [backend, *({"dataset": given[key]} for key in ("beside",) if key in given)]
    return {
        "dsg_repositories": [
            {"name": f"docs{number}", "backend": {"type": "zfs", **backend}, **more}
            for number, backend in enumerate(backends)
        ],
    }
