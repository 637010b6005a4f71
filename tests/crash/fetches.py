# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching for the crash tests: a snapshot comes to a directory that may hold something of the user's."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

from _core.plan.policy import Policy
from _core.sync import fetch as fetching
from _core.sync.engine import run

from .jobs import Work, copy_tree, told
from .scenarios import REPOSITORY, Tree, backend, pinned, provision, request
from .state import listing

CASES = ("to a new one", "with force", "after a crash before", "after a crash behind")
"""The crash is one of a fetch with force: before and behind the exchange of the two directories."""


def fetches_build(*, case: str, root: str, keep: str) -> Work:
    """Make the state before at ``root`` and keep a copy of it at ``keep``."""

    def work() -> object:
        for old in (root, keep):
            shutil.rmtree(old, ignore_errors=True)
        provision(root)
        tree = Tree(os.path.join(root, "wc"))
        tree.write("deep/file", "of the snapshot\n")
        tree.write("script", "#!/bin/sh\n", 0o755)
        tree.link("link", "deep/file")
        tree.directory("hollow")
        with pinned(1):
            run(request(root, "init", Policy()))
        os.mkdir(os.path.join(root, "host"))
        if case != "to a new one":
            mine = Tree(os.path.join(root, "host", "out"))
            mine.write("mine", "nobody else has it\n", 0o600)
            mine.write("deep/file", "of the user\n")
            mine.directory("hollow/too")
        copy_tree(root, keep)
        return _seen(root)

    return work


def fetches_attempt(*, case: str, root: str, keep: str) -> Work:
    """Put the state before in place, with what a crash left where one was before; then fetch."""
    shutil.rmtree(root, ignore_errors=True)
    copy_tree(keep, root)
    if case.startswith("after a crash"):
        _die(root, behind=case.endswith("behind"))
    return lambda: told(lambda: _do(root))


def fetches_aftermath(*, root: str) -> Work:
    """Look at what was left, and fetch once more."""

    def work() -> object:
        at_once = _seen(root)
        return {"at_once": at_once, "next": told(lambda: _do(root)), "then": _seen(root)}

    return work


def _do(root: str) -> dict[str, object]:
    dest = os.path.join(root, "host", "out")
    asked = fetching.FetchRequest(REPOSITORY, backend(root), dest, force=True, lock_timeout=0.0)
    done = fetching.fetch(asked)
    return {"changed": done.changed, "backup": done.backup}


def _die(root: str, *, behind: bool) -> None:
    pid = os.fork()
    if pid == 0:
        exchange = fetching.rename_exchange

        def deadly(*names: object) -> None:
            if behind:
                exchange(*names)
            os.kill(os.getpid(), signal.SIGKILL)

        fetching.rename_exchange = deadly
        _do(root)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def _seen(root: str) -> dict[str, object]:
    """Return the repository, the destination, what was moved aside, and all else beside it."""
    host = os.path.join(root, "host")
    names = sorted(os.listdir(host))
    aside = [name for name in names if name.startswith("out.before-")]
    return {
        "base": listing(os.path.join(root, "base")),
        "out": listing(os.path.join(host, "out")),
        "aside": {os.path.join(host, name): listing(os.path.join(host, name)) for name in aside},
        "left": [name for name in names if name != "out" and name not in aside],
    }


JOBS: dict[str, Callable[..., Work]] = {
    job.__name__: job for job in (fetches_build, fetches_attempt, fetches_aftermath)
}
