# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract suite of all backends, run by pytest inside the host, in pools of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import tempfile
from typing import Any

from _core.backends.zfs.rights import REQUIRED
from guest.as_user import as_user
from guest.delegation import CONFIGURATION
from guest.lab import create_pool, in_parallel, sh
from guest.provisioning import clean

HOME = "/opt/dsg-tests/project"


def run(nodes: list[str], disks: list[str], name: str) -> dict[str, Any]:
    """Run these tests as user ``name``, shared among as many processes as there are disks.

    Returns node id → [outcome, seconds, what it said] of every test that ran.
    """
    found: dict[str, Any] = {}
    for part in in_parallel(
        len(disks),
        lambda n: _share(nodes[n :: len(disks)], f"{name}{n}", disks[n], name),
    ):
        found.update(part)
    return found


def _share(nodes: list[str], pool: str, disk: str, user: str) -> dict[str, Any]:
    create_pool(pool, disk)
    os.environ["DSG_CONTRACT_POOL"] = pool
    found: dict[str, Any] = (
        _results(nodes) if user == "root" else as_user(user, lambda: _results(nodes))
    )
    clean([pool], [disk])
    return found


def _results(nodes: list[str]) -> dict[str, Any]:
    os.chdir(HOME)
    import pytest

    class Results:
        def __init__(self) -> None:
            self.found: dict[str, Any] = {}

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            outcome, seconds, said = self.found.setdefault(report.nodeid, ["passed", 0.0, ""])
            if report.outcome != "passed":
                outcome, said = report.outcome, said + report.longreprtext
            self.found[report.nodeid] = [outcome, round(seconds + report.duration, 1), said]

    results = Results()
    options = {
        # In place of the settings' own: there is no xdist here, which brings the first one.
        "markers": "xdist_group: which tests run in one worker\nlong: \nroot: needs root's rights",
        "cache_dir": f"/tmp/pytest-cache-{os.getpid()}",
    }
    # Its own temporary folder: the environment still names root.
    words = ["--basetemp", f"/tmp/pytest-contract-{os.getpid()}"]
    words += [word for item in options.items() for word in ("-o", "=".join(item))]
    status = pytest.main(["-q", *words, *nodes], plugins=[results])
    assert status in (0, 1), f"pytest ended with {status}"
    return results.found


def delegate(parent: str) -> None:
    """Let the user that this is publish below one more parent, as the role does."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    sh("zfs", "allow", "-u", user, ",".join(REQUIRED), parent)
    for place in (parent, f"{parent}/.dsg"):
        sh("zfs", "allow", "-l", "-u", user, "create", place)
    with open(f"/tmp/delegating-{user}", "w") as alone, tempfile.NamedTemporaryFile("w") as stream:
        fcntl.flock(alone, fcntl.LOCK_EX)
        with open(CONFIGURATION, encoding="utf-8") as present:
            parents = json.load(present)["parents"]
        json.dump({"format": 1, "parents": {**parents, parent: user}}, stream)
        stream.flush()
        sh("cp", stream.name, CONFIGURATION)
