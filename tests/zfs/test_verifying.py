# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification on real OpenZFS, by root and by the service user. The cases are in ``guest/``.

One of them does what docs/errors.md says of a snapshot that is not there.
"""

from __future__ import annotations

import pytest

from tests.zfs.link import Guest
from tests.zfs.test_operations import cases


@pytest.mark.parametrize("user", ["", "dsg"])
@pytest.mark.parametrize("case", cases("verifying"))
def test_case(guest: Guest, case: str, user: str) -> None:
    if user:
        guest.do("delegation.provision_user")
    guest.do(case, user=user)
