# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One virtual host for all of these tests, provisioned once, and a process inside that runs cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.testbed.bed import Bed
from tests.zfs.link import Guest
from tests.zfs.table import ARTIFACT, Table

HERE = Path(__file__).parent


# Tests that share a host, about as long in every group; all others share one, too.
GROUPS = {
    **dict.fromkeys(("test_contract.py", "test_readers.py"), "zfs-contract"),
    **dict.fromkeys(
        ("test_atomic_playbook.py", "test_blocks.py", "test_playbooks.py", "test_remote.py"),
        "zfs-playbooks",
    ),
    "test_fleet.py": "zfs-fleet",
    **dict.fromkeys(
        (
            *("test_provisioning.py", "test_provisioning_playbooks.py"),
            *("test_repository_role.py", "test_maintenance_role.py", "test_txn.py"),
        ),
        "zfs-provisioning",
    ),
}
# What is left to `make test-long`, so that `make test` ends within half an hour on two cores.
LONG = (
    "test_contract.py::",
    "test_crash.py::test_every_point[init-error]",
    "test_crash.py::test_every_point[sync-error]",
    "test_atomic_playbook.py::test_unarchive",
    "test_blocks.py::",
    "test_fleet.py::",
    "test_maintenance_role.py::",
    "test_playbooks.py::",
    "test_provisioning.py::",
    "test_provisioning_playbooks.py::",
    "test_readers.py::",
    "test_remote.py::",
    "test_repository_role.py::",
    "test_txn.py::test_killed",
    "test_txn.py::test_power_cut",
    "test_verifying.py::",
)


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a group in one worker, and those that add to the table in one of theirs."""
    for item in items:
        if HERE in item.path.parents:
            fixtures = getattr(item, "fixturenames", ())
            group = GROUPS.get(item.path.name, "zfs")
            item.add_marker(pytest.mark.xdist_group("zfs-sweeps" if "table" in fixtures else group))
            if any(f"/{start}" in item.nodeid for start in LONG):
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A host with a pool, a publish parent and our sources, for this test process alone."""
    with Bed(f"pytest-zfs-{os.getpid()}").use(["host1"]) as bed:
        guest = Guest(bed.host("host1"))
        guest.install()
        guest.do("lab.provision_pool", disk=guest.host.disks[0])
        yield guest
        guest.hang_up()


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Iterator[Table]:
    """The crash matrix's table: printed and kept at the end."""
    table = Table()
    yield table
    if not table.rows:
        return
    table.save()
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\n{table.text()}({ARTIFACT})")


@pytest.fixture
def say(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Print figures also where the test passes."""

    def write(figures: object) -> None:
        request.node.user_properties.append(("figures", str(figures)))
        reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f" {figures}")

    return write
