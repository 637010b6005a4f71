# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mount as what is in the way."""

from __future__ import annotations

from ..posix.mounted import Seen
from ..posix.processes import describe
from .standing import MOUNT, Holder


def mount_holder(seen: Seen) -> Holder:
    """Return a mount as what is in the way; one of another namespace with a process that sees it."""
    if seen.pid is None:
        return Holder(MOUNT, place=seen.mount.point)
    who = describe(seen.pid)
    return Holder(MOUNT, who.pid, who.command, who.user, seen.mount.point)
