# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Molecule's scenarios, on the installed tarball: create, converge, idempotence, verify, destroy.

It is what docs/testbed.md shows, at once (`make molecule`) and step by step.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.pages import Page
from tests.testbed.bed import Bed
from tests.testbed.groups import group
from tests.testbed.store import cache
from tests.tools import collection
from tests.tools.collection import BIN, InstalledCollection, environment, run
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]


def molecule(installed: InstalledCollection, scenario: str, folder: Path, **env: str) -> None:
    """Run a scenario from a copy of its own, with nothing in the user's folders."""
    copy = collection.clean_copy(folder)
    installed.run(
        "molecule",
        *("test", "--scenario-name", scenario),
        cwd=copy,
        DSG_COLLECTIONS=str(installed.collections),
        MOLECULE_EPHEMERAL_DIRECTORY=str(folder / "molecule"),
        **env,
    ).must_succeed()


def test_default_on_localhost(tmp_path: Path, installed_collection: InstalledCollection) -> None:
    molecule(installed_collection, "default", tmp_path)


@pytest.mark.timeout(3600)  # three hosts at once: 38 minutes beside two others, on two cores
@pytest.mark.xdist_group(group("molecule"))
def test_zfs_on_three_virtual_hosts(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    with Bed(f"molecule-{os.getpid()}").use([]) as bed:  # stopped whatever happens
        molecule(
            installed_collection,
            "zfs",
            tmp_path,
            DSG_MOLECULE_BED=bed.name,
            DSG_TESTBED_CACHE=str(cache().resolve()),
        )
        assert bed.hosts() == []


@pytest.mark.long
@pytest.mark.xdist_group(group("molecule"))
def test_zfs_step_by_step(tmp_path: Path) -> None:
    """The block of docs/testbed.md as it is, in a checkout of its own."""
    copy = collection.clean_copy(tmp_path)
    (copy / ".venv").symlink_to(BIN.parent)
    with Bed(f"steps-{os.getpid()}").use([]) as bed:
        page = Page("docs/testbed.md", tmp_path, {"--bed molecule": f"--bed {bed.name}"})
        (steps,) = [text for _kind, text in page.blocks if "export PATH" in text]
        env = {
            **environment(tmp_path / "home"),
            "DSG_MOLECULE_BED": bed.name,
            "DSG_TESTBED_CACHE": str(cache().resolve()),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
        }
        run(["sh", "-ec", steps], cwd=copy, env=env).must_succeed()
        assert bed.hosts() == []
