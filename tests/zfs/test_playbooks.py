# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks on a storage host with real OpenZFS, by ansible-playbook over ssh."""

from __future__ import annotations

from pathlib import Path

from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import Guest
from tests.zfs.playbooks import StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

FILES = {"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n", "sub/d.txt": "d\n"}


def test_the_main_job_on_the_storage_host(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> None:
    ground = StorageGround(tmp_path, installed_collection, guest.host, "played")
    ground.write("ann", FILES)

    announced = ground.play("init", "--check", "--diff", dsg_message="First").succeeded()
    assert ground.datasets() == [], "a dry run makes nothing"
    done = ground.play("init", "--diff", dsg_message="First").succeeded()
    assert done.differences() == announced.differences()
    assert (len(done.differences()), done.changed(), announced.changed()) == (4, 1, 1)
    assert ground.datasets() == ["tank/dsg/played", "tank/dsg/played@s1"]
    ground.play("clone", who="ben").succeeded()
    live, ann, ben = ground.trees()
    assert live == ann == ben
    assert set(live) == set(FILES)
    again = ground.play("init sync status verify recover", "--diff", who="all").succeeded()
    assert (again.changed("ann"), again.changed("ben"), again.differences()) == (0, 0, [])
    told = [item["message"] for item in again.items() if "summary" in item and "message" in item]
    assert told == ["First"] * 2

    ground.write("ann", {"a.txt": "longer\n", "b.txt": None})
    expected = [
        "upload         a.txt (changed, 2 -> 7 bytes)",
        "delete remote  b.txt (deleted in the working copy)",
    ]
    before = ground.trees()
    announced = ground.play("sync", "--check", "--diff").succeeded()
    assert ground.trees() == before
    assert (announced.differences(), announced.changed()) == (expected, 1)
    done = ground.play("sync", "--diff").succeeded()
    assert (done.differences(), done.changed()) == (expected, 1)
    assert ground.datasets()[1:] == ["tank/dsg/played@s1", "tank/dsg/played@s2"]

    ground.write("ben", {"a.txt": "Ben's\n"})
    before = ground.trees()
    failed = ground.play("sync", who="ben").failed("DSG-CONFLICT")
    assert [conflict["path"] for conflict in failed["conflicts"]] == ["a.txt"]
    assert ground.trees() == before
    decided = ground.play("sync", "--diff", who="ben", dsg_conflict="local").succeeded()
    assert "conflict, the local version wins" in decided.result.stdout
    ground.play("sync").succeeded()
    live, ann, ben = ground.trees()
    assert live == ann == ben
    assert ground.host.run("cat", f"{ground.live}/a.txt").stdout == "Ben's\n"
    first = f"{ground.live}/.zfs/snapshot/s1"
    assert ground.host.run("cat", f"{first}/a.txt").stdout == "a\n"


def test_a_run_that_fails_is_rolled_back(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> None:
    ground = StorageGround(tmp_path, installed_collection, guest.host, "failing")
    ground.write("ann", FILES)
    ground.play("init").succeeded()
    ground.zfs("set", "refquota=2M", f"{ground.parent}/failing")
    ground.write("ann", {"a.txt": "longer\n"})
    big = f"{ground.home}/ann/big"
    ground.host.run("dd", "if=/dev/urandom", f"of={big}", "bs=1M", "count=8", "status=none")
    live, datasets = ground.tree(ground.live), ground.datasets()
    failed = ground.play("sync").failed("DSG-SYSTEM")
    assert "quota" in failed["msg"]
    assert failed["changed"] is False
    assert (ground.tree(ground.live), ground.datasets()) == (live, datasets)
    status = ground.play("status recover", "--check").succeeded()
    assert status.changed() == 0, "nothing is left to recover"
    ground.zfs("set", "refquota=none", f"{ground.parent}/failing")
    assert ground.play("sync verify").succeeded().changed() == 1
    live, ann, _unused = ground.trees()
    assert live == ann
