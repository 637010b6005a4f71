# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provisioning on real OpenZFS: pools, disks, datasets, grants. The cases are in ``guest/``."""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import cases


@pytest.mark.parametrize("case", cases("pools") + cases("occupied"))
def test_pools(guest: Guest, case: str) -> None:
    """On the disks beside the one that the other tests use; every case gives them back blank."""
    guest.do(case, disks=guest.host.disks[1:])


@pytest.mark.parametrize("case", cases("datasets") + cases("grants"))
def test_datasets_and_grants(guest: Guest, case: str) -> None:
    """Below the pool that the other tests use."""
    guest.do(case)
