# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the core importable as ``_core``, keeps the clock out of tests, and orders them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.sample import below_tests, is_long

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY_ROOT / "plugins" / "module_utils"))

# A busy machine must not fail a test: no deadlines. Failing examples print how to replay them.
settings.register_profile(
    "dsg", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dsg")

HERE = Path(__file__).resolve().parent
LONGEST_FIRST = (
    "zfs/test_crash.py",  # builds the guest, if need be; meanwhile the others do what needs none
    *("collection/test_sanity.py", "collection/test_importer.py", "collection/test_lint.py"),
    *("collection/test_interpreters.py", "integration/test_demo.py", "integration/test_guide.py"),
    *("zfs", "molecule", "testbed"),
)

_TOLD = 12
"""Lines of a failure that are told at once: the end, where the error is."""


class _AtOnce:
    """Tells what failed when it fails: a run that somebody ends has no summary to tell it in."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.terminal.ensure_newline()
            self.terminal.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)
            for line in report.longreprtext.splitlines()[-_TOLD:]:
                self.terminal.write_line(f"  {line}")


def _odd(text: str) -> int:
    """Read a number of points: every second one would be befores alone."""
    if not text.isascii() or not text.isdecimal() or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no odd number from 1 on")
    return int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run take a part of the longest sweeps."""
    parser.addoption(
        "--stride",
        type=_odd,
        default=1,
        metavar="N",
        help="of the sweeps on virtual hosts, take every Nth point; an odd number",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have failures named at once, where somebody reads along: not in a worker."""
    plugins = session.config.pluginmanager
    terminal = plugins.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        plugins.register(_AtOnce(terminal))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is long, before anything chooses by that."""
    if is_long(below_tests(item)):
        item.add_marker(pytest.mark.long)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes minutes first, so that no worker is left alone with it at the end."""

    def rank(item: pytest.Item) -> int:
        path = below_tests(item)
        found = (n for n, start in enumerate(LONGEST_FIRST) if path.startswith(start))
        return next(found, len(LONGEST_FIRST))

    items.sort(key=rank)
