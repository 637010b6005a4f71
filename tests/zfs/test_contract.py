# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one suite that every backend passes, on real OpenZFS: pytest runs it inside the host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.zfs.link import ROOT, Guest

SUITES = tuple(
    f"tests/contract/test_{name}.py" for name in ("backend", "held", "snapshots", "upkeep")
)


def collected(user: str) -> list[str]:
    """Return the tests of the suites, as they would run on ZFS; without root's, those that need no root."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", *SUITES]
    argv += [] if user == "root" else ["-m", "not root"]
    environment = {**os.environ, "DSG_CONTRACT_POOL": "any"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(SUITES)]


@pytest.mark.parametrize("user", ["root", "dsg"])
def test_the_contract_of_all_backends(
    guest: Guest, say: Callable[[object], None], user: str
) -> None:
    """None of its tests is left out, skipped or failed; ``dsg`` has grants and the helper."""
    wanted = collected(user)
    disks = guest.host.disks[1:3]
    if user != "root":
        # Root writes behind everybody's back in these, and who looks makes no difference.
        wanted = [name for name in wanted if "test_a_write_behind_our_back" not in name]
        guest.do("delegation.provision_user")
    done = guest.do("contract.run", nodes=wanted, disks=disks, name=user)
    slowest = sorted(((found[1], name) for name, found in done.items()), reverse=True)[:5]
    say(f"{len(done)} tests of the contract as {user}; the slowest: {slowest}")
    failures = [
        f"{name}: {said}" for name, (outcome, _s, said) in done.items() if outcome != "passed"
    ]
    assert failures == [], "\n\n".join(failures)
    assert sorted(done) == sorted(wanted)
    assert len(wanted) > 30
