# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of ``dsg-storage`` on a storage host.

dsg-storage recover [PARENT ...]   finish or undo what a crash left, in every publish parent or
                                   those named; for the boot unit and for administrators
dsg-storage helper                 serve a service user; started by sudo, never by hand

What the role dsg.storage.maintenance starts by timers, as /etc/dsg/maintenance.json says; every one
takes --config FILE, --json, and names of repositories (pools) to do it for these alone:

dsg-storage verify                 re-hash what is published, and check the history
dsg-storage prune                  remove snapshots that no rule keeps
dsg-storage collect                finish or undo transactions, put away what was in use
dsg-storage scrub                  have OpenZFS read every block of the pools
dsg-storage alert UNIT             tell of what a unit found last ('test': see that it arrives)

Exit status: 0 all is well, 1 something was found or is left to do, 2 it could not be done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from ..backends.zfs import helper, host
from ..errors import DsgError

USAGE, FAILED, DONE = 2, 1, 0
_TASKS = ("verify", "prune", "collect", "scrub", "alert")
_ROOT_ONLY = """dsg-storage recover has to run as root, as it mounts file systems. Nothing was changed.
Next: run `sudo dsg-storage recover`. A service user needs none of this: any sync recovers its own
repository first, and so does the playbook dsg.storage.recover."""


def main(argv: Sequence[str]) -> int:
    """Run one verb; return the exit status: 0 done, 1 something is left to do, 2 not understood."""
    if list(argv) == ["helper"]:
        return helper.serve(sys.stdin.buffer, sys.stdout.buffer)
    if argv[:1] == ["recover"] and not any(name.startswith("-") for name in argv[1:]):
        return _recover(argv[1:])
    if argv and argv[0] in _TASKS:
        from . import maintenance  # costs its import only where it is used

        status = maintenance.main(argv[0], argv[1:])
        if status is not None:
            return status
    _say(sys.stderr, (__doc__ or "").strip())
    return USAGE


def _recover(parents: Sequence[str]) -> int:
    if os.geteuid() != 0:
        _say(sys.stderr, _ROOT_ONLY)
        return USAGE
    try:
        found = host.publish_parents(parents)
    except (DsgError, OSError) as exc:
        _say(sys.stderr, str(exc))
        return FAILED
    # Whatever one parent or repository is in need of, the others are recovered all the same.
    return max((_recover_below(parent) for parent in found), default=DONE)


def _recover_below(parent: str) -> int:
    status = DONE
    try:
        found = host.repositories(parent)
    except (DsgError, OSError) as exc:
        _say(sys.stderr, str(exc))
        return FAILED
    for layout in found:
        try:
            for sentence in host.recover(layout):
                _say(sys.stdout, f"{layout.live}: {sentence}")
        except (DsgError, OSError) as exc:
            _say(sys.stderr, str(exc))
            status = FAILED
    return status


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
