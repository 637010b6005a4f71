# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two people, one storage base, one inventory: the ground that the playbooks are tested on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.tools import environments
from tests.tools.collection import InstalledCollection, Result, run
from tests.unit.trees import content


class Core(NamedTuple):
    """An ansible-core that the tests run on; ``minor`` is its Python, 0 for the tests' own."""

    name: str
    minor: int
    requirements: str

    def on(self, installed: InstalledCollection) -> InstalledCollection:
        """Return the installed collection as run by this ansible-core."""
        if not self.minor:
            return installed
        python = environments.interpreters()[self.minor].path
        name = f".venv-python3.{self.minor}-{self.name}"
        return _OnCore(installed, environments.ensure(name, python, self.requirements))


class _OnCore(InstalledCollection):
    """The same installation, run by the tools of another environment."""

    def __init__(self, installed: InstalledCollection, tools: Path) -> None:
        super().__init__(installed.tarball, installed.collections)
        self.tools = tools

    def run(
        self, command: str, *arguments: str | Path, cwd: Path | None = None, **env: str
    ) -> Result:
        path = f"{self.tools}:{self.env['PATH']}"
        return run(
            [self.tools / command, *arguments], cwd=cwd, env={**self.env, "PATH": path, **env}
        )


HERE = Core("here", 0, "")


def cores(*, floor: bool) -> list[Core]:
    """Return the ansible-cores of this machine: ours, the newest, and the oldest if ``floor``."""
    found = set(environments.interpreters())
    newest = max((minor for minor in found if minor >= 12), default=0)
    oldest = next((minor for minor in (11, 12, 13) if minor in found), 0)
    listed = [HERE]
    if newest and newest != sys.version_info.minor:
        listed.append(Core("ansible", newest, "requirements-ansible.txt"))
    if floor and oldest:
        listed.append(Core("floor", oldest, "requirements-floor.txt"))
    return listed


class Ground:
    """Ann's and Ben's working copies of the repository ``docs``, published below ``base``."""

    def __init__(self, root: Path, installed: InstalledCollection) -> None:
        self.root = root
        self.installed = installed
        self.base = root / "srv" / "dsg"
        self.live = self.base / "docs"
        self.ann, self.ben = root / "ann" / "docs", root / "ben" / "docs"
        self.inventory = root / "inventory.json"
        self.definition: dict[str, Any] = {
            "name": "docs",
            "src": f"{root}/{{{{ inventory_hostname }}}}/docs",
            "backend": {"type": "directory", "base": str(self.base)},
            "user": "{{ inventory_hostname }}",
        }
        for directory in (self.ann, self.ben.parent, self.base.parent):
            directory.mkdir(parents=True)
        self.write({"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n", "sub/d.txt": "d\n"})
        self.define(self.definition)

    def define(self, *definitions: dict[str, Any], **variables: Any) -> None:
        """Write the inventory."""
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "dsg_repositories": list(definitions),
            **variables,
        }
        hosts: dict[str, Any] = {"ann": {}, "ben": {}}
        self.inventory.write_text(json.dumps({"storage": {"hosts": hosts, "vars": shared}}))

    def write(self, files: dict[str, str], root: Path | None = None) -> None:
        """Write files into a working copy, Ann's unless told otherwise."""
        for name, text in files.items():
            path = (root or self.ann) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def play(self, playbooks: str, *options: str, who: str = "ann", **extra: Any) -> Play:
        """Run playbooks of the collection (one or more words) for Ann, Ben, or both (``all``)."""
        arguments = ["-i", str(self.inventory), "--limit", who, *options]
        if extra:
            arguments += ["-e", json.dumps(extra)]
        names = [f"dsg.storage.{name}" for name in playbooks.split()]
        return Play(self.installed.playbook(*names, *arguments))

    def publish(self) -> None:
        """Provision, publish Ann's tree, clone it for Ben."""
        steps = (("provision", "ann"), ("init", "ann"), ("clone", "ben"))
        plays = [
            {"import_playbook": f"dsg.storage.{name}", "vars": {"dsg_hosts": who}}
            for name, who in steps
        ]
        prepare = self.root / "prepare.yml"
        prepare.write_text(json.dumps(plays))
        Play(self.installed.playbook(prepare, "-i", self.inventory)).succeeded()


HOSTS = ("h1", "h2", "h3")


class FleetGround(Ground):
    """Three hosts with a base directory each, and Ann's working copy."""

    def __init__(self, root: Path, installed: InstalledCollection) -> None:
        super().__init__(root, installed)
        self.definition = {
            "name": "docs",
            "src": str(self.ann),
            "backend": {"type": "directory", "base": f"{root}/{{{{ inventory_hostname }}}}"},
            "user": "ann",
        }
        self.define(self.definition)

    def define(self, *definitions: dict[str, Any], **variables: Any) -> None:
        """Write the inventory."""
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "dsg_repositories": list(definitions),
            **variables,
        }
        storage = {"hosts": {host: {} for host in HOSTS}, "vars": shared}
        self.inventory.write_text(json.dumps({"storage": storage}))

    def run(self, playbooks: str, *options: str, **extra: Any) -> Play:
        """Run playbooks for all hosts."""
        return self.play(playbooks, *options, who="all", **extra)

    def live_of(self, host: str) -> Path:
        """Return what a host publishes."""
        return self.root / host / "docs"

    def published(self) -> list[bool]:
        """Tell for each host whether it publishes what the working copy holds."""
        wanted = content(self.ann)
        return [content(self.live_of(host)) == wanted for host in HOSTS]

    def leftovers(self) -> list[str]:
        """Return what transactions left that are not ended."""
        return sorted(
            str(path.relative_to(self.root))
            for pattern in ("*/.dsg/*.stage.*", "*/.dsg/*.held.*", "ann/docs/.dsg/fleet")
            for path in self.root.glob(pattern)
        )


class Play:
    """What a playbook did."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.said = result.stdout + result.stderr

    def succeeded(self) -> Play:
        """Return the play itself; anything but success is a failure of the test."""
        assert self.result.rc == 0, self.result
        assert "[WARNING]" not in self.said, self.said
        assert "[DEPRECATION" not in self.said, self.said
        return self

    def failed(self, code: str = "") -> dict[str, Any]:
        """Return the item that failed, which must have failed with ``code``."""
        assert self.result.rc == 2, self.result
        results = [task["result"] for task in self.result.tasks if task["status"] == "failed"]
        items = [item for result in results for item in result.get("results", [result])]
        # A loop's items that went well are among the results of the task.
        failed = items if len(items) == 1 else [item for item in items if "error" in item]
        assert len(failed) == 1, self.result
        if code:
            assert failed[0]["error"]["code"] == code, self.result
            assert failed[0]["error"]["message"] in self.said, self.result
        return failed[0]

    def items(self) -> list[dict[str, Any]]:
        """Return the results of all tasks, a loop's items one by one."""
        results = [task["result"] for task in self.result.tasks]
        return [item for result in results for item in result.get("results", [result])]

    def summary(self) -> dict[str, str]:
        """Return the rows of the table at the end by their host, without the gaps; {} if it is silent."""
        shown = [
            task["result"]["msg"]
            for task in self.result.tasks
            if task["task"].endswith("Show what was done on each host") and task["status"] == "ok"
        ]
        if not shown:
            assert "DELETED THERE" not in self.said, self.said
            return {}
        (lines,) = shown
        assert self.said.count("DELETED THERE") == 1, self.said
        assert lines[0].startswith("HOST "), lines
        return {line.split()[0]: " ".join(line.split()) for line in lines[2:]}

    def changed(self, host: str = "ann") -> int:
        """Return how many tasks changed something."""
        return self.result.stats[host]["changed"]

    def differences(self) -> list[str]:
        """Return the lines of the diff, as printed."""
        words = ("upload ", "download ", "delete ", "update cache ", "drop cache ", "recover ")
        words += ("rename ",)
        return [line for line in self.result.stdout.splitlines() if line.startswith(words)]
