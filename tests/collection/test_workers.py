# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests that share virtual hosts stay in one worker, and what they tell is printed at the end."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.testbed.groups import group
from tests.tools.collection import ROOT, Result, run
from tests.zfs.table import MATRIX as WHOLE
from tests.zfs.table import differences

CORE = ROOT / "plugins" / "module_utils"

CASES = """
import os, pytest

@pytest.mark.parametrize("number", range(6))
def test_one(number, request):
    with open(request.config.rootpath / "workers", "a") as workers:
        workers.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""
MARKS = """
import pytest

def pytest_itemcollected(item):
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


@pytest.mark.parametrize(("processors", "groups"), [(1, 1), (2, 1), (5, 1), (6, 2), (None, 1)])
def test_hosts_wait_for_each_other_where_processors_are_few(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, groups: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert len({group("zfs"), group("molecule")}) == groups


MATRIX = """
from tests.zfs import table

pytest_plugins = ["tests.zfs.conftest"]
table.MATRIX = ("test_first", "test_second[kill]", "test_second[error]")
"""
OPTION = """
from tests.conftest import pytest_addoption
"""
FILLING = """
import pytest

def test_first(table, say):
    say("7 points in 2 s")
    table([["init", "zfs create init", "killed before", "killed", "old"]])

@pytest.mark.parametrize("faults", ["kill", "error"])
def test_second(table, say, faults):
    fault = {"kill": "killed behind", "error": "fails"}[faults]
    end = {"kill": "killed", "error": "DSG-ZFS"}[faults]
    table([["sync", "zfs rename live old", fault, end, "new"]])
    say({"faults": faults})
    assert faults != "kill", "rows count also where a point failed"
"""
PAGE = """
## Init

| step | killed before |
| --- | --- |
| `zfs create init` | old |

## Sync

| step | killed behind | fails |
| --- | --- | --- |
| `zfs rename live old` | new | new (DSG-ZFS) |
"""


class Suite:
    """A few tests that fill the table of tests/zfs, and a page of docs that shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.page = folder / "docs" / "crash-table.md"
        self.page.parent.mkdir()
        self.page.write_text(PAGE)
        (folder / "test_filling.py").write_text(FILLING)
        (folder / "conftest.py").write_text(MATRIX)
        (folder / "pytest.ini").write_text(
            f"[pytest]\npythonpath = {ROOT} {CORE}\nmarkers = long\n"
        )

    def run(self, *options: str) -> Result:
        argv = [sys.executable, "-m", "pytest", "--rootdir", self.folder, *options]
        return run([*argv, self.folder], cwd=self.folder)

    def kept(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / "build").iterdir()}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_table_and_figures_are_printed_and_kept_at_the_end(suite: Suite, workers: str) -> None:
    done = suite.run("-n", workers, "--dist", "loadgroup")
    assert done.rc == 1 and "2 passed" in done.stdout and "1 failed" in done.stdout, done
    for line in (
        r"^init +zfs create init +killed before +killed +old$",
        r"^sync +zfs rename live old +killed behind +killed +new$",
        r"^sync +zfs rename live old +fails +DSG-ZFS +new$",
        r"^test_first: 7 points in 2 s$",
        r"^test_second\[kill\]: \{'faults': 'kill'\}$",
    ):
        assert len(re.findall(line, done.stdout, re.MULTILINE)) == 1, (line, done.stdout)
    assert set(suite.kept()) == {"zfs-crash-table.txt", "zfs-crash-table.md"}
    assert suite.kept()["zfs-crash-table.md"].endswith(PAGE)
    assert "only in" not in done.stdout and "Only a part" not in done.stdout


def test_a_part_does_not_replace_the_whole_table(suite: Suite) -> None:
    suite.run("-n", "0")
    whole = suite.kept()
    done = suite.run("-n", "0", "-k", "error or first")
    assert done.rc == 0 and "nothing was told by test_second[kill]." in done.stdout, done
    assert {name: text for name, text in suite.kept().items() if name in whole} == whole
    part = suite.kept()["zfs-crash-table-part.md"]
    assert "nothing was told by test_second[kill]." in part and "DSG-ZFS" in part


def test_a_part_that_sees_what_the_docs_do_not_show_fails_the_run(suite: Suite) -> None:
    """What it lacks is no difference: others would have told it."""
    suite.page.write_text(PAGE.replace("new (DSG-ZFS)", "old (DSG-ZFS)"))
    done = suite.run("-n", "0", "-k", "error or first")
    assert done.rc == 1 and "nothing was told by test_second[kill]." in done.stdout, done
    assert "only in this run: Sync, zfs rename live old, fails, new (DSG-ZFS)" in done.stdout
    assert "only in the docs" not in done.stdout


def test_every_third_point_is_a_part(suite: Suite) -> None:
    (suite.folder / "conftest.py").write_text(f"{MATRIX}{OPTION}")
    done = suite.run("-n", "0", "--stride", "3")
    assert "Only a part: only one point in 3 was tried." in done.stdout, done
    assert set(suite.kept()) == {"zfs-crash-table-part.txt", "zfs-crash-table-part.md"}
    for refused in ("2", "0", "-1", "all"):
        assert "is no odd number" in suite.run("-n", "0", "--stride", refused).stderr


def test_a_whole_table_that_is_not_the_one_of_the_docs_fails_the_run(suite: Suite) -> None:
    made = (suite.folder / "test_filling.py").read_text()
    suite.page.write_text(PAGE.replace("`zfs create init`", "`zfs create init`, `zfs hold init`"))
    (suite.folder / "test_filling.py").write_text(
        made.replace('assert faults != "kill"', "assert 1")
    )
    done = suite.run("-n", "2")
    assert done.rc == 1 and "3 passed" in done.stdout, done
    assert "only in the docs: Init, zfs hold init, killed before, old" in done.stdout
    assert "only in this run" not in done.stdout
    suite.page.write_text(PAGE.replace("new (DSG-ZFS)", "old (DSG-ZFS)"))
    done = suite.run("-n", "0")
    assert done.rc == 1 and "3 passed" in done.stdout, done
    assert "only in this run: Sync, zfs rename live old, fails, new (DSG-ZFS)" in done.stdout
    suite.page.write_text(PAGE)
    assert suite.run("-n", "0").rc == 0


def test_the_page_of_the_docs_is_read_as_it_was_written() -> None:
    """Its every cell counts: none is passed over because it is written in another way."""
    page = (ROOT / "docs" / "crash-table.md").read_text(encoding="utf-8")
    assert differences(page, page) == []
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(lines) > 50
    for line in lines:
        cells = line.strip("|").split("|")
        filled = sum(1 for cell in cells[1:] if cell.strip())
        lost = differences(page.replace(f"{line}\n", "", 1), page)
        told_twice = sum(1 for other in lines if other == line) > 1 or "`zfs get state`" in line
        assert told_twice or len(lost) == filled * cells[0].count("`, `") + filled, line


LISTING = """
import os, pathlib

def pytest_collection_finish(session):
    names = [item.name for item in session.items if "table" in item.fixturenames]
    pathlib.Path(os.environ["FOUND"]).write_text("\\n".join(names))
"""


def test_the_matrix_names_every_test_that_fills_the_table(tmp_path: Path) -> None:
    """A run is told to be whole by these names alone."""
    (tmp_path / "dsg_listing.py").write_text(LISTING)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "FOUND": str(tmp_path / "found")}
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "tests/zfs"]
    options = ["-p", "dsg_listing", "-o", f"cache_dir={tmp_path}"]
    run([*argv, *options], cwd=ROOT, env=env).must_succeed()
    assert (tmp_path / "found").read_text().split() == list(WHOLE)
