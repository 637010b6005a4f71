# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of datasets and places of the ZFS backend: what belongs to one repository is no other's."""

from __future__ import annotations

from itertools import permutations

import pytest
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
