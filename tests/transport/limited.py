# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program: one job of the core in a process that may have only so much memory.

limited.py BYTES sync|fetch|hold JSON
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))


def sync(given: dict[str, Any]) -> None:
    from _core.plan.policy import Policy
    from _core.sync.engine import run
    from _core.sync.request import SyncRequest

    run(SyncRequest(**given, policy=Policy(max_delete="100%")))


def bring(given: dict[str, Any]) -> None:
    from _core.sync.fetch import FetchRequest, fetch

    fetch(FetchRequest(**given))


def hold(given: dict[str, Any]) -> None:
    """Hold a file of that size, as none of the others may."""
    bytearray(given["size"])


def main(most: int, job: str, given: dict[str, Any]) -> None:
    from _core.transport import frames
    from _core.transport.destination import Destination

    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if "longest_stream" in given:
        frames.LONGEST_STREAM = given.pop("longest_stream")
    if "destination" in given:
        given["destination"] = Destination(**given["destination"])
    {"sync": sync, "fetch": bring, "hold": hold}[job](given)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
