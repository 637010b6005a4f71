# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever publishes owns the tree, and root reads it and writes to it: nothing leads root out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _core.backends import published
from _core.errors import DsgError
from _core.manifest import codec
from _core.manifest.codec import Manifest
from _core.posix.modes import change_mode

from tests.unit.trees import content


def manifest(snapshot: int) -> Manifest:
    return codec.build(
        [],
        repository_id="ab" * 16,
        repository="docs",
        snapshot=snapshot,
        parent="" if snapshot == 1 else "cd" * 32,
        txn="20261120T224100-1a2b",
        created_at="2026-11-22T12:00:00Z",
        created_by="ann@desk",
        message="",
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree beside something precious."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("precious")
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.mark.parametrize("link", [".dsg", ".dsg/history", ".dsg/manifest.jsonl"])
def test_records_are_written_in_place_of_a_link(tree: Path, link: str) -> None:
    (tree / link).parent.mkdir(exist_ok=True)
    (tree / link).symlink_to(tree.parent / "etc")
    before = content(tree.parent / "etc")
    published.write_records(str(tree), [], manifest(1))
    assert content(tree.parent / "etc") == before
    assert not (tree / link).is_symlink()
    assert published.read_header(str(tree), "docs").snapshot == 1
    assert published.read_history_header(str(tree), 1).snapshot == 1


@pytest.mark.parametrize("where", [".dsg", ".dsg/history", "file"])
def test_records_are_not_read_through_a_link(tree: Path, where: str) -> None:
    published.write_records(str(tree), [], manifest(1))
    names = [".dsg/manifest.jsonl", ".dsg/history/s1.jsonl"] if where == "file" else [where]
    for name in names:
        (tree / name).rename(tree.parent / "away")
        (tree / name).symlink_to(tree.parent / "away")
        with pytest.raises((OSError, DsgError)):
            if "manifest" in name or where == ".dsg":
                published.read_header(str(tree), "docs")
            else:
                published.read_history(str(tree), 1)
        (tree / name).unlink()
        (tree.parent / "away").rename(tree / name)
    assert published.read_history_header(str(tree), 1).snapshot == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["manifest.jsonl", "history/s1.jsonl"])
def test_nobody_waits_for_a_record_that_is_a_pipe(tree: Path, name: str) -> None:
    published.write_records(str(tree), [], manifest(1))
    (tree / ".dsg" / name).unlink()
    os.mkfifo(tree / ".dsg" / name)
    with pytest.raises(DsgError, match="no regular file"):
        published.read_manifest(str(tree), "docs")
        published.read_history(str(tree), 1)


def test_a_mode_is_not_changed_behind_a_link(tree: Path) -> None:
    passwd = tree.parent / "etc" / "passwd"
    passwd.chmod(0o600)
    (tree / "link").symlink_to(passwd)
    (tree / "own").write_text("x")
    (tree / "own").chmod(0o200)
    fd = os.open(tree, os.O_RDONLY)
    try:
        change_mode("link", 0o777, dir_fd=fd)
        change_mode("own", 0o444, dir_fd=fd)
    finally:
        os.close(fd)
    assert passwd.stat().st_mode & 0o777 == 0o600
    assert (tree / "own").stat().st_mode & 0o777 == 0o444


def test_records_are_restored_in_place_of_a_link(tree: Path) -> None:
    live = tree.parent / "live"
    live.mkdir()
    for number in (1, 2):
        published.write_records(str(live), [], manifest(number))
    (live / ".dsg" / "note").write_text("of somebody else")
    (tree / ".dsg").symlink_to(tree.parent / "etc")
    before = content(tree.parent / "etc")
    published.restore_records(str(tree), str(live))
    assert content(tree.parent / "etc") == before
    (live / ".dsg" / "note").unlink()
    assert content(tree / ".dsg") == content(live / ".dsg")
    published.restore_records(str(tree), "")
    assert not (tree / ".dsg").exists()
