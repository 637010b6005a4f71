# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks ``restore`` and ``prune``, run by ansible-playbook from the installed tarball."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.playbooks import Ground
from tests.tools.collection import InstalledCollection
from tests.unit.trees import content, untouched


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection) -> Ground:
    """A repository with three snapshots, and a working copy of another person's."""
    ground = Ground(tmp_path, installed_collection)
    ground.publish()
    for text in ("two\n", "three\n"):
        ground.write({"a.txt": text, f"new/{text.strip()}": text})
        ground.play("sync").succeeded()
    return ground


def test_restoring_reaches_every_working_copy(ground: Ground) -> None:
    before = untouched(ground.root)
    announced = ground.play("restore", "--check", "--diff", dsg_snapshot=1).succeeded()
    assert untouched(ground.root) == before
    done = ground.play("restore", "--diff", dsg_snapshot=1, dsg_message="back").succeeded()
    for play in (announced, done):
        assert play.changed() == 1
        assert "delete         new/two (deleted)" in play.said
    assert content(ground.live).keys() == {"a.txt", "b.txt", "sub/c.txt", "sub/d.txt"}
    assert ground.play("restore", dsg_snapshot=1).succeeded().changed() == 0
    ground.play("sync", who="all").succeeded()
    assert content(ground.live) == content(ground.ann) == content(ground.ben)
    ground.play("restore", dsg_snapshot=3, dsg_paths=["new/three"]).succeeded()
    assert (ground.live / "new" / "three").read_text() == "three\n"
    assert (ground.live / "a.txt").read_text() == "a\n"
    play = ground.play("verify").succeeded()
    assert play.changed() == 0


def test_restoring_to_a_directory(ground: Ground) -> None:
    before = content(ground.live)
    dest = ground.root / "old"
    ground.play("restore", "--check", dsg_snapshot=1, dsg_dest=str(dest)).succeeded()
    assert not dest.exists()
    ground.play("restore", dsg_snapshot=2, dsg_paths="new", dsg_dest=str(dest)).succeeded()
    assert content(dest).keys() == {"new/two"}
    assert content(ground.live) == before
    again = ground.play("restore", dsg_snapshot=2, dsg_paths="new", dsg_dest=str(dest))
    assert again.succeeded().changed() == 0
    ground.play("restore", dsg_snapshot=1, dsg_dest=str(dest)).failed("DSG-ARGUMENT")


def test_hosts_that_publish_the_same_bring_it_to_one_directory(ground: Ground) -> None:
    dest = ground.root / "old"
    both = ground.play("restore", who="all", dsg_snapshot=1, dsg_dest=str(dest)).succeeded()
    assert both.changed() == 1  # who comes second finds all of it there
    assert content(dest).keys() == {"a.txt", "b.txt", "sub/c.txt", "sub/d.txt"}


def test_one_repository_and_one_snapshot_have_to_be_named(ground: Ground) -> None:
    assert ground.play("restore").result.rc == 2
    other = {**ground.definition, "name": "other", "src": f"{ground.root}/other"}
    ground.define(ground.definition, other)
    before = untouched(ground.root)
    assert ground.play("restore", dsg_snapshot=1).result.rc == 2
    assert untouched(ground.root) == before
    ground.play("restore", dsg_snapshot=1, dsg_repository="docs").succeeded()
    assert (ground.live / "a.txt").read_text() == "a\n"


def test_two_sets_of_rules_for_one_repository_prune_nothing(ground: Ground) -> None:
    one, other = ({**ground.definition, "keep": keep} for keep in ({"last": 1}, {"monthly": 24}))
    ground.define(one, {**other, "src": f"{ground.root}/other"})
    before = untouched(ground.root)
    for options in (["--check"], []):
        play = ground.play("prune", *options)
        assert play.result.rc == 2 and "two sets of rules" in play.said, play.said
        assert untouched(ground.root) == before
    ground.define(one, {**one, "src": f"{ground.root}/other"})
    assert ground.play("prune", "--check").succeeded().changed() == 1


def test_pruning_shows_a_table_and_does_what_it_says(ground: Ground) -> None:
    ground.play("prune").failed()
    ground.define({**ground.definition, "keep": {"messages": ["nothing"]}})
    before = untouched(ground.root)
    announced = ground.play("prune", "--check").succeeded()
    assert untouched(ground.root) == before
    done = ground.play("prune", dsg_keep={"last": 9}).succeeded()
    for play in (announced, done):
        assert play.changed() == 1
        rows = [line for line in play.said.splitlines() if "docs" in line and "ann@" in line]
        assert ["removed" in row for row in rows] == [True, True, False], play.said
        assert "newest" in rows[2]
    assert not any((ground.base / ".dsg" / "docs").iterdir())
    again = ground.play("prune", who="all").succeeded()
    assert (again.changed("ann"), again.changed("ben")) == (0, 0)
    ground.define(ground.definition)
    assert ground.play("prune", dsg_keep={"last": 1}).succeeded().changed() == 0
    ground.play("sync verify status", who="all").succeeded()
    ground.play("restore", dsg_snapshot=1).failed("DSG-REPOSITORY")


def test_a_name_that_is_no_utf8_is_told_as_any_other(ground: Ground) -> None:
    """Ansible itself refuses the whole result for it: what was removed would not be told."""
    stray, foreign = (os.fsencode(path) for path in (ground.live, ground.base / ".dsg" / "docs"))
    Path(os.fsdecode(stray + b"/\xff\n")).write_text("stray\n")
    os.mkdir(foreign + b"/old\xff")
    found = ground.play("verify").failed("DSG-VERIFY")
    assert found["differences"]["added"] == ["\\udcff\n"]
    assert found["problems"][0]["path"] == "\\udcff\n"
    os.unlink(stray + b"/\xff\n")
    play = ground.play("prune", dsg_keep={"last": 1}).succeeded()
    assert play.changed() == 1
    (told,) = [one["snapshots"] for one in play.items() if "snapshots" in one]
    assert {one["name"]: one["action"] for one in told}["old\\udcff"] == "foreign"
    assert "old" in play.said
    assert os.listdir(foreign) == [b"old\xff"]
