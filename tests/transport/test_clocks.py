# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose clocks disagree: nothing is decided by comparing times of two machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import put, read

_CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
_RUN = """
import json, sys, time
core, request = sys.argv[1:]
sys.path.insert(0, core)
from _core.sync.engine import run
from _core.sync.request import SyncRequest
from _core.transport.destination import Destination
asked = json.loads(request)
asked["destination"] = Destination(**asked["destination"])
result = run(SyncRequest(**asked))
print(json.dumps([result.operation, result.snapshot, time.time()]))
"""


def sync(site, src: str, clock: str) -> list[object]:
    """Run with a clock that is off; the host's own is right."""
    asked = {
        "src": src,
        "repository": site.name,
        "backend": site.backend,
        "user": os.path.basename(src),
        "destination": site.destination._asdict(),
    }
    program = [sys.executable, "-I", "-S", "-c", _RUN, str(_CORE), json.dumps(asked)]
    done = subprocess.run(
        ["faketime", "-f", clock, *program],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "NO_FAKE_STAT": "1"},
    )
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("clock", ["-400d", "+400d"])
def test_clocks_that_are_far_apart(site, clock):
    ann, bob = site.copy("ann", {"a": "a", "d/b": "b"}), site.copy("bob")
    operation, snapshot, now = sync(site, ann, clock)
    assert (operation, snapshot) == ("init", 1)
    assert abs(now - os.stat(site.live).st_mtime) > 300 * 86400, "the clock was not off"
    site.sync(bob)
    put(bob, "a", "by the right clock")
    site.sync(bob)
    put(ann, "d/b", "by the wrong clock")
    assert sync(site, ann, clock)[:2] == ["sync", 3]
    put(ann, "a", "once more")
    assert sync(site, ann, clock)[:2] == ["sync", 4]
    site.sync(bob)
    assert read(ann) == read(bob) == read(site.live)
    site.check_sound()
