# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Working copies on the control node, the repository on a storage host with OpenZFS, over ssh."""

from __future__ import annotations

import json
import subprocess
import sys
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


@pytest.mark.parametrize("who", list(ACCESS))
def test_the_main_job_from_the_control_node(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, who: str
) -> None:
    """Both privilege models, and becoming root: init, sync, clone, conflict, nothing to do."""
    parent = f"tank/for-{who}"
    ground = StorageGround(tmp_path, installed_collection, guest.host, "far", parent, f"/srv/{who}")
    definition = {
        **ground.definition,
        "src": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        "mountpoint": f"/srv/{who}",
    }
    served = {"name": "dsg", "parents": [parent], "create": False}
    users = {"dsg_service_users": [served]} if who == "dsg" else {}
    ground.define(definition, **users)
    ground.play("provision").succeeded()
    access = dict(ACCESS[who])
    ground.define(definition, user=access.pop("user"), dsg_transport="ssh", **access)
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
