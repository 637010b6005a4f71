# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How repositories on real OpenZFS stand, and who is in the way. The cases are in ``guest/``."""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import cases


@pytest.mark.parametrize("case", cases("standing"))
def test_what_root_is_told(guest: Guest, case: str) -> None:
    guest.do(case)


@pytest.mark.parametrize("case", cases("degraded"))
def test_what_is_told_of_a_pool_in_bad_health(guest: Guest, case: str) -> None:
    guest.do(case)


@pytest.mark.parametrize("case", cases("standing_user"))
def test_what_the_service_user_is_told(guest: Guest, case: str) -> None:
    guest.do("delegation.provision_user")
    guest.do(case, user="dsg")
