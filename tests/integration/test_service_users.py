# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of the helper when nobody is to have it any more, in places of its own.

What needs OpenZFS is tried in tests/zfs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.playbooks import Play
from tests.tools.collection import InstalledCollection


class Delegated:
    """A host on which somebody has the helper: the rule of sudo, the configuration, the program."""

    def __init__(self, root: Path, installed: InstalledCollection) -> None:
        self.installed, self.root = installed, root
        backend = {"type": "directory", "base": str(root / "base")}
        self.variables: dict[str, Any] = {
            "dsg_hosts": "localhost",
            "dsg_repositories": [{"name": "docs", "backend": backend}],
            "delegation_sudo_rule": str(root / "rule"),
            "delegation_configuration": str(root / "helper.json"),
            "delegation_program": str(root / "program"),
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }
        for name in ("rule", "helper.json", "program", "other"):
            (root / name).write_text("there\n")

    def play(self, *options: str, **variables: Any) -> Play:
        extra = json.dumps({**self.variables, **variables})
        arguments = ["-i", "localhost,", "-c", "local", "-e", extra, *options]
        return Play(self.installed.playbook("dsg.storage.provision", *arguments)).succeeded()

    def left(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name != "base")


NOBODY: dict[str, Any] = {"dsg_service_users": []}


def test_where_none_are_declared_they_are_somebody_else_s_business(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """A play of its own may have delegated."""
    (tmp_path / "host").mkdir()
    host = Delegated(tmp_path / "host", installed_collection)
    before = host.left()
    host.play()
    assert host.left() == before


def test_the_last_one_leaves_no_helper(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    """The rule and the configuration go, nothing else; a host without them has nothing to do."""
    (tmp_path / "host").mkdir()
    host = Delegated(tmp_path / "host", installed_collection)
    before = host.left()
    announced = host.play("--check", **NOBODY).changed("localhost")
    assert host.left() == before
    assert host.play(**NOBODY).changed("localhost") == announced
    assert host.left() == ["other", "program"]
    for options in (["--check"], []):
        assert host.play(*options, **NOBODY).changed("localhost") == 0


def test_it_is_undone_whoever_is_on_the_list(
    tmp_path: Path, installed_collection: InstalledCollection
) -> None:
    (tmp_path / "host").mkdir()
    host = Delegated(tmp_path / "host", installed_collection)
    undone = {
        **NOBODY,
        "delegation_state": "absent",
        "delegation_others": [str(tmp_path / "host" / "other")],
    }
    announced = host.play("--check", **undone).changed("localhost")
    assert host.play(**undone).changed("localhost") == announced
    assert host.left() == ["other", "program"], "somebody else needs the program"
    assert host.play(**undone).changed("localhost") == 0
