# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom root's half of the delegated model obeys, and whose private mounts it goes into."""

from __future__ import annotations

import os

import pytest
from _core.backends.zfs.helper import owner_of
from _core.backends.zfs.places import require_private
from _core.errors import ArgumentError, RepositoryError


def test_parents_within_one_another_are_nobodys() -> None:
    for parent in ("tank/a", "tank/a/b"):
        with pytest.raises(ArgumentError, match="one within the other") as caught:
            owner_of(parent, {"tank/a": "root", "tank/a/b": "root"}, None)
        assert caught.value.next_step and caught.value.unchanged
    assert owner_of("tank/a", {"tank/a": "root", "tank/ab": "root"}, "0").uid == 0


def test_a_mount_that_was_made_for_somebody_else_is_not_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for mode, gid in ((0o700, 0), (0o710, 7)):
        holder = os.stat_result((0o40000 | mode, 0, 0, 2, 0, gid, 0, 0, 0, 0))
        monkeypatch.setattr(os, "lstat", lambda _path, found=holder: found)
        require_private("/run/dsg/mnt/x/tree", gid)
        for other in {0, 7, 8} - {gid}:
            with pytest.raises(RepositoryError, match="somebody else"):
                require_private("/run/dsg/mnt/x/tree", other)
