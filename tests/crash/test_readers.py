# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers of the published tree, while a hundred commits go by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from _core.plan.policy import Policy
from _core.sync.engine import run

from . import reader
from .scenarios import REPOSITORY, Tree, provision, request

COMMITS = 100
READERS = 2


def _edit(tree: Tree, generation: int) -> None:
    tree.remove("moved")
    for path in reader.paths(generation):
        tree.write(path, f"{generation}\n")


def test_readers_see_no_gap_and_no_mixture(tmp_path: Path, note: Callable[[str], None]) -> None:
    """Never ENOENT, and by way of one directory descriptor never two generations at once."""
    root = str(tmp_path)
    provision(root)
    tree = Tree(os.path.join(root, "wc"))
    os.mkdir(tree.root)
    asked = request(root, "auto", Policy())
    _edit(tree, 1)
    run(asked)
    program = [sys.executable, reader.__file__, os.path.join(root, "base", REPOSITORY)]
    readers = [
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _unused in range(READERS)
    ]
    for generation in range(2, COMMITS + 2):
        _edit(tree, generation)
        assert run(asked).snapshot == generation
    figures = [json.loads(each.communicate("stop\n", timeout=60)[0]) for each in readers]
    looked = sum(seen["reads"] for seen in figures)
    note(f"{READERS} readers, {COMMITS} commits: {looked} files read, {figures}")
    for seen in figures:
        wrong = {key: seen.get(key, 0) for key in ("gaps", "mixtures", "went back")}
        assert wrong == {"gaps": 0, "mixtures": 0, "went back": 0}, seen
        assert seen["last"] == COMMITS + 1
        assert seen["rounds"] > COMMITS, "the reader hardly ever looked"
