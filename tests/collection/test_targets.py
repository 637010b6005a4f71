# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every test is run by some make target: one that nobody runs would pass for ever.

So `make test` of README.md runs what it should.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import NamedTuple

import pytest
import tomllib

from tests.sample import SAMPLED
from tests.tools.collection import ROOT, run

ON_HOSTS = ("tests/molecule", "tests/testbed", "tests/zfs")
LISTING = """
import json, os

def pytest_collection_finish(session):
    found = {item.nodeid: item.get_closest_marker("long") is not None for item in session.items}
    with open(os.environ["FOUND"], "w") as stream:
        json.dump(found, stream)
"""
Tests = dict[str, bool]  # node id: whether it is long


class Target(NamedTuple):
    """What a make target gives to pytest: folders, and which marks."""

    folders: list[str]
    marks: str

    def takes(self, test: str, long: bool) -> bool:
        """Whether it runs this test."""
        inside = any(test.startswith(f"{folder}/") for folder in self.folders)
        return inside and {"": True, "long": long, "not long": not long}[self.marks]


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Tests:
    """Every test below tests/, whatever the settings say about folders."""
    folder = tmp_path_factory.mktemp("listing")
    (folder / "dsg_listing.py").write_text(LISTING)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "FOUND": str(folder / "found")}
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0"]
    argv += ["-p", "dsg_listing", "-o", f"cache_dir={folder}", "tests"]
    run(argv, cwd=ROOT, env=env).must_succeed()
    found: Tests = json.loads((folder / "found").read_text())
    return found


def target(name: str) -> Target:
    """Return what `make name` would run, as make itself tells it."""
    # What a `make` around this test was given is not to count.
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    told = run(["make", "-n", name, "PYTEST_ARGS="], cwd=ROOT, env=env).must_succeed().stdout
    (line,) = [line for line in told.splitlines() if " -m pytest " in line]
    words = shlex.split(line.partition(" -m pytest ")[2])
    marks = words[words.index("-m") + 1] if "-m" in words else ""
    return Target([word for word in words if word.startswith("tests/")] or settings(), marks)


def settings() -> list[str]:
    """Return the folders that pytest looks at when it is told none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders: list[str] = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["testpaths"]
    return folders


def left_out(tests: Tests, *targets: str) -> list[str]:
    """Return the tests that none of these targets runs."""
    found = [target(name) for name in targets]
    return [test for test, long in tests.items() if not any(one.takes(test, long) for one in found)]


def test_every_file_of_tests_is_collected(tests: Tests) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert files - {test.partition("::")[0] for test in tests} == set()


def test_every_test_is_in_test_or_in_test_long(tests: Tests) -> None:
    assert left_out(tests, "test", "test-long") == []
    assert set(left_out(tests, "test")) == {test for test, long in tests.items() if long}


def test_only_what_needs_a_virtual_host_is_not_in_test_fast(tests: Tests) -> None:
    missing = {test for test in left_out(tests, "test-fast") if not tests[test]}
    assert missing == {
        test for test, long in tests.items() if test.startswith(ON_HOSTS) and not long
    }


def test_every_test_on_virtual_hosts_is_in_test_zfs(tests: Tests) -> None:
    assert [test for test in left_out(tests, "test-zfs") if test.startswith(ON_HOSTS)] == []


def test_the_settings_say_which_target_runs_long_ones() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    markers = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["markers"]
    (mark,) = [mark for mark in markers if mark.startswith("long: ")]
    assert "`make test-long`" in mark


def test_what_is_sampled_is_there(tests: Tests) -> None:
    """A test that got another name would leave `make test` without a word."""
    named = [f"tests/{path}{'' if path.endswith('/') else '::'}" for path in SAMPLED]
    mains = [start + main for start, path in zip(named, SAMPLED) for main in SAMPLED[path]]
    assert [main for main in mains if not any(test.startswith(main) for test in tests)] == []
