# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work tree of an open transaction: what is known of it without reading, and what is put right."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from _core.backends import published
from _core.errors import TreeError
from _core.manifest import codec
from _core.manifest.codec import Manifest
from _core.sync import work_tree
from _core.sync.work_tree import changes, drop_special_bits, examine


def _manifest(tree: Path, user: str = "ann") -> Manifest:
    return codec.build(
        examine(str(tree), "", None, user).entries,
        repository_id="0" * 32,
        repository="x",
        snapshot=1,
        parent="",
        txn="t",
        created_at="2026-01-01T00:00:00Z",
        created_by="ann@host",
        message="",
    )


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A published tree; its work tree is the tree itself, as a clone has the same inodes and times."""
    root = tmp_path / "live"
    (root / "d").mkdir(parents=True)
    (root / "a").write_text("a")
    (root / "d" / "b").write_text("b")
    (root / "link").symlink_to("a")
    return root


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each scan has read."""
    counts: list[int] = []
    scan_tree = work_tree.scan_tree

    def counting(*arguments: Any, **more: Any) -> Any:
        found = scan_tree(*arguments, **more)
        counts.append(found.hashed)
        return found

    monkeypatch.setattr(work_tree, "scan_tree", counting)
    return counts


def test_an_untouched_tree_is_not_read(live: Path, hashed: list[int]) -> None:
    base = _manifest(live)
    found = examine(str(live), str(live), base, "ben")
    assert found.entries == base.entries
    assert found.changes == []
    assert hashed == [2, 0]


def test_a_copy_that_looks_the_same_is_read(live: Path, hashed: list[int]) -> None:
    base = _manifest(live)
    work = live.parent / "work"
    shutil.copytree(live, work, symlinks=True)  # same sizes and times, but other inodes
    found = examine(str(work), str(live), base, "ben")
    assert found.changes == []
    assert hashed == [2, 2]
    assert {entry.user for entry in found.entries} == {"ann"}


def test_a_file_with_its_time_put_back_is_read(live: Path) -> None:
    base = _manifest(live)
    before = (live / "a").stat()
    work = live.parent / "work"
    shutil.copytree(live, work, symlinks=True)
    (work / "a").write_text("A")
    os.utime(work / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    found = examine(str(work), str(live), base, "ben")
    (change,) = found.changes
    assert change[0] is not None
    assert change[1] is not None
    assert (change[1].path, change[1].user) == ("a", "ben")


def test_a_manifest_that_does_not_fit_the_published_file_is_not_believed(
    live: Path, hashed: list[int]
) -> None:
    base = _manifest(live)
    wrong = [e._replace(mtime_ns=1, sha256="0" * 64) if e.path == "a" else e for e in base.entries]
    found = examine(str(live), str(live), base._replace(entries=wrong), "ben")
    assert [new.path for _old, new in found.changes if new] == ["a"]
    assert hashed[-1] == 1


def test_changes_name_what_differs_and_leave_times_out(live: Path) -> None:
    before = {entry.path: entry for entry in _manifest(live).entries}
    after = {path: entry._replace(mtime_ns=5) for path, entry in before.items()}
    assert changes(before, after) == []
    after["a"] = after["a"]._replace(mode=0o755)
    del after["d/b"]
    after["new"] = after["a"]._replace(path="new")
    told = [(old and old.path, new and new.path) for old, new in changes(before, after)]
    assert told == [("a", "a"), ("d/b", None), (None, "new")]


def test_special_files_are_refused_by_name(live: Path) -> None:
    os.mkfifo(live / "d" / "pipe")
    with pytest.raises(TreeError) as refused:
        examine(str(live), "", None, "ben")
    assert "d/pipe" in refused.value.details[0]


def test_special_bits_are_dropped(live: Path) -> None:
    os.chmod(live / "a", 0o4755)
    entries = examine(str(live), "", None, "ben").entries
    drop_special_bits(str(live), entries)
    assert (live / "a").stat().st_mode & 0o7777 == 0o755


def _records(root: Path) -> dict[str, str]:
    found = (root / ".dsg").rglob("*")
    return {p.relative_to(root).as_posix(): p.read_text() for p in found if p.is_file()}


@pytest.mark.parametrize("tamper", ["remove", "redirect", "forge", "add", "file"])
def test_records_are_those_of_the_published_tree(live: Path, tamper: str) -> None:
    published.write_records(str(live), [], _manifest(live))
    work = live.parent / "work"
    shutil.copytree(live, work, symlinks=True)
    outside = live.parent / "outside"
    outside.mkdir()
    if tamper in ("remove", "redirect", "file"):
        shutil.rmtree(work / ".dsg")
    if tamper == "redirect":
        (work / ".dsg").symlink_to(outside)
    elif tamper == "file":
        (work / ".dsg").write_text("x")
    elif tamper == "forge":
        (work / ".dsg" / "history" / "s1.jsonl").write_text("x")
    elif tamper == "add":
        (work / ".dsg" / "history" / "s2.jsonl").write_text("x")
    published.restore_records(str(work), str(live))
    assert not (work / ".dsg").is_symlink()
    assert _records(work) == _records(live) != {}
    assert list(outside.iterdir()) == []


def test_records_of_a_first_publication_are_none(live: Path) -> None:
    published.write_records(str(live), [], _manifest(live))
    published.restore_records(str(live), "")
    assert not (live / ".dsg").exists()
    published.restore_records(str(live), "")


def test_untouched_records_are_left_alone(live: Path) -> None:
    published.write_records(str(live), [], _manifest(live))
    before = (live / ".dsg" / "manifest.jsonl").stat()
    published.restore_records(str(live), str(live))
    assert (live / ".dsg" / "manifest.jsonl").stat() == before
