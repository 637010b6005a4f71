# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a transaction on OpenZFS is built upon."""

from __future__ import annotations

from typing import NamedTuple


class Base(NamedTuple):
    """What a sync is built upon: the live dataset and its newest snapshot, ours or another's.

    ``written`` are the bytes that are in the dataset and not in our snapshot of it.
    """

    guid: str
    snapshot: str
    snapshot_guid: str
    written: str
