# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one run is asked to do, and what it did."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..backends.origin import running_user
from ..client.fleet import DECISIONS, check_fleet_id
from ..errors import ArgumentError
from ..manifest.header import check_line, check_message
from ..manifest.portable import unchanged
from ..plan.plan import Plan
from ..plan.policy import Policy
from ..transport.destination import Destination

AUTO, INIT, CLONE, SYNC = "auto", "init", "clone", "sync"
OPERATIONS = (AUTO, INIT, CLONE, SYNC)

FULL, PREPARE = "full", "prepare"
WITHDRAW = "withdraw"
PHASES = (FULL, PREPARE, WITHDRAW, *DECISIONS)
"""All at once, or a step of a transaction over many hosts."""

MAX_USER = 255
MAX_HOST = 255


class SyncRequest(NamedTuple):
    """One sync of the working copy ``src`` with ``repository``.

    ``backend`` is plain data (``{"type": "directory", "base": "/srv/dsg"}``). ``checksum`` re-hashes
    every file on both sides instead of trusting the stat index. ``lock_timeout`` is in seconds.
    With ``check`` nothing is changed anywhere and the plan is what a run would do. ``destination``
    is the host that holds the repository, None for this one. A ``phase`` that is not full is that of the
    transaction ``fleet`` on ``host``, a name that tells it from the others; ``coordinator`` is the number
    of the process that will decide it (0: unknown here).
    """

    src: str
    repository: str
    backend: Mapping[str, object]
    operation: str = AUTO
    policy: Policy = Policy()
    message: str = ""
    ignore: Sequence[str] = ()
    checksum: bool = False
    check: bool = False
    user: str = ""
    lock_timeout: float = 60.0
    destination: Destination | None = None
    phase: str = FULL
    fleet: str = ""
    host: str = ""
    coordinator: int = 0
    txn_id: str = ""

    def validate(self, *, src_required: bool = True) -> None:
        """Refuse what is not supported before anything is touched."""
        if self.operation not in OPERATIONS:
            raise ArgumentError(
                f"operation is {self.operation!r}: supported are {', '.join(OPERATIONS)}"
            )
        if (self.src or src_required) and (not os.path.isabs(self.src) or "\0" in self.src):
            raise ArgumentError("src must be an absolute path", object=self.src)
        check_message(self.message)
        check_line(self.user, "the user", MAX_USER)
        if self.lock_timeout < 0:
            raise ArgumentError("lock_timeout must not be negative")
        self.policy.check()
        self._check_phase()

    def _check_phase(self) -> None:
        if self.phase not in PHASES:
            raise ArgumentError(f"phase is {self.phase!r}: supported are {', '.join(PHASES)}")
        if self.phase == FULL:
            if self.fleet:
                raise ArgumentError(
                    "a fleet is for the phases prepare, withdraw, commit and rollback"
                )
            return
        check_fleet_id(self.fleet)
        check_line(self.host, "the host", MAX_HOST)

    def user_name(self) -> str:
        """Return who is recorded as having changed content."""
        return self.user or running_user()


class SyncResult:
    """What a run did (or, in check mode, would do).

    ``operation`` is init, clone or sync; ``snapshot`` the repository's snapshot number afterwards
    (None where it does not exist yet); ``manifest_digest`` the digest of its tree ('' where it does
    not exist yet); ``bytes_*`` count content; ``seconds`` has one figure for each phase.
    ``names`` has what was renamed in the working copy. ``recovered`` tells what was done first for an interrupted run. ``put_off`` lists paths that
    changed locally while the run was going on: they keep the user's version and are seen again by
    the next run. ``backup`` is a directory with local versions that had to make way ('' if none).
    """

    def __init__(self, operation: str, seconds: dict[str, float]) -> None:
        self.operation = operation
        self.seconds = seconds
        self.changed = False
        self.plan = Plan()
        self.names = unchanged()
        self.snapshot: int | None = None
        self.txn_id = ""
        self.manifest_digest = ""
        self.bytes_uploaded = 0
        self.bytes_downloaded = 0
        self.recovered: list[str] = []
        self.put_off: list[str] = []
        self.pending_cleanup: list[str] = []
        self.backup = ""
