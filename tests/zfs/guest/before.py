# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to a repository in the middle of a transaction."""

from __future__ import annotations

from typing import Any

from guest.as_user import later


class Before:
    """Does something between prepare and commit (or another method) of the next transaction."""

    def __init__(self, act: Any, method: str = "commit") -> None:
        self.act = later(act)
        self.method = method

    def __enter__(self) -> None:
        from _core.backends.zfs.transaction import ZfsTransaction

        self.saved = getattr(ZfsTransaction, self.method)
        act, saved = self.act, self.saved

        def late(transaction: Any, *arguments: Any) -> None:
            act()
            saved(transaction, *arguments)

        setattr(ZfsTransaction, self.method, late)

    def __exit__(self, *unused: object) -> None:
        from _core.backends.zfs.transaction import ZfsTransaction

        setattr(ZfsTransaction, self.method, self.saved)
