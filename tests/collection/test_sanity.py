# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ansible-test sanity``: all of its tests, on every interpreter of this machine that it knows."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.tools import sanity
from tests.tools.collection import run

EXPECTED = (
    r"Using locale |Reviewing previous |Skipping .* because it could not be found"
    r"|Location '.*' is ignored"  # pip's, of an index in the user's own settings
)


def test_ansible_test_sanity(clean_copy: Path) -> None:
    argv, env = sanity.command("sanity", "--local", "--color", "no")
    done = run([*argv], cwd=clean_copy, env=env)
    done.must_succeed()
    # Absent tools and skipped tests are warnings; only what `make test` has reported may be absent.
    warnings = re.findall(r"^WARNING: (.*)", done.stdout + done.stderr, flags=re.MULTILINE)
    assert [line for line in warnings if not re.match(EXPECTED, line)] == []


def test_nothing_is_exempt_from_sanity(clean_copy: Path) -> None:
    folder = clean_copy / "tests" / "sanity"
    assert not folder.exists() or [name for name in os.listdir(folder) if "ignore" in name] == []
