# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Session fixtures that several test folders share; their conftest.py imports them.

Each is made once per run of pytest, also when xdist runs several workers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import collection
from tests.tools.environments import locked


@pytest.fixture(scope="session")
def shared_tmp(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def clean_copy(shared_tmp: Path) -> Path:
    """The repository's files alone, at .../ansible_collections/dsg/storage."""
    with locked("clean-copy.lock", shared_tmp):
        target = shared_tmp / "source" / "ansible_collections" / "dsg" / "storage"
        return target if target.exists() else collection.clean_copy(shared_tmp / "source")


@pytest.fixture(scope="session")
def installed_collection(shared_tmp: Path, clean_copy: Path) -> collection.InstalledCollection:
    """The built tarball, installed into an otherwise empty collections path."""
    out, path = shared_tmp / "tarball", shared_tmp / "collections"
    with locked("installed-collection.lock", shared_tmp):
        if not path.exists():
            out.mkdir()
            collection.install(collection.build(clean_copy, out), path)
    (tarball,) = out.glob("*.tar.gz")
    return collection.InstalledCollection(tarball, path)
