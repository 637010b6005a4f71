# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom root's half of the delegated model obeys, and whose private mounts it goes into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _core.backends.zfs.helper import owner_of
from _core.backends.zfs.places import is_private, is_roots, require_sole
from _core.errors import ArgumentError, RepositoryError
from _core.posix import mounted
from _core.posix.mounted import Mount
from _core.zfs import mounts

TREE = "/run/dsg/mnt/x/tree"


def test_parents_within_one_another_are_nobodys() -> None:
    for parent in ("tank/a", "tank/a/b"):
        with pytest.raises(ArgumentError, match="one within the other") as caught:
            owner_of(parent, {"tank/a": "daemon", "tank/a/b": "daemon"}, None)
        assert caught.value.next_step and caught.value.unchanged
    assert owner_of("tank/a", {"tank/a": "daemon", "tank/ab": "daemon"}, "1").uid == 1


def test_root_is_nobodys_service_user() -> None:
    with pytest.raises(ArgumentError, match="is root, or of root's group"):
        owner_of("tank/a", {"tank/a": "root"}, None)


def test_a_mount_is_private_to_whom_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, gid in ((0o700, 0), (0o710, 7)):
        _hold(monkeypatch, mode, gid)
        for other in (0, 7, 8):
            assert is_private(TREE, other) == (gid == other)
    for gid in (0, 7):
        _hold(monkeypatch, 0o500, gid)  # in the making
        assert not is_private(TREE, gid)


def test_what_is_mounted_for_root_is_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    for source, gid, expected in (("tank/x", 0, True), ("tank/x", 7, False), ("", 0, False)):
        _hold(monkeypatch, 0o700, gid)
        monkeypatch.setattr(mounts, "mounted_at", lambda _path, found=source: found)
        assert is_roots(TREE) is expected


def test_what_others_have_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that was renamed while it is mounted has another name there."""
    one = Mount("0:50", "/", TREE, "tank/.dsg/x", False, "1", "0", True)
    unrelated = one._replace(point="/a", device="0:51")
    for others in (
        [one, one._replace(point="/b", source="tank/.dsg/y")],
        [one._replace(source="tank/.dsg/y")],
        [one._replace(is_read_only=False)],
    ):
        monkeypatch.setattr(mounted, "mounts", lambda: [one, unrelated])
        require_sole("tank/.dsg/x", TREE)
        monkeypatch.setattr(mounted, "mounts", lambda found=others: [*found, unrelated])
        with pytest.raises(RepositoryError, match="or renamed it"):
            require_sole("tank/.dsg/x", TREE)


def test_a_mount_seen_where_its_directory_is_bound_is_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "holder").mkdir()
    (tmp_path / "bound").symlink_to("holder")
    here = str(tmp_path / "holder" / "tree")
    one = Mount("0:50", "/", here, "tank/.dsg/x", True, "1", "0", True)
    copy = one._replace(point=str(tmp_path / "bound" / "tree"))
    monkeypatch.setattr(mounted, "mounts", lambda: [one, copy])
    require_sole("tank/.dsg/x", here)


def _hold(monkeypatch: pytest.MonkeyPatch, mode: int, gid: int) -> None:
    """Have the directory above the mountpoint belong to that group."""
    holder = os.stat_result((0o40000 | mode, 0, 0, 2, 0, gid, 0, 0, 0, 0))
    monkeypatch.setattr(os, "lstat", lambda _path: holder)
