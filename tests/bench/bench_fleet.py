# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole playbooks from one control node to many hosts over ssh, beside ansible.posix.synchronize."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.tools import environments

from . import corpus
from .bench_ansible import _installed
from .hosts import end_shared_connections, reached
from .measure import Command, Options, compare

FLEETS = ((1, 5, 20_000), (10, 5, 20_000), (50, 25, 2_000))
"""Hosts, forks and files: fifty hosts share the one disk, so they get a smaller tree."""
MANY = 500


def main(options: Options) -> None:
    """Print the tables."""
    env = _with_synchronize(_installed(options.base / "collections"))
    shutil.rmtree(options.base / "fleet", ignore_errors=True)
    root = options.base / "fleet"
    root.mkdir()
    fleets = FLEETS[:2] if options.quick else FLEETS
    with reached(root, fleets[-1][0]) as found:
        for hosts, forks, files in fleets:
            tree = corpus.small(options.base, 200 if options.quick else files)
            some = dict(list(found.items())[:hosts])
            _over_ssh(options, [*env], tree, root, some, forks)
            shutil.rmtree(tree / ".dsg", ignore_errors=True)
            for folder in ("base", "copies"):
                shutil.rmtree(root / folder)
        _beside_copy(options, [*env], root, dict(list(found.items())[:1]))
    _simulated(options, [*env], root)
    shutil.rmtree(root)


def _with_synchronize(env: list[str]) -> list[str]:
    """Return the environment with ansible.posix, which comes inside the package ``ansible``."""
    tools = environments.ensure(".venv-bench", sys.executable, "requirements-bench.txt")
    (found,) = tools.parent.glob("lib/python*/site-packages")
    name = "ANSIBLE_COLLECTIONS_PATH="
    return [f"{word}:{found}" if word.startswith(name) else word for word in env]


def _over_ssh(
    options: Options,
    env: list[str],
    tree: Path,
    root: Path,
    hosts: dict[str, dict[str, Any]],
    forks: int,
) -> None:
    inventory = root / f"inventory-{len(hosts)}.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {
        "src": str(tree),
        "repository": "bench",
        "backend": {"base": f"{root}/base/{{{{ inventory_hostname }}}}"},
    }
    copied = {"src": f"{tree}/", "dest": f"{root}/copies/{{{{ inventory_hostname }}}}/"}
    for address in hosts:
        _provision(root / "base" / address)
        (root / "copies" / address).mkdir(parents=True, exist_ok=True)
    ours = _playbook(root / "sync.json", {"dsg.storage.dsg_sync": task})
    peer = _playbook(root / "synchronize.json", {"ansible.posix.synchronize": copied})
    definition = {"name": "bench", **{key: task[key] for key in ("src", "backend")}}
    variables = json.dumps({"dsg_repositories": [definition], "dsg_hosts": "all"})
    common = ["-i", str(inventory), "-f", str(forks)]
    compare(
        f"nothing changed, {tree.name}, {len(hosts)} hosts over ssh, {forks} forks",
        {
            "playbook with dsg_sync": Command([*env, "ansible-playbook", *common, str(ours)]),
            "ansible.posix.synchronize": Command([*env, "ansible-playbook", *common, str(peer)]),
            "dsg.storage.sync, all or nothing": Command(
                [*env, "ansible-playbook", *common, "-e", variables, "dsg.storage.sync"]
            ),
        },
        options.rounds,
    )
    end_shared_connections(options.base)


def _beside_copy(options: Options, env: list[str], root: Path, hosts: dict[str, Any]) -> None:
    """A small tree, as the peer asks the host about each file."""
    tree = corpus.small(options.base, 50 if options.quick else 200)
    inventory = root / "inventory-copy.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    _provision(root / "copy" / "base")
    task = {
        "src": str(tree),
        "repository": "bench",
        "backend": {"base": f"{root}/copy/base"},
    }
    copied = {"src": f"{tree}/", "dest": f"{root}/copy/copied/", "mode": "preserve"}
    plays = {
        "playbook with dsg_sync": _playbook(root / "sync.json", {"dsg.storage.dsg_sync": task}),
        "ansible.builtin.copy": _playbook(root / "copy.json", {"ansible.builtin.copy": copied}),
    }
    compare(
        f"nothing changed, {tree.name}, 1 host over ssh",
        {
            name: Command([*env, "ansible-playbook", "-i", str(inventory), str(play)])
            for name, play in plays.items()
        },
        options.rounds,
    )
    shutil.rmtree(tree / ".dsg", ignore_errors=True)
    end_shared_connections(options.base)


def _simulated(options: Options, env: list[str], root: Path) -> None:
    """Local connections and a small tree: what a host costs the control node."""
    tree = root / "small"
    tree.mkdir()
    for number in range(20):
        (tree / f"{number}.txt").write_text(f"{number}\n")
    count = 50 if options.quick else MANY
    commands = {}
    for hosts in (count, count // 5):
        names = [f"host{number}" for number in range(hosts)]
        for name in names:
            _provision(root / "local" / name)
        inventory = root / f"local-{hosts}.json"
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        group = {"hosts": {name: {} for name in names}, "vars": variables}
        inventory.write_text(json.dumps({"all": group}))
        task = {
            "src": str(tree),
            "repository": "bench",
            "backend": {"base": f"{root}/local/{{{{ inventory_hostname }}}}"},
        }
        play = _playbook(root / "local.json", {"dsg.storage.dsg_sync": task})
        argv = [*env, "ansible-playbook", "-i", str(inventory), "-f", "25", str(play)]
        commands[f"{hosts} hosts"] = Command(argv)
    compare("simulated hosts, nothing changed", commands, 1)


def _provision(base: Path) -> None:
    (base / ".dsg").mkdir(parents=True, exist_ok=True)
    (base / ".dsg" / "format.json").write_text('{"format": 1, "type": "directory"}\n')


def _playbook(path: Path, task: dict[str, object]) -> Path:
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    path.write_text(json.dumps([play]))
    return path
