# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of datasets and places of the ZFS backend: what belongs to one repository is no other's."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import pytest
from _core.backends.zfs import places
from _core.backends.zfs.layout import Layout

NAMES = ("web", "web.mounts", "web.lock", "web.init.x", "dsg", "web.dsg", "we")


@pytest.mark.parametrize(("one", "other"), list(permutations(NAMES, 2)))
def test_no_two_repositories_share_a_place(one: str, other: str) -> None:
    first, second = Layout("tank/dsg", one), Layout("tank/dsg", other)
    places = {first.lock, first.mount_lock, first.record, first.live, first.mount("t")}
    assert not places & {
        *(second.lock, second.mount_lock, second.record, second.live, second.mount("t")),
        second.parent_lock,
    }
    assert second.parse_work(first.work("stage", "t")) is None


@pytest.mark.parametrize("there", ["", "run", "run/mnt"])
def test_everybody_may_pass_below_run_whatever_root_s_umask_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """Service users open their locks there; an earlier run may have closed it to them."""
    run = tmp_path / "run"
    monkeypatch.setattr(places, "RUN", str(run))
    if there:
        os.makedirs(tmp_path / there)
        for directory in (run, tmp_path / there):
            directory.chmod(0o700)
    umask = os.umask(0o077)
    try:
        places.ensure_run()
    finally:
        os.umask(umask)
    assert [path.stat().st_mode & 0o7777 for path in (run, run / "mnt")] == [0o755, 0o755]
