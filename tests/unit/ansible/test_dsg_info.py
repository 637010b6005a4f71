# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg_info`` looks and touches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.modules import dsg_info, dsg_sync

from tests.unit.ansible.module_runner import ModuleFailedError, provision, run_module
from tests.unit.trees import untouched


def _but_for_free_space(result: dict[str, Any]) -> dict[str, Any]:
    """Other programs write to the same file system."""
    assert result["space"]["free"] > 0
    return {
        **result,
        "space": {**result["space"], "free": 0},
        "summary": {**result["summary"], "free": ""},
    }


class Ground:
    """A provisioned base and a working copy."""

    def __init__(self, root: Path) -> None:
        self.root, self.src, self.base = root, root / "src", root / "srv"
        self.names = {"repository": "docs", "backend": {"base": str(self.base)}}
        provision(self.base)
        self.src.mkdir()
        (self.src / "a").write_text("a\n")

    def sync(self, src: Path | None = None, **options: Any) -> dict[str, Any]:
        """Run a sync."""
        return run_module(dsg_sync, src=str(src or self.src), **self.names, **options)

    def look(self, **options: Any) -> dict[str, Any]:
        """Run the module, with and without check mode, and see that it touches nothing."""
        options = {"src": str(self.src), **self.names, **options}
        before = untouched(self.root)
        found = run_module(dsg_info, **options)
        checked = run_module(dsg_info, check=True, **options)
        for result in (found, checked):
            result.pop("invocation", None)  # newer ansible-cores only tell it when asked to
        assert _but_for_free_space(found) == _but_for_free_space(checked)
        assert untouched(self.root) == before
        assert found["changed"] is False
        return found


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_mistyped_working_copy_is_told(ground: Ground) -> None:
    """Nothing was compared, so neither the row nor the problems may read as if all were well."""
    ground.src = ground.src.rename(ground.root / "real")
    for src, step in ((ground.root / "src", "make the directory"), (ground.root / "src", "clone")):
        found = ground.look(src=str(src))
        assert found["in_sync"] is False
        assert found["summary"]["differences"] == "no working copy"
        (told,) = found["problems"]
        assert (told["severity"], told["object"]) == ("warning", str(src))
        assert "nothing was compared" in told["message"]
        assert step in told["next_step"]
        ground.sync()


def test_before_the_first_publication(ground: Ground) -> None:
    found = ground.look()
    assert found["repository_exists"] is False
    assert found["snapshot"] is None
    assert found["snapshots"] == []
    assert found["last_sync"] is None
    assert found["in_sync"] is False
    assert found["plan"]["paths"] == {"upload": ["a"]}
    assert found["states"] == {"100": 1}
    assert found["problems"] == []
    assert found["location"] == f"{ground.base}/docs"
    assert _but_for_free_space(found)["summary"] == {
        "repository": "docs",
        "snapshot": "-",
        "published": "",
        "by": "",
        "message": "",
        "digest": "",
        "in_sync": "no",
        "differences": "1 upload",
        "drift": "",
        "unfinished": "no",
        "cleanups": "no",
        "history": "",
        "free": "",
        "problem": "",
    }


def test_after_a_sync_and_after_a_change(ground: Ground) -> None:
    digest = ground.sync(user="ann", snapshot_message="First")["manifest_digest"]
    found = ground.look()
    assert (found["snapshot"], found["snapshots"], found["last_sync"]) == (1, [1], 1)
    assert (found["files"], found["bytes"], found["message"]) == (1, 2, "First")
    assert found["manifest_digest"] == digest
    assert found["created_by"].startswith("ann@")
    assert found["in_sync"] is True
    assert found["summary"]["in_sync"] == "yes"
    assert found["summary"]["differences"] == "none"
    (ground.src / "b").touch()
    found = ground.look()
    assert found["in_sync"] is False
    assert found["summary"]["differences"] == "1 upload"


def test_ignored_paths_are_no_difference(ground: Ground) -> None:
    ground.sync()
    (ground.src / "b.tmp").touch()
    assert ground.look()["in_sync"] is False
    assert ground.look(ignore=["*.tmp"])["in_sync"] is True


def test_conflicts_are_shown_without_failing(ground: Ground) -> None:
    ground.sync()
    other = ground.root / "other"
    ground.sync(other)
    (other / "a").write_text("other\n")
    ground.sync(other)
    (ground.src / "a").write_text("mine\n")
    found = ground.look()
    assert [conflict["path"] for conflict in found["conflicts"]] == ["a"]
    assert found["conflicts"][0]["remote"]["size"] == 6
    assert found["summary"]["differences"] == "1 conflict"
    assert ground.look(conflict="local")["summary"]["differences"] == "1 upload"


def test_a_repository_that_went_back_is_told_as_refused(ground: Ground) -> None:
    """What a sync would refuse is nothing to download."""
    ground.sync()
    shutil.copytree(ground.base, ground.root / "backup", symlinks=True)
    (ground.src / "a").write_text("newer\n")
    ground.sync()
    shutil.rmtree(ground.base)
    (ground.root / "backup").rename(ground.base)
    found = ground.look()
    (problem,) = found["problems"]
    assert (problem["severity"], problem["kind"]) == ("error", "refused")
    assert problem["code"] == found["summary"]["problem"] == "DSG-REPOSITORY"
    assert "went back in time" in problem["message"]
    assert ".dsg/repositories" in problem["next_step"]
    assert (found["in_sync"], found["summary"]["in_sync"]) == (False, "no")
    assert found["summary"]["differences"] == "refused (DSG-REPOSITORY)"
    assert (found["plan"]["paths"], found["states"], found["conflicts"]) == ({}, {}, [])
    assert ground.look(src=None)["problems"] == [], "without a working copy nobody knows"


def test_without_a_working_copy_only_the_repository_is_looked_at(ground: Ground) -> None:
    ground.sync()
    found = ground.look(src=None)
    assert found["snapshot"] == 1
    assert "in_sync" not in found
    assert "plan" not in found
    assert found["summary"]["in_sync"] == found["summary"]["differences"] == ""


def test_leftovers_of_a_killed_run_are_told(ground: Ground) -> None:
    ground.sync()
    (ground.base / ".dsg" / "docs.stage.dead-1").mkdir()
    (ground.src / ".dsg" / "staging" / "dead-2").mkdir()
    found = ground.look()
    assert len(found["unfinished"]) == 2
    assert "dead-1" in "\n".join(found["unfinished"])
    assert "dead-2" in "\n".join(found["unfinished"])
    assert found["summary"]["unfinished"] == "2"


def test_a_damaged_repository_is_an_error_that_still_gives_a_row(ground: Ground) -> None:
    ground.sync()
    (ground.base / "docs" / ".dsg" / "manifest.jsonl").write_text("")
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_info, src=str(ground.src), **ground.names)
    assert failed.value.result["error"]["code"] == "DSG-MANIFEST"
    assert failed.value.result["summary"] == {"repository": "docs", "problem": "DSG-MANIFEST"}
    assert failed.value.result["location"] == f"{ground.base}/docs"
