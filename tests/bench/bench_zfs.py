# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions on OpenZFS in a virtual host, beside the bare commands; commits by size of the tree.

Absolute figures tell of the emulator; what counts are the ratio, and that commits stay as they are.
"""

from __future__ import annotations

import os

from tests.testbed.bed import Bed
from tests.zfs.link import Guest

from .measure import Options


def main(options: Options) -> None:
    """Print the tables."""
    sizes = (1, 200) if options.quick else (1, 1_000, 20_000)
    with Bed(f"bench-zfs-{os.getpid()}").use(["host1"]) as bed:
        guest = Guest(bed.host("host1"))
        guest.install()
        guest.do("lab.provision_pool", disk=guest.host.disks[0])
        found = guest.do("readers.cost", rounds=options.rounds)
        print(f"\nOne empty-handed transaction on OpenZFS (median of {options.rounds})")
        print(f"  {'begin to commit':34}{found['transaction']:9.2f} s")
        print(f"  {'snapshot clone promote rename rename destroy':34}{found['bare']:9.2f} s")
        print(f"  {'ratio':34}{found['ratio']:9.2f}   {found['processes']} processes")
        print(f"\nOne file changed among many on OpenZFS (median of {options.rounds}, seconds)")
        print(f"  {'files':>8}{'stage':>9}{'prepare':>9}{'commit':>9}{'apply':>9}{'processes':>11}")
        for files in sizes:
            row = guest.do("readers.commit_of", files=files, rounds=options.rounds)
            told = "".join(f"{row[part]:9.2f}" for part in ("stage", "prepare", "commit", "apply"))
            print(f"  {files:8}{told}{row['processes']:11}", flush=True)
        guest.hang_up()
