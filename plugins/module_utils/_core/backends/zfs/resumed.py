# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A held transaction that is to be decided: read from disk when it is committed, not before."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import RepositoryError
from ...manifest.codec import Manifest
from ...zfs.command import Runner
from . import opened
from .layout import Layout
from .opened import OpenTransaction
from .privileged import Privileged


class HeldTransaction:
    """``base`` returns the manifest of the repository as it is now, None where there is none."""

    def __init__(
        self,
        runner: Runner,
        layout: Layout,
        privileged: Privileged,
        txn_id: str,
        base: Callable[[], Manifest | None],
    ) -> None:
        self.runner = runner
        self.layout = layout
        self.privileged = privileged
        self.txn_id = txn_id
        self.base = base
        self.transaction: OpenTransaction | None = None

    def commit(self) -> None:
        """Check that the repository is still the base, then publish in one atomic step."""
        self.transaction = opened.resume(
            self.runner, self.layout, self.privileged, self.txn_id, self.base()
        )
        if self.transaction is None:
            raise RepositoryError(
                f"transaction {self.txn_id} is not held any more", object=self.layout.live
            )
        self.transaction.commit()

    def finish(self) -> list[str]:
        """Tidy up behind the commit point; return what has to wait, one sentence each."""
        return [] if self.transaction is None else self.transaction.finish()

    def rollback(self) -> None:
        """Let go of the work dataset and destroy it; where it is in use, any recovery does it later."""
        opened.close(self.runner, self.layout, self.privileged, self.txn_id)
