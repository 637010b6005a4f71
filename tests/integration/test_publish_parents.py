# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is declared for publish parents is refused before OpenZFS is asked anything.

What needs OpenZFS is tried in tests/zfs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import Ground
from tests.tools.collection import InstalledCollection


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection) -> Ground:
    return Ground(tmp_path, installed_collection)


def declared(*parents: tuple[str, str]) -> list[dict[str, Any]]:
    """Return definitions of repositories, one below each of these datasets, mounted there."""
    return [
        {
            "name": f"r{number}",
            "backend": {"type": "zfs", "dataset": dataset},
            **({"mountpoint": mountpoint} if mountpoint else {}),
        }
        for number, (dataset, mountpoint) in enumerate(parents)
    ]


def refused(ground: Ground, *parents: tuple[str, str]) -> list[str]:
    """Return what the role says for each of those that it refuses."""
    ground.define(*declared(*parents))
    play = ground.play("provision", "--check")
    assert play.result.rc == 2, play.result
    (task,) = [task["result"] for task in play.result.tasks if task["status"] == "failed"]
    return [item["msg"] for item in task["results"] if item["failed"]]


def test_a_mountpoint_is_a_plain_absolute_path(ground: Ground) -> None:
    wrong = [
        "/srv/a/",
        "//srv/a",
        "/srv//a",
        "/srv/./a",
        "/srv/b/../a",
        "srv/a",
        "/",
        "/srv/..",
        "~/a",
    ]
    good = ["/srv/.a", "/srv/..a/...", ""]
    parents = [(f"tank/p{number}", path) for number, path in enumerate(wrong + good)]
    said = refused(ground, *parents)
    assert len(said) == len(wrong)
    for path, message in zip(wrong, said):
        assert f"cannot be mounted at {path}:" in message and "Nothing was changed" in message


def test_no_two_have_one_mountpoint(ground: Ground) -> None:
    """Nor one the place that another gets by its name."""
    parents = ("tank/a", "/srv/x"), ("tank/b", "/srv/x"), ("tank/c", ""), ("tank/d", "/tank/c")
    said = refused(ground, *parents)
    assert [message.partition(":")[0] for message in said] == [
        *["tank/a, tank/b cannot all be mounted at /srv/x"] * 2,
        *["tank/c, tank/d cannot all be mounted at /tank/c"] * 2,
    ]


def test_none_lies_within_another(ground: Ground) -> None:
    parents = [(name, "") for name in ("tank/a", "tank/a/b/c", "tank/a-b", "tank/ab/c", "tank/b")]
    (message,) = refused(ground, *parents)
    assert "tank/a/b/c would lie within tank/a, a publish parent as well" in message
