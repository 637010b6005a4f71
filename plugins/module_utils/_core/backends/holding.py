# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all backends say of transactions that wait for a decision."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..errors import HeldError
from ..manifest.header import check_line
from .base import Held

MAX_NOTE = 500


def new_held(txn_id: str, note: str, base: int) -> Held:
    """Return the description of a transaction that is held from now on; its note is checked."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Held(txn_id, since, check_line(note, "the note", MAX_NOTE), base)


def refuse_held(held: Sequence[Held], location: str) -> None:
    """Raise :class:`HeldError` where a transaction waits for a decision."""
    if held:
        raise HeldError("; ".join(map(str, held)), object=location)
