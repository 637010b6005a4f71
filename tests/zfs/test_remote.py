# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Working copies on the control node, the repository on a storage host with OpenZFS, over ssh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import Guest
from tests.zfs.playbooks import LISTING, StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

FILES = {"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n", "big": "0123456789" * 1_000_000}
ACCESS: dict[str, dict[str, Any]] = {
    "root": {"user": "root"},
    "admin": {"user": "admin", "ansible_become": True},
    "dsg": {"user": "dsg"},
}


def listing(root: Path) -> dict[str, Any]:
    """Return a local tree as :meth:`StorageGround.tree` returns one of the host."""
    command = [sys.executable, "-c", LISTING, str(root)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def provisioned(
    root: Path, installed: InstalledCollection, guest: Guest, who: str, name: str
) -> StorageGround:
    """Return the ground with a publish parent of its own, reached as ``who``; Ann's and Ben's copies are here."""
    parent, mountpoint = f"tank/{name}-for-{who}", f"/srv/{name}-{who}"
    ground = StorageGround(root, installed, guest.host, name, parent, mountpoint)
    definition = {
        **ground.definition,
        "src": f"{root}/{{{{ inventory_hostname }}}}",
        "mountpoint": mountpoint,
    }
    served = {"name": "dsg", "parents": [parent], "create": False}
    users = {"dsg_service_users": [served]} if who == "dsg" else {}
    ground.define(definition, **users)
    ground.play("provision").succeeded()
    access = dict(ACCESS[who])
    ground.define(definition, user=access.pop("user"), dsg_transport="ssh", **access)
    return ground


@pytest.mark.parametrize("who", list(ACCESS))
def test_the_main_job_from_the_control_node(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, who: str
) -> None:
    """Both privilege models, and becoming root: init, sync, clone, conflict, nothing to do."""
    ground = provisioned(tmp_path, installed_collection, guest, who, "far")
    parent = ground.parent
    ann, ben = tmp_path / "ann", tmp_path / "ben"
    write(ann, FILES)

    announced = ground.play("init", "--check", "--diff").succeeded()
    assert ground.datasets() == [], "a dry run makes nothing"
    done = ground.play("init", "--diff").succeeded()
    assert done.differences() == announced.differences()
    assert ground.tree(ground.live) == listing(ann)
    ground.play("clone", who="ben").succeeded()
    assert listing(ben) == listing(ann)

    write(ann, {"a.txt": "longer\n"})
    (ann / "b.txt").unlink()
    assert ground.play("sync").succeeded().changed() == 1
    assert ground.tree(ground.live) == listing(ann)
    again = ground.play("sync status verify recover", "--diff").succeeded()
    assert (again.changed(), again.differences()) == (0, [])
    assert ground.datasets()[1:] == [f"{parent}/far@s1", f"{parent}/far@s2"]

    write(ben, {"a.txt": "Ben's\n"})
    before = (ground.tree(ground.live), listing(ben))
    failed = ground.play("sync", who="ben").failed("DSG-CONFLICT")
    assert [conflict["path"] for conflict in failed["conflicts"]] == ["a.txt"]
    assert (ground.tree(ground.live), listing(ben)) == before
    ground.play("sync", who="ben", dsg_conflict="local").succeeded()
    ground.play("sync").succeeded()
    assert ground.tree(ground.live) == listing(ann) == listing(ben)


@pytest.mark.parametrize("who", ["root", "dsg"])
def test_history_is_lived_with_from_the_control_node(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, who: str
) -> None:
    """Restored whole and in part, fetched here, verified with damage, pruned as announced."""
    ground = provisioned(tmp_path, installed_collection, guest, who, "lived")
    ann = tmp_path / "ann"
    write(ann, FILES)
    states: list[dict[str, Any]] = []
    for text in ("one\n", "two\n", "three\n"):
        write(ann, {"a.txt": text, f"sub/{text.strip()}": text})
        ground.play("sync" if states else "init").succeeded()
        states.append(listing(ann))

    announced = ground.play("restore", "--check", "--diff", dsg_snapshot=1).succeeded()
    assert ground.tree(ground.live) == states[2]
    done = ground.play("restore", "--diff", dsg_snapshot=1).succeeded()
    assert (announced.changed(), done.changed()) == (1, 1)
    assert "delete         sub/two (deleted)" in announced.said
    assert ground.tree(ground.live) == states[0]
    ground.play("restore", dsg_snapshot=3, dsg_paths=["sub/three"]).succeeded()
    assert ground.tree(ground.live) == {**states[0], "sub/three": states[2]["sub/three"]}
    ground.play("sync").succeeded()
    assert ground.tree(ground.live) == listing(ann)

    here = tmp_path / "fetched"
    ground.play("restore", dsg_snapshot=2, dsg_dest=str(here)).succeeded()
    assert listing(here) == states[1]
    log = ground.play("log").succeeded()
    assert [f"s{number}" in log.said for number in range(1, 6)] == [True] * 5

    announced = ground.play("prune", "--check", dsg_keep={"last": 2}).succeeded()
    assert len(ground.datasets()) == 1 + 5
    done = ground.play("prune", dsg_keep={"last": 2}).succeeded()
    assert announced.said.count("removed") == done.said.count("removed") == 3
    assert ground.datasets()[1:] == [f"{ground.parent}/lived@s{number}" for number in (4, 5)]
    assert ground.play("prune", dsg_keep={"last": 2}).succeeded().changed() == 0

    ground.play("verify", dsg_snapshots=["all"]).succeeded()
    guest.host.run("mount", "-o", "remount,rw", ground.live)
    guest.host.run("dd", f"of={ground.live}/big", "bs=1", "seek=5", "conv=notrunc", input="X")
    guest.host.run("mount", "-o", "remount,ro", ground.live)
    damaged = ground.play("verify")
    damaged.failed("DSG-VERIFY")
    assert "content: big" in damaged.said


@pytest.mark.parametrize("who", ["root", "dsg"])
def test_names_become_portable_on_both_sides(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, who: str
) -> None:
    ground = provisioned(tmp_path, installed_collection, guest, who, "named")
    ann = tmp_path / "ann"
    write(ann, {"Readme": "one", "README": "another", "aux.txt": "a device", "a:b/c?": "deep"})
    before = listing(ann)
    ground.play("init", dsg_names="portable").failed("DSG-PATH")
    assert ground.datasets() == []
    announced = ground.play("init", "--check", "--diff", dsg_names="normalise").succeeded()
    assert listing(ann) == before
    done = ground.play("init", "--diff", dsg_names="normalise").succeeded()
    assert announced.differences() == done.differences()
    assert set(listing(ann)) == {"README", "Readme-2", "aux_.txt", "a_b/c_"}
    assert ground.tree(ground.live) == listing(ann)
    ground.play("undo_names").succeeded()
    assert listing(ann) == before
    assert set(ground.tree(ground.live)) == {"README", "Readme-2", "aux_.txt", "a_b/c_"}


@pytest.mark.parametrize("who", ["root", "dsg"])
@pytest.mark.parametrize("operation", ["init", "sync"])
def test_the_host_loses_its_power_in_mid_transfer(
    tmp_path: Path,
    installed_collection: InstalledCollection,
    guest: Guest,
    who: str,
    operation: str,
) -> None:
    """The playbook ends with an error, the old tree stays, and nobody has to mend anything."""
    ground = provisioned(tmp_path, installed_collection, guest, who, f"cut-{operation}")
    ann = tmp_path / "ann"
    write(ann, FILES)
    if operation == "sync":
        ground.play("init").succeeded()
    before = ground.tree(ground.live) if operation == "sync" else {}
    with (ann / "huge").open("wb") as stream:  # takes an emulated host a minute
        for _unused in range(512):
            stream.write(os.urandom(1 << 20))
    arrived = f'test -n "$(find /run/dsg/mnt -name huge -size +{8 << 11} 2>/dev/null)"'
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ground.play, operation)
        while guest.host.run("sh", "-c", arrived, check=False).returncode != 0:
            assert not running.done(), running.result().said
        guest.host.power_cut()
        ended = running.result(timeout=300)
    guest.hang_up()
    guest.host.boot()
    ended.failed("DSG-CONNECTION")
    assert ground.tree(ground.live) == before
    os.unlink(ann / "huge")
    write(ann, {"a.txt": "new\n"})
    ground.play(operation).succeeded()
    assert ground.tree(ground.live) == listing(ann)
    assert ground.play("recover status verify").succeeded().changed() == 0
    last = 2 if operation == "sync" else 1
    assert ground.datasets() == [
        f"{ground.parent}/{ground.name}",
        *(f"{ground.parent}/{ground.name}@s{number}" for number in range(1, last + 1)),
    ]
