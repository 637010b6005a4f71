# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a fleet over ssh, with everything that it tells, beside ``ansible -m ping``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from . import corpus
from .bench_ansible import _installed
from .bench_fleet import _provision
from .hosts import end_shared_connections, reached
from .measure import Command, Options, compare

HOSTS, FORKS = 50, 25


def main(options: Options) -> None:
    """Print the tables."""
    env = _installed(options.base / "collections")
    tree = corpus.small(options.base, 200)
    root = options.base / "status"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with reached(root, 10 if options.quick else HOSTS) as found:
        _compare(options, env, tree, root, found)
    shutil.rmtree(tree / ".dsg", ignore_errors=True)
    shutil.rmtree(root)


def _compare(
    options: Options, env: list[str], tree: Path, root: Path, hosts: dict[str, Any]
) -> None:
    for address in hosts:
        _provision(root / "base" / address)
    backend = {"type": "directory", "base": f"{root}/base/{{{{ inventory_hostname }}}}"}
    definitions = [{"name": "bench", "src": str(tree), "backend": backend}]
    inventory = root / "inventory.json"
    group = {"hosts": hosts, "vars": {"dsg_repositories": definitions}}
    inventory.write_text(json.dumps({"storage": group}))
    common = ["-i", str(inventory), "-f", str(FORKS)]
    subprocess.run(
        [*env, "ansible-playbook", *common, "dsg.storage.init"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    forms = ["-e", f"dsg_report={root}/r.html", "-e", f"dsg_metrics={root}/m.prom"]
    status = [*env, "ansible-playbook", *common, "dsg.storage.status", *forms]
    ping = [*env, "ansible", "storage", *common, "-m", "ping"]

    def forget() -> None:
        end_shared_connections(options.base)

    for title, before in (("new connections", forget), ("connections that are open", None)):
        compare(
            f"status of {len(hosts)} hosts over ssh, {FORKS} forks, {title}",
            {
                "dsg.storage.status": Command(status, before=before),
                "ansible -m ping, pipelining": Command(ping, before=before),
                "ansible -m ping, as it comes": Command(
                    [*env, "env", "ANSIBLE_PIPELINING=false", *ping[len(env) :]], before=before
                ),
            },
            options.rounds,
        )
    forget()
