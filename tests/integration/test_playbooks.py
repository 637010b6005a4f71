# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks, run by ansible-playbook from the installed tarball on real trees."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.integration.playbooks import Core, Ground, cores
from tests.tools.collection import InstalledCollection
from tests.unit.trees import content, untouched


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection) -> Ground:
    return Ground(tmp_path, installed_collection)


@pytest.mark.parametrize("core", cores(floor=True), ids=lambda core: core.name)
def test_the_main_job_on_every_ansible_core(
    tmp_path: Path, installed_collection: InstalledCollection, core: Core
) -> None:
    ground = Ground(tmp_path, core.on(installed_collection))
    ground.publish()
    assert content(ground.live) == content(ground.ann) == content(ground.ben)
    ground.write({"a.txt": "longer\n"})
    (ground.ann / "b.txt").unlink()
    expected = [
        "upload         a.txt (changed, 2 -> 7 bytes)",
        "delete remote  b.txt (deleted in the working copy)",
    ]
    before = untouched(ground.root)
    announced = ground.play("sync", "--check", "--diff").succeeded()
    assert untouched(ground.root) == before
    assert (announced.differences(), announced.changed()) == (expected, 1)
    done = ground.play("sync", "--diff").succeeded()
    assert (done.differences(), done.changed()) == (expected, 1)
    again = ground.play("sync", "--diff").succeeded()
    assert (again.differences(), again.changed()) == ([], 0)
    ground.write({"a.txt": "Ben's\n"}, ground.ben)
    ground.play("sync", who="ben").failed("DSG-CONFLICT")
    ground.play("sync", who="ben", dsg_conflict="remote").succeeded()
    assert content(ground.live) == content(ground.ann) == content(ground.ben)
    play = ground.play("status verify recover", who="all").succeeded()
    assert (play.changed("ann"), play.changed("ben")) == (0, 0)


def test_provisioning_is_announced_done_and_kept(ground: Ground) -> None:
    before = untouched(ground.root)
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert untouched(ground.root) == before
    done = ground.play("provision", "--diff").succeeded()
    assert done.changed() == announced.changed() == 3
    work_area = ground.base / ".dsg"
    assert ground.base.stat().st_mode & 0o777 == 0o755
    assert work_area.stat().st_mode & 0o777 == 0o700
    marker = work_area / "format.json"
    assert json.loads(marker.read_text()) == {"format": 1, "type": "directory"}
    before = untouched(ground.root)
    assert ground.play("provision", "--check").succeeded().changed() == 0
    marker.write_text('{"format": 2, "type": "directory"}\n')
    assert ground.play("provision").succeeded().changed() == 0
    assert "2" in marker.read_text(), "a marker of another version is not overwritten"
    assert "format" in ground.play("init").failed("DSG-MANIFEST")["msg"]


def test_owner_group_and_mode_are_set_and_must_agree(ground: Ground) -> None:
    group = os.getgroups()[0] if os.getgroups() else os.getegid()
    ours = {**ground.definition, "owner": str(os.geteuid()), "group": str(group), "mode": "0750"}
    ground.define(ours)
    ground.play("provision").succeeded()
    assert ground.base.stat().st_mode & 0o777 == 0o750
    assert (ground.base / ".dsg").stat().st_gid == group
    assert ground.play("provision").succeeded().changed() == 0
    ground.define(ours, {**ours, "name": "other", "mode": "0755"})
    assert "must agree on owner, group and mode" in ground.play("provision").failed()["msg"]


def test_init_is_idempotent_and_its_message_is_kept(ground: Ground) -> None:
    ground.play("provision").succeeded()
    announced = ground.play("init", "--check", "--diff", dsg_message="First").succeeded()
    assert not ground.live.exists()
    done = ground.play("init", "--diff", dsg_message="First").succeeded()
    assert announced.differences() == done.differences()
    assert len(done.differences()) == 4
    assert done.changed() == announced.changed() == 1
    status = ground.play("init status").succeeded()
    assert status.changed() == 0
    assert [item["message"] for item in status.items() if "summary" in item] == ["First"]


def test_sync_before_init_names_the_next_step(ground: Ground) -> None:
    failed = ground.play("sync").failed("DSG-REPOSITORY")
    assert "dsg.storage.provision" in failed["msg"]
    ground.play("provision").succeeded()
    assert "init" in ground.play("sync", "--check").failed("DSG-REPOSITORY")["msg"]


def test_a_conflict_is_shown_path_by_path_and_decided_on_the_command_line(ground: Ground) -> None:
    ground.publish()
    ground.write({"a.txt": "Ann's\n", "b.txt": "Ann's\n", "sub/c.txt": "Ann's\n"})
    ground.write({"a.txt": "Ben's own\n", "b.txt": "Ben's own\n"}, ground.ben)
    ground.play("sync").succeeded()
    before = untouched(ground.base, ground.ann, ground.ben)
    for options in (["--check", "--diff"], ["--diff"]):
        play = ground.play("sync", *options, who="ben")
        failed = play.failed("DSG-CONFLICT")
        assert [conflict["path"] for conflict in failed["conflicts"]] == ["a.txt", "b.txt"]
        assert (failed["changed"], play.changed("ben")) == (False, 0)
        assert "2 paths are in conflict" in play.said
        assert "local:  10 bytes" in play.said
        assert "by ann" in play.said
        assert "c.txt" not in play.said
        assert untouched(ground.base, ground.ann, ground.ben) == before
    decisions = {"dsg_conflict": "local", "dsg_conflict_paths": {"b.txt": "remote"}}
    announced = ground.play("sync", "--check", "--diff", who="ben", **decisions).succeeded()
    status = ground.play("status", who="ben", dsg_checksum=True, **decisions).succeeded()
    (planned,) = [item["plan"] for item in announced.items() if "plan" in item]
    (looked,) = [item for item in status.items() if "summary" in item]
    assert looked["plan"] == planned
    done = ground.play("sync", "--diff", who="ben", **decisions).succeeded()
    assert done.differences() == announced.differences()
    assert [line.partition("conflict, ")[2] for line in done.differences()] == [
        "the local version wins)",
        "the remote version wins)",
        "",
    ]
    assert (ground.live / "a.txt").read_text() == "Ben's own\n"
    assert (ground.live / "b.txt").read_text() == "Ann's\n"


def test_an_emptied_working_copy_is_stopped(ground: Ground) -> None:
    ground.publish()
    for path in content(ground.ann):
        (ground.ann / path).unlink()
    for options in (["--check"], []):
        failed = ground.play("sync", *options).failed("DSG-MAX-DELETE")
        assert "4 of 4 paths" in failed["msg"]
    assert len(content(ground.live)) == 4
    ground.play("sync", dsg_max_delete="100%").succeeded()
    assert len(content(ground.live)) == 0


def test_damage_is_named_by_every_playbook_and_status_still_prints_its_table(
    ground: Ground,
) -> None:
    ground.publish()
    other = {**ground.definition, "name": "other"}
    ground.define(ground.definition, other)
    ground.play("init").succeeded()
    manifest = ground.live / ".dsg" / "manifest.jsonl"
    manifest.write_bytes(b"")
    before = untouched(ground.base)
    ground.define(ground.definition)
    ground.play("sync").failed("DSG-MANIFEST")
    ground.play("verify").failed("DSG-VERIFY")  # one finding beside others
    ground.define(other, ground.definition)
    play = ground.play("status")
    play.failed("DSG-MANIFEST")
    rows = [line.split() for line in play.result.stdout.splitlines() if line.startswith("ann ")]
    rows = [row for row in rows if ":" not in row]  # the recap has one as well
    assert [row[1:3] for row in rows] == [["other", "s1"], ["docs", "-"]], play.said
    assert "failed (DSG-MANIFEST)" in " ".join(rows[1])
    assert "error: ann/docs: [DSG-MANIFEST]" in play.said
    assert untouched(ground.base) == before


def test_verify_says_which_path_differs(ground: Ground) -> None:
    ground.publish()
    ground.play("verify").succeeded()
    path = ground.live / "a.txt"
    status = path.stat()
    path.write_text("A\n")  # same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and time
    (ground.live / "b.txt").unlink()
    (ground.live / "new").touch()
    play = ground.play("verify")
    failed = play.failed("DSG-VERIFY")
    assert failed["differences"]["counts"] == {"added": 1, "missing": 1, "changed": 1}
    for line in ("missing: b.txt", "content: a.txt", "added: new"):
        assert line in play.said


def test_a_write_behind_our_back_stops_the_sync(ground: Ground) -> None:
    ground.publish()
    (ground.live / "b.txt").write_text("somebody wrote here\n")
    ground.write({"a.txt": "Ann's\n"})
    before = untouched(ground.base, ground.ann)
    for options in (["--check"], []):
        assert "b.txt" in ground.play("sync", *options).failed("DSG-DRIFT")["msg"]
        assert untouched(ground.base, ground.ann) == before


def test_recover_tells_then_does_then_has_nothing_to_do(ground: Ground) -> None:
    ground.publish()
    (ground.base / ".dsg" / "docs.stage.dead-1").mkdir()
    (ground.ann / ".dsg" / "staging" / "dead-2").mkdir()
    before = untouched(ground.base, ground.ann)
    announced = ground.play("recover", "--check", "--diff").succeeded()
    assert untouched(ground.base, ground.ann) == before
    assert announced.changed() == 1
    assert len(announced.differences()) == 2
    assert "2" in str([item["summary"]["unfinished"] for item in ground.play("status").items()
                       if "summary" in item])  # fmt: skip
    done = ground.play("recover", "--diff").succeeded()
    assert (done.changed(), len(done.differences())) == (1, 2)
    assert not (ground.base / ".dsg" / "docs.stage.dead-1").exists()
    assert not (ground.ann / ".dsg" / "staging" / "dead-2").exists()
    assert ground.play("recover recover").succeeded().changed() == 0


def test_the_table_shows_who_is_in_step(ground: Ground) -> None:
    ground.publish()
    ground.write({"a.txt": "Ann's\n"})
    ground.play("sync").succeeded()
    play = ground.play("status", who="all").succeeded()
    lines = [line for line in play.result.stdout.splitlines() if " docs " in line]
    rows = {line.split()[0]: line for line in lines}
    assert list(rows) == ["ann", "ben"]
    assert rows["ann"].split()[1:3] == ["docs", "s2"]
    assert "  in sync  " in rows["ann"]
    assert "  1 download  " in rows["ben"]
    assert "2 hosts, 2 repositories: 1 in sync, 1 differs; no problems." in play.said


def test_both_at_once_lose_nothing(ground: Ground) -> None:
    ground.publish()
    ground.write({"a.txt": "Ann's\n", "new-by-ann": ""})
    ground.write({"b.txt": "Ben's\n", "new-by-ben": ""}, ground.ben)
    ground.play("sync sync", "--forks", "2", who="all").succeeded()
    assert content(ground.live) == content(ground.ann) == content(ground.ben)
    assert {"new-by-ann", "new-by-ben"} < set(content(ground.live))
    assert (ground.live / "a.txt").read_text() + (ground.live / "b.txt").read_text() == (
        "Ann's\nBen's\n"
    )
    assert len(list((ground.live / ".dsg" / "history").iterdir())) == 3


def test_options_of_a_definition_reach_the_module(ground: Ground) -> None:
    ground.publish()
    ground.define(
        {**ground.definition, "direction": "pull", "ignore": ["*.tmp"], "message": "Nightly"}
    )
    ground.write({"a.txt": "Ann's\n", "x.tmp": ""})
    play = ground.play("sync").succeeded()
    (item,) = [item for item in play.items() if "plan" in item]
    assert item["plan"]["paths"] == {"held": ["a.txt"]}
    assert play.changed() == 0
    status = ground.play("status sync status", dsg_direction="push").succeeded()
    before, behind = [item for item in status.items() if "summary" in item]
    assert before["plan"]["paths"] == {"upload": ["a.txt"]}
    assert behind["message"] == "Nightly"
    assert "x.tmp" not in content(ground.live)


def test_names_are_shown_made_portable_and_put_back(ground: Ground) -> None:
    ground.publish()
    ground.write({"aux.txt": "a device"})
    before = untouched(ground.base, ground.ann)
    announced = ground.play("sync", "--check", "--diff", dsg_names="normalise").succeeded()
    assert untouched(ground.base, ground.ann) == before
    assert announced.differences()[0] == "rename         aux.txt -> aux_.txt"
    assert ground.play("sync", dsg_names="portable").failed()["error"]["code"] == "DSG-PATH"
    ground.define({**ground.definition, "names": "normalise"})
    done = ground.play("sync", "--diff").succeeded()
    assert done.differences() == announced.differences()
    (item,) = [item for item in done.items() if "plan" in item]
    assert item["names"]["renamed"] == [{"old": "aux.txt", "new": "aux_.txt"}]
    assert content(ground.live)["aux_.txt"] == content(ground.ann)["aux_.txt"]
    assert ground.play("sync").succeeded().changed() == 0
    announced = ground.play("undo_names", "--check", "--diff").succeeded()
    assert (announced.changed(), "aux_.txt" in content(ground.ann)) == (1, True)
    assert ground.play("undo_names", "--diff").succeeded().differences() == announced.differences()
    assert "aux.txt" in content(ground.ann)
    assert "aux_.txt" in content(ground.live)
    assert ground.play("undo_names").succeeded().changed() == 0
    status = ground.play("status").succeeded()
    assert [item["in_sync"] for item in status.items() if "summary" in item] == [True]


def test_what_is_misspelled_is_an_error_and_not_nothing(ground: Ground) -> None:
    ground.define({**ground.definition, "conflicts": "local"})
    assert "conflicts" in ground.play("sync").failed()["msg"]
    ground.define({**ground.definition, "direction": "up"})
    assert "direction" in ground.play("sync").failed()["msg"]
    inventory = json.loads(ground.inventory.read_text())
    del inventory["storage"]["vars"]["dsg_repositories"]
    ground.inventory.write_text(json.dumps(inventory))
    for playbook in ("provision", "sync", "verify"):
        assert "'dsg_repositories' is undefined" in ground.play(playbook).said, playbook


def test_the_action_group_sets_defaults_for_the_modules(ground: Ground, tmp_path: Path) -> None:
    ground.publish()
    play = [
        {
            "hosts": "ann",
            "gather_facts": False,
            "module_defaults": {
                "group/dsg.storage.dsg": {
                    "repository": "docs",
                    "backend": {"base": str(ground.base)},
                }
            },
            "tasks": [
                {"dsg.storage.dsg_info": {"src": str(ground.ann)}},
                {"dsg.storage.dsg_sync": {"src": str(ground.ann)}},
                {"dsg.storage.dsg_manifest": {"state": "verified"}},
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    done = ground.installed.playbook(tmp_path / "play.yml", "-i", ground.inventory)
    assert done.rc == 0, done
    assert done.stats["ann"]["ok"] == 3
