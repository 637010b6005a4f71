# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with empty disks and nothing of ours: what a dry run tells of it is what the run does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.playbooks import Play
from tests.testbed.bed import Bed, Host
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.playbooks import StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

PICTURE = """
zpool list -H; zfs list -H; cut -d: -f1 /etc/passwd; mount -t zfs; for disk in "$@"; do wipefs "$disk"; done
find /etc /usr/local /srv /home /root /run/dsg -xdev ! -path '/root/.ansible*' -printf '%p %m %s\\n' \\
    2>/dev/null | sort
"""


def changes(play: Play) -> list[str]:
    """Return the names of the tasks that changed something, in their order."""
    return [task["task"] for task in play.result.tasks if task["result"].get("changed")]


@pytest.fixture
def empty_host() -> Iterator[Host]:
    with Bed(f"pytest-empty-{os.getpid()}").use(["host1"]) as bed:
        yield bed.host("host1")


def test_all_of_it_is_announced_and_then_done(
    tmp_path: Path, installed_collection: InstalledCollection, empty_host: Host
) -> None:
    """Pool, publish parent, service user, helper and timers, of which nothing is there yet."""
    host = empty_host
    ground = StorageGround(
        tmp_path, installed_collection, host, "docs", "depot/dsg", "/srv/published"
    )
    ground.definition["mountpoint"] = "/srv/published"
    ground.define(
        ground.definition,
        dsg_pools=[{"name": "depot", "vdevs": [{"type": "mirror", "disks": host.disks[:2]}]}],
        dsg_service_users=[{"name": "courier", "parents": ["depot/dsg"]}],
        dsg_maintenance="present",
    )

    def picture() -> list[str]:
        return host.run("sh", "-c", PICTURE, "picture", *host.disks).stdout.splitlines()

    before = picture()
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert picture() == before
    done = ground.play("provision", "--diff").succeeded()
    assert changes(done) == changes(announced)
    assert done.changed() == announced.changed() > 5
    assert host.run("zpool", "list", "-H", "-o", "name,health").stdout == "depot\tONLINE\n"
    assert "user courier" in host.run("zfs", "allow", "depot/dsg").stdout
    for options in (["--check"], []):
        assert ground.play("provision", *options).succeeded().changed() == 0

    # What is on a pool that is only imported is known once it is: a dry run announces nothing of it.
    host.run("zpool", "export", "depot")
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert "depot/dsg will be created" not in announced.said
    assert announced.said.count("is not known before") == 2, announced.said
    done = ground.play("provision", "--diff").succeeded()
    assert changes(done) == changes(announced)
    assert [name.rpartition(" : ")[2] for name in changes(done)] == ["Hold the pool"]
    # Where the parent is gone from it, the run makes it.
    ground.zfs("destroy", "-r", "depot/dsg")
    host.run("zpool", "export", "depot")
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert changes(announced) == changes(done)
    ground.play("provision").succeeded()
    assert "user courier" in host.run("zfs", "allow", "depot/dsg").stdout
    assert ground.play("provision").succeeded().changed() == 0
