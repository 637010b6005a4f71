# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools on a virtual host's empty disks, by OpenZFS's own program alone."""

from __future__ import annotations

from .bed import Host
from .store import BedError

_LINKS_ARE_LATE = ("no such pool or dataset", "is currently unavailable")
_ATTEMPTS = 5


def zpool(host: Host, *words: str) -> None:
    """Run a `zpool` command that partitions disks; again where udev was late with their new links.

    On a busy machine OpenZFS does not always wait long enough for them.
    """
    for left in range(_ATTEMPTS - 1, -1, -1):
        try:
            host.run("zpool", *words)
            return
        except BedError as error:
            if not left or not any(text in str(error) for text in _LINKS_ARE_LATE):
                raise
            host.run("udevadm", "settle")
