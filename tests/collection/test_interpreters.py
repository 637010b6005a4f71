# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit tests on the interpreters of this machine, and on the other ansible-cores.

`make test` prints which interpreters there are, and which are absent.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import pytest

from tests.tools import environments
from tests.tools.collection import ROOT, run

FLOOR = (11, 12, 13)  # for ansible-core 2.18, the oldest that meta/runtime.yml allows
CORE = "tests/unit/core"
NEWEST_FROM = 12  # the newest ansible-core needs this Python or a newer one


class Case(NamedTuple):
    """Run ``folder`` on Python 3.``minor`` in an environment with ``requirements``."""

    minor: int
    requirements: str
    folder: str

    @property
    def name(self) -> str:
        return f"python3.{self.minor}-{self.requirements.split('-')[1].split('.')[0]}"


def _cases() -> list[Case]:
    here = sys.version_info.minor
    found = sorted(environments.interpreters())
    newest = max((minor for minor in found if minor >= NEWEST_FROM), default=None)
    floor = min((minor for minor in found if minor in FLOOR), default=None)
    cases = []
    for minor in found:
        if minor == newest and minor != here:
            cases.append(Case(minor, "requirements-ansible.txt", "tests/unit"))
        else:  # this one as well: nothing of the main environment may be needed
            cases.append(Case(minor, "requirements-core.txt", CORE))
        if minor == floor:
            cases.append(Case(minor, "requirements-floor.txt", "tests/unit/ansible"))
    return cases


def _parameters() -> list[Any]:
    """Those between the oldest and the newest interpreter are left to `make test-long`."""
    oldest = min(environments.interpreters())
    between = [case for case in _cases() if case.folder == CORE and case.minor != oldest]
    marks = {case: [pytest.mark.long] for case in between}
    return [pytest.param(case, id=case.name, marks=marks.get(case, [])) for case in _cases()]


@pytest.mark.parametrize("case", _parameters())
def test_unit_tests_pass(case: Case) -> None:
    python = environments.interpreters()[case.minor].path
    tools = environments.ensure(f".venv-{case.name}", python, case.requirements)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    argv = [tools / "python", "-m", "pytest", "-q", "-o", f"cache_dir=.cache/pytest-{case.name}"]
    done = run([*argv, case.folder], cwd=ROOT, env={**env, "PATH": f"{tools}:{env['PATH']}"})
    done.must_succeed()
    assert " skipped" not in done.stdout, str(done)
