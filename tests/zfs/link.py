# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From pytest to the process that runs cases inside a host."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.testbed.bed import Host

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
PLACES = {
    "_core": UTILS / "_core",
    "guest": ROOT / "tests" / "zfs" / "guest",
    # what builds the installed program, beside the core that goes into it
    "host/_core": UTILS / "_core",
    "host/_program.py": UTILS / "_program.py",
    # the contract suite, as it lies in the project
    **{
        f"project/{name}": ROOT / name
        for name in (
            *("plugins/module_utils/_core", "pyproject.toml", "tests/__init__.py"),
            *("tests/conftest.py", "tests/sample.py", "tests/contract"),
            "tests/integration/children.py",
            *("tests/integration/support.py", "tests/zfs/__init__.py", "tests/zfs/guest"),
        )
    },
}
HOME = "/opt/dsg-tests"
"""Where they are; every user of the host can read it."""


class Failed(AssertionError):
    """A case failed inside the host; the text is its traceback there."""


class Guest:
    """A host with our sources on it, and a warm process that runs cases there."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process: subprocess.Popen[str] | None = None

    def install(self) -> None:
        """Copy core and cases."""
        sources = ["tar", "-xf", "-", "-C", HOME]
        self.host.run("mkdir", "-p", HOME)
        argv = self.host.ssh_argv(*sources)
        subprocess.run(argv, input=_packed(), check=True, capture_output=True)
        self.host.run("sync")  # a power cut may be the first thing that happens to it

    def do(self, case: str, *, user: str = "", **arguments: Any) -> Any:
        """Run a case, its engine as ``user`` (root where that is empty); return what it returned.

        Raises :class:`Failed`, or EOFError if the host died.
        """
        if self._process is None:
            words = ["env", f"PYTHONPATH={HOME}", "python3", "-m", "guest.server"]
            self._process = subprocess.Popen(
                self.host.ssh_argv(*words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps({"case": case, "user": user, "arguments": arguments}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self.hang_up()
            raise EOFError(f"{self.host.name} went away in {case}")
        said = json.loads(line)
        if "error" in said:
            raise Failed(f"{case}\n{said['error']}")
        return said["result"]

    def hang_up(self) -> None:
        """End the process inside."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, place in PLACES.items():
            archive.add(place, name, filter=_source)
    return packed.getvalue()


def _source(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in info.name else info
