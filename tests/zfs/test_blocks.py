# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A large file that changed in places: what travels, and what a snapshot grows by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import Guest
from tests.zfs.playbooks import StorageGround
from tests.zfs.test_remote import ACCESS, listing

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

Say = Callable[[object], None]
RECORD = 128 * 1024
SIZE = 192 * RECORD
EDITS = (5 * RECORD + 7, 100 * RECORD, 191 * RECORD - 3)  # the last one lies across a border
CHANGED = 4
RECORDS_OF_OURS = 256 * 1024
"""What manifest, history and the file system's own blocks may take."""


@pytest.mark.parametrize("who", ["root", "dsg"])
def test_a_snapshot_grows_by_what_changed(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, say: Say, who: str
) -> None:
    """Also where the file is published read-only, and where it grew."""
    parent = f"tank/blocks-{who}"
    mountpoint = f"/srv/blocks-{who}"
    ground = StorageGround(tmp_path, installed_collection, guest.host, "big", parent, mountpoint)
    definition = {**ground.definition, "src": str(tmp_path / "wc"), "mountpoint": mountpoint}
    served = {"name": "dsg", "parents": [parent], "create": False}
    ground.define(definition, **({"dsg_service_users": [served]} if who == "dsg" else {}))
    ground.play("provision").succeeded()
    ground.define(definition, user=ACCESS[who]["user"], dsg_transport="ssh")
    big = tmp_path / "wc" / "big"
    big.parent.mkdir()
    big.write_bytes(os.urandom(SIZE))
    big.chmod(0o444)
    ground.play("init").succeeded()

    with big.open("r+b") as stream:
        for place in EDITS:
            stream.seek(place)
            stream.write(b"edited")
    ground.play("sync").succeeded()
    assert ground.tree(ground.live) == listing(big.parent)
    first = written(ground, 2)

    with big.open("ab") as stream:
        stream.write(os.urandom(2 * RECORD))
    ground.play("sync").succeeded()
    assert ground.tree(ground.live) == listing(big.parent)
    second = written(ground, 3)
    say({"bytes": SIZE, "4 records changed": first, "2 records more": second})
    assert first <= CHANGED * RECORD + RECORDS_OF_OURS
    assert second <= 3 * RECORD + RECORDS_OF_OURS  # the one that was the last is written again


def written(ground: StorageGround, number: int) -> int:
    """Return how many bytes a snapshot holds that the one before does not."""
    name = f"{ground.parent}/{ground.name}@s{number}"
    return int(ground.zfs("get", "-Hp", "-o", "value", "written", name))
