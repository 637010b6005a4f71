# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two people's working copies on one storage host: the ground of the playbooks on real OpenZFS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.playbooks import Play
from tests.testbed.bed import Host
from tests.tools.collection import InstalledCollection

HOME = "/root/played"
LISTING = """
import hashlib, json, os, sys
root = sys.argv[1]
found = {}
for directory, folders, files in os.walk(root):
    folders[:] = [name for name in folders if os.path.join(directory, name) != root + "/.dsg"]
    for name in files:
        path = os.path.join(directory, name)
        with open(path, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        status = os.stat(path)
        found[os.path.relpath(path, root)] = [oct(status.st_mode), status.st_mtime_ns, digest]
print(json.dumps(found))
"""


class StorageGround:
    """Ann's and Ben's working copies of one repository, all on the storage host.

    Ansible knows the host by both names, so that each has a working copy; modules run there.
    """

    def __init__(
        self,
        root: Path,
        installed: InstalledCollection,
        host: Host,
        name: str,
        parent: str = "tank/dsg",
        mountpoint: str = "/srv/dsg",
    ) -> None:
        self.installed = installed
        self.host = host
        self.name = name
        self.parent = parent
        self.live = f"{mountpoint}/{name}"
        self.home = f"{HOME}/{name}"
        self.inventory = root / "inventory.json"
        self.definition: dict[str, Any] = {
            "name": name,
            "src": f"{self.home}/{{{{ inventory_hostname }}}}",
            "backend": {"type": "zfs", "dataset": parent},
            "user": "{{ inventory_hostname }}",
        }
        self.define(self.definition)

    def define(
        self,
        *definitions: dict[str, Any],
        user: str = "root",
        hosts: dict[str, dict[str, Any]] | None = None,
        **variables: Any,
    ) -> None:
        """Write the inventory; ``hosts`` are other names of the host, with their variables."""
        reached = self.host.bed.inventory(user)["testbed"]
        one = reached["hosts"][self.host.name]
        names = hosts or {"ann": {}, "ben": {}}
        storage = {
            "hosts": {name: {**one, **own} for name, own in names.items()},
            "vars": {
                **reached["vars"],
                "dsg_repositories": list(definitions),
                "dsg_transport": "local",
                **variables,
            },
        }
        self.inventory.write_text(json.dumps({"storage": storage}))

    def play(self, playbooks: str, *options: str, who: str = "ann", **extra: Any) -> Play:
        """Run playbooks of the collection (one or more words) for Ann, Ben, or both (``all``)."""
        arguments = ["-i", str(self.inventory), "--limit", who, *options]
        if extra:
            arguments += ["-e", json.dumps(extra)]
        names = [f"dsg.storage.{name}" for name in playbooks.split()]
        return Play(self.installed.playbook(*names, *arguments, ANSIBLE_PIPELINING="true"))

    def write(self, who: str, files: dict[str, str | None]) -> None:
        """Write files into a working copy; None removes one."""
        script = (
            "import json, os, sys\n"
            "root = sys.argv[1]\n"
            "for name, text in json.load(sys.stdin).items():\n"
            "    path = os.path.join(root, name)\n"
            "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
            "    os.unlink(path) if text is None else open(path, 'w').write(text)\n"
        )
        argv = ("python3", "-c", script, f"{self.home}/{who}")
        self.host.run(*argv, input=json.dumps(files))

    def tree(self, path: str) -> dict[str, Any]:
        """Return path → mode, time and hash of every file below ``path`` but our own records."""
        said = self.host.run("python3", "-c", LISTING, path).stdout
        found: dict[str, Any] = json.loads(said)
        return found

    def trees(self) -> list[dict[str, Any]]:
        """Return what is published, and both working copies."""
        return [self.tree(path) for path in (self.live, f"{self.home}/ann", f"{self.home}/ben")]

    def zfs(self, *arguments: str) -> str:
        """Run ``zfs`` on the host."""
        return self.host.run("zfs", *arguments).stdout

    def datasets(self) -> list[str]:
        """Return every dataset and snapshot below the parent that belongs to the repository."""
        listed = self.zfs("list", "-H", "-o", "name", "-t", "all", "-r", self.parent).split()
        ours = (f"{self.parent}/{self.name}", f"{self.parent}/.dsg/{self.name}.")
        return [name for name in listed if name.startswith(ours)]
