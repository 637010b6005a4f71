# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``zpool status`` says of scrubs and health."""

from __future__ import annotations

import time

import pytest
from _core.program import scrub

GOOD = """  pool: tank
 state: ONLINE
  scan: scrub repaired 0B in 00:00:01 with 0 errors on Sun Nov  9 00:24:02 2025
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        ONLINE       0     0     0
\t  vdb       ONLINE       0     0     0

errors: No known data errors
"""
NEVER = GOOD.replace(GOOD.splitlines()[2] + "\n", "")
RUNNING = GOOD.replace(
    GOOD.splitlines()[2],
    "  scan: scrub in progress since Sun Nov  9 00:24:02 2025\n\t1.2G / 2G scanned",
)
UPGRADE = GOOD.replace(
    " state: ONLINE\n",
    " state: ONLINE\nstatus: Some supported and requested features are not enabled on the pool.\n"
    "\tThe pool can still be used, but some features are unavailable.\n",
)
REPAIRED = GOOD.replace(
    " state: ONLINE\n",
    " state: ONLINE\nstatus: One or more devices has experienced an unrecoverable error.\n",
)


@pytest.mark.parametrize("status", [GOOD, NEVER, RUNNING, UPGRADE])
def test_healthy(status: str) -> None:
    assert scrub.problems(status) == []


@pytest.mark.parametrize(
    "status",
    [
        GOOD.replace("state: ONLINE", "state: DEGRADED"),
        GOOD.replace("with 0 errors", "with 3 errors"),
        GOOD.replace("No known data errors", "Permanent errors have been detected"),
        REPAIRED,
        "no words of zpool",
    ],
)
def test_not_healthy(status: str) -> None:
    assert scrub.problems(status) != []


def test_when_the_last_one_ended() -> None:
    ended = time.mktime((2025, 11, 9, 0, 24, 2, 0, 0, -1))
    assert scrub.ended_ago(GOOD, ended + 60) == 60
    assert scrub.ended_ago(NEVER, ended) is None
    assert scrub.ended_ago(RUNNING, ended) is None
    assert [scrub.is_running(one) for one in (GOOD, NEVER, RUNNING)] == [False, False, True]


class Asked:
    """``zpool`` with a status, which keeps what else it is asked for."""

    def __init__(self, ended: float) -> None:
        when = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(ended))
        self.status = GOOD.replace("Sun Nov  9 00:24:02 2025", when)
        self.calls: list[tuple[str, ...]] = []

    def run(self, *argv: str) -> str:
        if argv[1] != "status":
            self.calls.append(argv)
        return self.status


@pytest.mark.parametrize(
    ("days_ago", "scrubbed"), [(1, False), (24, False), (26, True), (-1, True), (-4000, True)]
)
def test_a_pool_is_scrubbed_unless_it_was_lately(
    days_ago: int, scrubbed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ended in the future, by a clock that was ahead, is not waited for until then."""
    zpool = Asked(time.time() - days_ago * 86400)
    monkeypatch.setattr(scrub, "Runner", lambda: zpool)
    done = scrub.run("tank", 25)
    assert zpool.calls == ([("zpool", "scrub", "-w", "tank")] if scrubbed else [])
    assert done.status == 0
