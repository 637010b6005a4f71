# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""galaxy-importer, which Galaxy and Automation Hub run on an upload, takes the tarball."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.tools import environments
from tests.tools.collection import InstalledCollection, run


def test_galaxy_importer_takes_the_tarball(
    installed_collection: InstalledCollection, tmp_path: Path
) -> None:
    # It pins versions of its own, hence an environment of its own.
    tools = environments.ensure(".venv-importer", sys.executable, "requirements-importer.txt")
    env = {
        **installed_collection.env,
        "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
        "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "true",
        "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(tmp_path / "ansible"),
        "HOME": str(tmp_path),
        "PATH": f"{tools}:{installed_collection.env['PATH']}",
    }
    # The importer must not find the collection that it judges already installed.
    env.pop("ANSIBLE_COLLECTIONS_PATH")
    argv = [tools / "python", "-m", "galaxy_importer.main", installed_collection.tarball]
    done = run(argv, cwd=tmp_path, env=env)
    said = done.stdout + done.stderr
    assert done.rc == 0 and "Importer processing completed successfully" in said, str(done)
    assert re.findall(r"(?m)^(?:ERROR|WARNING).*", said) == [], str(done)
