# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One virtual host for all of these tests, provisioned once, and a process inside that runs cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sample import below_tests, is_long
from tests.testbed.bed import Bed
from tests.testbed.groups import group
from tests.zfs.link import Guest
from tests.zfs.table import Row, Table, differences, unknown

HERE = Path(__file__).parent
_ROWS, _FIGURES = "zfs-rows", "zfs-figures"
_TABLE = pytest.StashKey[list[str]]()

# Long tests that share a host, about as long in every group; the main ones share one, too.
GROUPS = {
    **dict.fromkeys(("test_contract.py", "test_readers.py"), "zfs-contract"),
    **dict.fromkeys(
        ("test_atomic_playbook.py", "test_blocks.py", "test_playbooks.py", "test_remote.py"),
        "zfs-playbooks",
    ),
    **dict.fromkeys(("test_empty_host.py", "test_fleet.py"), "zfs-fleet"),
    **dict.fromkeys(
        (
            *("test_provisioning.py", "test_provisioning_playbooks.py"),
            *("test_repository_role.py", "test_maintenance_role.py", "test_txn.py"),
        ),
        "zfs-provisioning",
    ),
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a group, and with it its host, in one worker."""
    if HERE in item.path.parents:
        item.add_marker(pytest.mark.xdist_group(group(_hosts(item))))


def _hosts(item: pytest.Item) -> str:
    if not is_long(below_tests(item)):
        return "zfs"
    swept = "table" in getattr(item, "fixturenames", ())
    return "zfs-sweeps" if swept else GROUPS.get(item.path.name, "zfs-others")


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A host with a pool, a publish parent and our sources, for this test process alone."""
    with Bed(f"pytest-zfs-{os.getpid()}").use(["host1"]) as bed:
        guest = Guest(bed.host("host1"))
        guest.install()
        guest.do("lab.provision_pool", disk=guest.host.disks[0])
        yield guest
        guest.hang_up()


@pytest.fixture
def stride(request: pytest.FixtureRequest) -> int:
    """Return how many points of a sweep make one that is tried: 1 where all are."""
    return _stride(request.config)


def _stride(config: pytest.Config) -> int:
    found: int = config.getoption("stride", 1)
    return found


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Callable[[list[Row]], None]:
    """Return a function that adds rows to the crash matrix's table: printed and kept at the end."""

    def add(rows: list[Row]) -> None:
        request.node.user_properties.append((_ROWS, [request.node.name, rows]))

    return add


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Return a function that has figures printed at the end, also where the test passes."""

    def tell(figures: object) -> None:
        request.node.user_properties.append((_FIGURES, [request.node.name, str(figures)]))

    return tell


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep the table; one that is not the one in the docs, or a part of it, fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    found = dict(_told(reporter, _ROWS)) if reporter else {}
    if not found or hasattr(session.config, "workerinput"):  # a worker has seen a part at most
        return
    table = Table(found, _stride(session.config))
    page = table.save(session.config.rootpath / "build")
    session.config.stash[_TABLE] = lines = [*table.text().splitlines(), f"({page})"]
    published = session.config.rootpath / "docs" / "crash-table.md"
    shown = published.read_text(encoding="utf-8")
    if table.part:
        lines.append(table.part)
        differing = unknown(shown, table.page())
    else:
        differing = differences(shown, table.page())
    if differing:
        lines += [*differing, f"ERROR: {published} is not what this run saw: replace it."]
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and figures by test."""
    figures = [f"{test}: {told}" for test, told in _told(terminalreporter, _FIGURES)]
    for title, lines in (
        ("crash matrix on OpenZFS", config.stash.get(_TABLE, [])),
        ("figures on OpenZFS", figures),
    ):
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


def _told(reporter: pytest.TerminalReporter, kind: str) -> Iterator[tuple[str, Any]]:
    """Yield each test's name, and what it told of that kind, wherever it ran."""
    for outcome in ("passed", "failed"):
        for report in reporter.stats.get(outcome, []):
            for key, value in report.user_properties:
                if key == kind and value[1]:
                    yield tuple(value)


@pytest.fixture(scope="session")
def delegated(guest: Guest) -> Iterator[Guest]:
    """The host with what the role ``delegation`` provides."""
    guest.do("delegation.provision_user")
    yield guest
