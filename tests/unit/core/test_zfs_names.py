# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which dataset names ever reach a command."""

from __future__ import annotations

import pytest
from _core.errors import ArgumentError
from _core.zfs.names import check_any_dataset, check_dataset

BAD = ["", "/", "/a", "a/", "a//b", "a/-r", "-r/a", "a/b@c", "a/b c", "a/..", "a/.", "a/.-r", "a/é"]


@pytest.mark.parametrize("name", [*BAD, ".a/b", "mirror/a", "a/" + "b" * 199])
def test_names_that_no_dataset_of_ours_has_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError):
        check_any_dataset(name)


@pytest.mark.parametrize("name", ["tank", "tank/dsg", "tank/dsg/.dsg", "tank/dsg/.dsg/a.stage.1"])
def test_pools_datasets_and_work_containers_are_provisioned(name: str) -> None:
    assert check_any_dataset(name) == name


@pytest.mark.parametrize("name", [*BAD, "tank", "tank/.dsg", "tank/dsg/.dsg"])
def test_a_publish_parent_is_a_plain_dataset_below_a_pool(name: str) -> None:
    with pytest.raises(ArgumentError):
        check_dataset(name)
