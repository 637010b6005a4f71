# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``repository_boot_recovery: false`` takes away, in a directory of units of its own.

``systemctl`` is played by a script that writes down what it is asked for; tests/zfs has the real one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import Play
from tests.tools.collection import InstalledCollection

UNIT = "dsg-recover.service"
SYSTEMCTL = """#!/bin/sh
case "$1" in
  show) printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\n' "$2" ;;
  stop | daemon-reload) echo "$*" >> {said} ;;
  *) exit 1 ;;
esac
"""


class Boot:
    """A host whose repository is a directory, with units and a program of its own."""

    def __init__(self, root: Path, installed: InstalledCollection) -> None:
        self.installed = installed
        self.root = root
        self.units = root / "units"
        self.wants = self.units / "zfs.target.wants"
        self.wants.mkdir(parents=True)
        self.said = root / "said"
        self.said.touch()
        (root / "bin").mkdir()
        systemctl = root / "bin" / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(said=self.said))
        systemctl.chmod(0o755)
        backend = {"type": "directory", "base": str(root / "base")}
        self.variables: dict[str, Any] = {
            "dsg_hosts": "localhost",
            "dsg_repositories": [{"name": "docs", "backend": backend}],
            "repository_unit_directory": str(self.units),
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }

    def set_up(self) -> None:
        """Put there what the role installs, and a neighbour of it."""
        (self.units / UNIT).write_text("[Service]\n")
        os.symlink(self.units / UNIT, self.wants / UNIT)
        for folder in (self.units, self.wants):
            (folder / "other.service").write_text("[Service]\n")

    def play(self, *options: str, **variables: Any) -> Play:
        extra = json.dumps({**self.variables, **variables})
        arguments = ["-i", "localhost,", "-c", "local", "-e", extra, *options]
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return Play(self.installed.playbook("dsg.storage.provision", *arguments, PATH=path))

    def listed(self) -> list[str]:
        return sorted(str(path.relative_to(self.units)) for path in self.units.rglob("*"))


@pytest.fixture
def boot(tmp_path: Path, installed_collection: InstalledCollection) -> Boot:
    made = Boot(tmp_path, installed_collection)
    made.play().succeeded()  # the base directory is none of what is counted below
    return made


def changed(play: Play) -> int:
    return play.succeeded().changed("localhost")


def test_the_unit_and_nothing_else_is_removed(boot: Boot) -> None:
    boot.set_up()
    before = boot.listed()
    assert changed(boot.play()) == 0
    announced = boot.play("--check", "--diff", repository_boot_recovery=False)
    assert (boot.listed(), boot.said.read_text()) == (before, "")
    done = boot.play(
        "--diff", repository_boot_recovery="false"
    )  # as a word, with -e on a command line
    assert changed(done) == changed(announced) == 2
    assert boot.listed() == ["other.service", "zfs.target.wants", "zfs.target.wants/other.service"]
    assert boot.said.read_text().split("\n") == [f"stop {UNIT}", "daemon-reload", ""]


def test_where_there_is_none_nothing_is_done(boot: Boot) -> None:
    """A host without systemd is told to say false: nothing of systemd may be asked there."""
    for options in (["--check"], []):
        assert changed(boot.play(*options, repository_boot_recovery=False)) == 0
    assert (boot.listed(), boot.said.read_text()) == (["zfs.target.wants"], "")
