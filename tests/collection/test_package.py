# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball holds the collection and nothing of the workshop."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

from tests.tools import collection
from tests.tools.collection import InstalledCollection


def test_the_tarball_holds_every_plugin_role_and_playbook(
    installed_collection: InstalledCollection,
) -> None:
    with tarfile.open(installed_collection.tarball) as tarball:
        packed = set(tarball.getnames())
    shipped = ("plugins/", "roles/", "playbooks/", "meta/", "docs/", "README.md", "CHANGELOG.rst")
    assert [
        name for name in collection.files() if name.startswith(shipped) and name not in packed
    ] == []
    assert [name for name in packed if name.startswith((".cache", ".venv", ".git", ".ci"))] == []


def test_a_build_in_the_checkout_itself_leaves_the_workshop_out(
    clean_copy: Path, tmp_path: Path
) -> None:
    source = collection.clean_copy(tmp_path)
    for name in (
        ".venv/bin/python",
        ".venv-importer/x",
        ".cache/mypy/x",
        ".ansible/x",
        "old.tar.gz",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    (tmp_path / "out").mkdir()
    with tarfile.open(collection.build(source, tmp_path / "out")) as tarball:
        packed = tarball.getnames()
    assert [
        name for name in packed if name.startswith((".venv", ".cache", ".ansible/", "old"))
    ] == []


def test_every_module_runs_and_refuses_an_unknown_option(
    installed_collection: InstalledCollection, tmp_path: Path
) -> None:
    """A module whose payload lacks a part of the core would fail before it reads its options."""
    modules = sorted((installed_collection.path / "plugins" / "modules").glob("[!_]*.py"))
    tasks = [
        {
            "name": path.stem,
            f"dsg.storage.{path.stem}": {"no_such_option": 1},
            "ignore_errors": True,
        }
        for path in modules
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = installed_collection.playbook(tmp_path / "play.yml").must_succeed()
    said = {task["task"]: task["result"]["msg"] for task in done.tasks}
    assert sorted(said) == [path.stem for path in modules], str(done)
    refusals = ("Unsupported parameters", "missing required arguments", "no_such_option")
    assert {name: text for name, text in said.items() if not text.startswith(refusals)} == {}


def test_the_core_runs_from_the_installation_without_ansible(
    installed_collection: InstalledCollection,
) -> None:
    code = "import _core.errors, sys; sys.exit('ansible' in sys.modules)"
    path = installed_collection.path / "plugins" / "module_utils"
    argv = ["python3", "-I", "-c", f"import sys; sys.path.insert(0, {str(path)!r}); {code}"]
    assert subprocess.run(argv, env=dict(os.environ), check=False).returncode == 0
