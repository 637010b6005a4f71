# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service user and the helper: the operations, what is missing, and attempts to escape."""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import CASES, cases

USER = "dsg"
STEPS = ("provision_user", "publish_and_leave", "refused_and_removed")


@pytest.mark.parametrize("case", CASES)
def test_the_service_user_does_what_root_does(delegated: Guest, case: str) -> None:
    delegated.do(case, user=USER)


@pytest.mark.parametrize(
    "case", [case for case in cases("delegation") if case.partition(".")[2] not in STEPS]
)
def test_case(delegated: Guest, case: str) -> None:
    delegated.do(case, user=USER)
