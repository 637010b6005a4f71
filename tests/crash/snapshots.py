# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restoring and pruning for the crash tests: one repository with five snapshots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from _core.backends.directory.repository import DirectoryRepository
from _core.plan.policy import Policy
from _core.sync.engine import run
from _core.sync.recovery import recover
from _core.sync.verify import verify_repository
from _core.upkeep.prune import prune
from _core.upkeep.restore import RestoreRequest, restore
from _core.upkeep.retention import Keep

from .jobs import Work, copy_tree, told
from .scenarios import REPOSITORY, Tree, backend, pinned, provision, request
from .state import state

SNAPSHOTS = 5
OURS = 9

CASES = ("restore all", "restore some", "prune")


def snapshots_build(*, root: str, keep: str) -> Work:
    """Make the state before at ``root`` and keep a copy of it at ``keep``."""

    def work() -> object:
        for old in (root, keep):
            shutil.rmtree(old, ignore_errors=True)
        provision(root)
        tree = Tree(os.path.join(root, "wc"))
        for number in range(1, SNAPSHOTS + 1):
            _edit(tree, number)
            with pinned(number):
                run(request(root, "auto", Policy(max_delete="100%")))
        copy_tree(root, keep)
        return state(root)

    return work


def _edit(tree: Tree, number: int) -> None:
    """Change one of every sort."""
    if number == 1:
        tree.write("same", "same\n")
    tree.write("change", f"number {number}\n")
    tree.write(f"new/{number}", f"new in {number}\n")
    tree.write("mode", "mode\n", 0o600 + number)
    tree.link("link", f"new/{number}")
    tree.remove("kind")
    if number % 2:
        tree.write("kind", "a file\n")
    else:
        tree.write("kind/of", "a directory\n")
        tree.directory("hollow")
    if number == 3:
        tree.remove("hollow")
        tree.write("gone/away", "soon\n")
    if number == 4:
        tree.remove("gone")


def snapshots_attempt(*, case: str, root: str, keep: str) -> Work:
    """Put the state before in place, then do it."""
    shutil.rmtree(root, ignore_errors=True)
    copy_tree(keep, root)
    return lambda: told(lambda: _do(case, root))


def snapshots_aftermath(*, case: str, root: str) -> Work:
    """Look at what was left, recover twice, look again, and do it once more."""

    def work() -> object:
        seen: dict[str, object] = {"at_once": state(root)}
        seen["status"] = told(_repository(root).unfinished)
        for turn in ("first", "second"):
            seen[turn] = told(lambda: recover("", REPOSITORY, backend(root), 0.0))
            seen[f"{turn}_state"] = state(root)
        seen["next"] = told(lambda: _do(case, root))
        seen["next_state"] = state(root)
        seen["sound"] = told(lambda: verify_repository(REPOSITORY, backend(root)).sound)
        return seen

    return work


def snapshots_rerun(*, case: str, root: str) -> Work:
    """Do it once more, with nobody calling for a recovery."""
    return lambda: {"outcome": told(lambda: _do(case, root)), "state": state(root)}


def _repository(root: str) -> DirectoryRepository:
    return DirectoryRepository(os.path.join(root, "base"), REPOSITORY)


def _do(case: str, root: str) -> object:
    repository = _repository(root)
    if case == "prune":
        pruned = prune(repository, Keep(messages=["none"], last=2), lock_timeout=0.0)
        return {"removed": pruned.removed, "pending_cleanup": pruned.pending_cleanup}
    paths = () if case == "restore all" else ("gone", "kind", "m*", "link")
    asked = RestoreRequest(3, paths, user="root", lock_timeout=0.0)
    with pinned(OURS):
        done = restore(repository, asked)
    return {"snapshot": done.snapshot, "pending_cleanup": done.pending_cleanup}


JOBS: dict[str, Callable[..., Work]] = {
    job.__name__: job
    for job in (snapshots_build, snapshots_attempt, snapshots_aftermath, snapshots_rerun)
}
