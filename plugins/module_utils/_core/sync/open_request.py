# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one step of an open transaction is asked to do, and what it did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..backends.origin import running_user
from ..errors import ArgumentError
from ..manifest.header import check_line, check_message
from .request import MAX_USER
from .work_tree import Change

DEFAULT_LEASE = 24 * 60 * 60
"""Seconds. An open transaction costs the space of what was changed in it, and blocks nobody."""

_TXN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class TransactionRequest(NamedTuple):
    """What one step is asked. ``lease`` and ``lock_timeout`` are in seconds.

    ``backend`` is plain data, as in :class:`.request.SyncRequest`.
    """

    repository: str
    backend: Mapping[str, object]
    txn_id: str = ""
    user: str = ""
    message: str = ""
    lease: int = DEFAULT_LEASE
    lock_timeout: float = 60.0
    check: bool = False

    def validate(self, *, txn_id_required: bool) -> None:
        """Refuse what is not supported before anything is touched."""
        if (self.txn_id or txn_id_required) and not _TXN_ID.fullmatch(self.txn_id):
            raise ArgumentError(
                "a transaction id has 1 to 64 letters, digits and '-'", object=self.txn_id
            )
        check_message(self.message)
        check_line(self.user, "the user", MAX_USER)
        if self.lease < 1:
            raise ArgumentError("lease must be at least one second")
        if self.lock_timeout < 0:
            raise ArgumentError("lock_timeout must not be negative")

    def user_name(self) -> str:
        """Return who is recorded as having changed content."""
        return self.user or running_user()


@dataclass
class TransactionResult:
    """What a step did, or with ``check`` would do.

    ``operation`` is init or sync; ``work_path`` the directory to put things in ('' where there is
    none); ``base`` the repository's snapshot number when the transaction began (0: it was absent);
    ``snapshot`` and ``manifest_digest`` describe the repository afterwards (None and '': absent).
    ``recovered`` tells what was finished or undone of other transactions, ``pending_cleanup`` what
    has to wait. ``changes_known`` is False where only the run itself can tell what would change.
    """

    txn_id: str
    changed: bool = False
    operation: str = ""
    work_path: str = ""
    base: int = 0
    snapshot: int | None = None
    manifest_digest: str = ""
    changes: list[Change] = field(default_factory=list)
    changes_known: bool = True
    recovered: list[str] = field(default_factory=list)
    pending_cleanup: list[str] = field(default_factory=list)
