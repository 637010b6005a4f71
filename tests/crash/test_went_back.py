# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that comes back older than it was, from a backup or a disk that lost writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from _core.errors import RepositoryError
from _core.plan.policy import Policy
from _core.sync.engine import run

from .jobs import copy_tree
from .scenarios import Tree, provision, request
from .state import state


def _synced_twice(root: str) -> str:
    """Make s1 and s2; return a copy of the base directory as of s1."""
    provision(root)
    tree = Tree(os.path.join(root, "wc"))
    tree.write("file", "older\n")
    run(request(root, "init", Policy()))
    copy_tree(os.path.join(root, "base"), os.path.join(root, "backup"))
    tree.write("file", "newer, and published\n")
    run(request(root, "sync", Policy()))
    return os.path.join(root, "backup")


def test_older_repository_is_refused(tmp_path: Path) -> None:
    """Its older files are not taken for new edits, which would replace what is here."""
    root = str(tmp_path)
    backup = _synced_twice(root)
    shutil.rmtree(os.path.join(root, "base"))
    os.rename(backup, os.path.join(root, "base"))
    before = state(root)
    for operation in ("auto", "sync"):
        with pytest.raises(RepositoryError, match="went back in time"):
            run(request(root, operation, Policy()))
    assert state(root) == before


def test_another_history_of_the_same_length_is_refused(tmp_path: Path) -> None:
    """Somebody else published s2 upon the restored s1: it is not the s2 that is known here."""
    root = str(tmp_path)
    backup = _synced_twice(root)
    shutil.rmtree(os.path.join(root, "base"))
    os.rename(backup, os.path.join(root, "base"))
    run(request(root, "clone", Policy(), "other"))
    Tree(os.path.join(root, "other")).write("file", "somebody else's\n")
    run(request(root, "sync", Policy(), "other"))
    with pytest.raises(RepositoryError, match="went back in time"):
        run(request(root, "sync", Policy()))
