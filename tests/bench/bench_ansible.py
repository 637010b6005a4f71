# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible itself adds to a run with nothing to do: a playbook of one task, beside ping."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools import collection

from . import corpus
from .bench_sync import published, run_argv
from .measure import Command, Options, compare


def main(options: Options) -> None:
    """Print the table."""
    env = _installed(options.base / "collections")
    tree = corpus.small(options.base, 200 if options.quick else 20_000)
    base = published(tree, options)
    task = {
        "dsg.storage.dsg_sync": {
            "src": str(tree),
            "repository": "bench",
            "backend": {"type": "directory", "base": str(base)},
        }
    }
    sync = _playbook(options.base / "sync.json", task)
    ping = _playbook(options.base / "ping.json", {"ansible.builtin.ping": {}})
    compare(
        f"playbook with nothing to do, {tree.name}",
        {
            "playbook with dsg_sync": Command([*env, "ansible-playbook", str(sync)]),
            "playbook with ansible.builtin.ping": Command([*env, "ansible-playbook", str(ping)]),
            "the same sync without Ansible": Command(run_argv(tree, base)),
        },
        options.rounds,
    )
    shutil.rmtree(tree / ".dsg")
    shutil.rmtree(base)


def _installed(folder: Path) -> list[str]:
    """Install the collection; return the start of a command line in its environment."""
    shutil.rmtree(folder, ignore_errors=True)
    argv = [sys.executable, "-m", "tests.tools.collection", "install", str(folder)]
    subprocess.run(argv, cwd=collection.ROOT, check=True, stdout=subprocess.DEVNULL)
    settings = collection.environment(folder)
    return ["env", *(f"{name}={value}" for name, value in settings.items())]


def _playbook(path: Path, task: dict[str, object]) -> Path:
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    path.write_text(json.dumps([play]))
    return path
