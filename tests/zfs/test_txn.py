# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transactions that stay open between tasks, on real OpenZFS. The cases are in ``guest/txn.py``."""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import cases


@pytest.mark.parametrize("case", cases("txn"))
def test_case(guest: Guest, case: str) -> None:
    guest.do(case)
