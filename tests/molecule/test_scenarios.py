# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Molecule's scenarios, on the installed tarball: create, converge, idempotence, verify, destroy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.testbed.bed import Bed
from tests.testbed.store import cache
from tests.tools import collection
from tests.tools.collection import InstalledCollection
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


@pytest.mark.xdist_group("molecule")
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
