# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests that share virtual hosts stay in one worker: nothing else would tell that they do not."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tools.collection import run
from tests.zfs.conftest import pytest_collection_modifyitems as mark_tests_on_zfs

CASES = """
import os, pytest

@pytest.mark.parametrize("number", range(6))
def test_one(number, request):
    with open(request.config.rootpath / "workers", "a") as workers:
        workers.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""
MARKS = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group("together"))
"""


def test_a_group_stays_in_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "conftest.py").write_text(MARKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--rootdir", tmp_path]
    run([*argv, tmp_path], cwd=tmp_path).must_succeed()
    workers = (tmp_path / "workers").read_text().split()
    assert (len(workers), len(set(workers))) == (6, 1)


def test_the_tests_on_zfs_are_marked_before_the_groups_are_made() -> None:
    assert mark_tests_on_zfs.pytest_impl["tryfirst"]
