# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules ``dsg_snapshot`` and ``dsg_fetch``: results, check and diff mode, and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.modules import dsg_fetch, dsg_snapshot, dsg_sync

from tests.unit.ansible.module_runner import ModuleFailedError, provision, run_module
from tests.unit.trees import content, untouched


class Ground:
    """A repository with three snapshots."""

    def __init__(self, root: Path) -> None:
        self.root, self.src, self.base = root, root / "src", root / "srv"
        self.names = {"repository": "docs", "backend": {"base": str(self.base)}}
        provision(self.base)
        (self.src / "sub").mkdir(parents=True)
        for number in (1, 2, 3):
            (self.src / "a").write_text(f"{number}\n")
            (self.src / "sub" / f"in-{number}").write_text("x")
            run_module(
                dsg_sync,
                src=str(self.src),
                snapshot_message=f"number {number} #tag{number}",
                user="ann",
                **self.names,
            )

    @property
    def live(self) -> Path:
        return self.base / "docs"

    def do(self, module: Any = dsg_snapshot, **options: Any) -> dict[str, Any]:
        """Run in check mode, then really, then once more: as announced, and idempotent."""
        before = untouched(self.root)
        announced = run_module(module, check=True, **self.names, **options)
        assert untouched(self.root) == before
        done = run_module(module, **self.names, **options)
        assert (announced["changed"], announced["diff"]) == (done["changed"], done["diff"])
        after = untouched(self.root)
        again = run_module(module, **self.names, **options)
        assert not again["changed"]
        assert again["diff"] == {"prepared": ""}
        assert untouched(self.root) == after
        return done

    def refused(self, module: Any = dsg_snapshot, **options: Any) -> dict[str, Any]:
        """Run what must fail, and change nothing."""
        before = untouched(self.root)
        for check in (True, False):
            with pytest.raises(ModuleFailedError) as caught:
                run_module(module, check=check, **{**self.names, **options})
            assert untouched(self.root) == before
        return caught.value.result


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_snapshot_is_restored(ground: Ground) -> None:
    done = ground.do(state="restored", snapshot=1, snapshot_message="as it was", user="zoe")
    assert (done["base_snapshot"], done["snapshot"]) == (3, 4)
    assert done["paths"] == {
        "added": [],
        "changed": ["a"],
        "deleted": ["sub/in-2", "sub/in-3"],
        "counts": {"added": 0, "changed": 1, "deleted": 2},
    }
    assert done["diff"]["prepared"].splitlines() == [
        "repository docs: restore of s1",
        "change         a (changed, 2 bytes)",
        "delete         sub/in-2 (deleted)",
        "delete         sub/in-3 (deleted)",
    ]
    assert done["txn_id"]
    assert done["manifest_digest"]
    assert (done["recovered"], done["pending_cleanup"]) == ([], [])
    assert content(ground.live).keys() == {"a", "sub/in-1"}


def test_paths_are_restored(ground: Ground) -> None:
    done = ground.do(state="restored", snapshot=2, paths=["a", "sub/in-?"], paths_limit=1)
    assert done["paths"]["counts"] == {"added": 0, "changed": 1, "deleted": 1}
    assert (ground.live / "a").read_text() == "2\n"
    assert done["diff"]["prepared"].endswith("... and 1 more\n")


def test_snapshots_are_pruned(ground: Ground) -> None:
    done = ground.do(state="pruned", keep={"tags": ["tag1"]})
    assert [(one["name"], one["action"], one["reasons"]) for one in done["snapshots"]] == [
        ("s1", "kept", ["tag tag1"]),
        ("s2", "removed", ["no rule keeps it"]),
        ("s3", "kept", ["newest"]),
    ]
    assert done["counts"] == {"kept": 2, "removed": 1, "waits": 0, "foreign": 0}
    row = done["snapshots"][0]
    assert (row["repository"], row["number"], row["message"]) == ("docs", 1, "number 1 #tag1")
    assert row["created_by"].startswith("ann@")
    assert "remove         s2 (" in done["diff"]["prepared"]
    assert sorted(os.listdir(ground.base / ".dsg" / "docs")) == ["s1"]


def test_a_snapshot_is_mounted_and_unmounted(ground: Ground) -> None:
    place = ground.root / "seen"
    before = run_module(
        dsg_snapshot, check=True, state="mounted", snapshot=1, path=str(place), **ground.names
    )
    assert before["changed"]
    assert not place.exists()
    done = run_module(dsg_snapshot, state="mounted", snapshot=1, path=str(place), **ground.names)
    try:
        assert (done["changed"], done["snapshot"], done["path"]) == (True, 1, str(place))
        assert (place / "a").read_text() == "1\n"
        again = run_module(
            dsg_snapshot, state="mounted", snapshot=1, path=str(place), **ground.names
        )
        assert not again["changed"]
    finally:
        done = run_module(dsg_snapshot, state="unmounted", path=str(place), **ground.names)
    assert (done["changed"], done["snapshot"]) == (True, 1)
    assert "unmount        " in done["diff"]["prepared"]
    done = run_module(dsg_snapshot, state="unmounted", path=str(place), **ground.names)
    assert (done["changed"], done["snapshot"]) == (False, None)


def test_paths_are_fetched(ground: Ground) -> None:
    dest = ground.root / "out"
    done = ground.do(dsg_fetch, snapshot=1, paths=["sub"], dest=str(dest))
    assert (done["snapshot"], done["files"], done["bytes"], done["paths"]) == (
        1, 1, 1, ["sub/in-1"],
    )  # fmt: skip
    assert content(dest).keys() == {"sub/in-1"}
    failed = ground.refused(dsg_fetch, dest=str(dest))
    assert failed["error"]["code"] == "DSG-ARGUMENT"
    done = ground.do(dsg_fetch, dest=str(dest), force=True)
    assert done["snapshot"] == 3
    assert content(Path(done["backup"])).keys() == {"sub/in-1"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"state": "restored"}, ""),
        ({"state": "pruned"}, ""),
        ({"state": "mounted", "snapshot": 1}, ""),
        ({"state": "unmounted"}, ""),
        ({"state": "gone"}, ""),
        ({"state": "restored", "snapshot": 8}, "DSG-REPOSITORY"),
        ({"state": "restored", "snapshot": 1, "paths": ["../a"]}, "DSG-ARGUMENT"),
        ({"state": "restored", "snapshot": 1, "snapshot_message": "a\nb"}, "DSG-ARGUMENT"),
        ({"state": "pruned", "keep": {}}, "DSG-ARGUMENT"),
        ({"state": "pruned", "keep": {"daily": -3}}, "DSG-ARGUMENT"),
        ({"state": "mounted", "snapshot": 1, "path": "/srv/../x"}, "DSG-ARGUMENT"),
    ],
)
def test_what_is_wrong_is_refused(ground: Ground, options: dict[str, Any], code: str) -> None:
    failed = ground.refused(**options)
    assert not failed.get("changed")
    if code:
        assert failed["error"]["code"] == code
        assert failed["error"]["unchanged"]
