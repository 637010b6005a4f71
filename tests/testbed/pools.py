# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools on a virtual host's empty disks, by OpenZFS's own program alone."""

from __future__ import annotations

from .bed import Host


def zpool(host: Host, *words: str) -> None:
    """Run a `zpool` command that partitions disks, under a shared lock on each of them.

    Otherwise udev reads their tables again meanwhile, and partitions vanish for a moment.
    """
    disks = [word for word in words if word in host.disks]
    host.run(*(part for disk in disks for part in ("flock", "--shared", disk)), "zpool", *words)
