# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test bed for pytest. In a conftest.py: ``from tests.testbed.fixtures import *``.

Nothing is skipped: where the hosts cannot be built or started, the tests that ask for them fail and
say why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from .bed import Bed, Host, host_names

__all__ = ["testbed", "zfs_host", "zfs_hosts"]

StartHosts = Callable[[int], "list[Host]"]


@pytest.fixture(scope="session")
def testbed() -> Iterator[Bed]:
    """A bed of this test process alone, without hosts yet; whatever it has is stopped at the end."""
    with Bed(f"pytest-{os.getpid()}").use([]) as bed:
        yield bed


@pytest.fixture
def zfs_hosts(testbed: Bed) -> StartHosts:
    """Call it with a number: that many hosts (host1 ...), in the saved state, disks empty."""

    def start(count: int) -> list[Host]:
        names = host_names(count)
        there = [host.name for host in testbed.hosts() if host.name in names]
        hosts = testbed.start([name for name in names if name not in there])
        if there:
            testbed.reset(there)
        return sorted([*hosts, *map(testbed.host, there)], key=lambda host: host.name)

    return start


@pytest.fixture
def zfs_host(zfs_hosts: StartHosts) -> Host:
    """One host in the saved state, its disks empty."""
    return zfs_hosts(1)[0]
