# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees and requests for the crash tests: one scenario for each operation that is swept.

Everything lies below one directory: ``base`` (the repository's), ``wc`` (the working copy that is
swept), ``other`` (another client's). What usually differs from run to run (transaction ids, times of
day, random identities) is pinned, so that states can be compared bit for bit.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from _core.plan.policy import Policy
from _core.sync import txn, undo_names
from _core.sync.engine import run
from _core.sync.request import SyncRequest
from _core.upkeep import publishing

REPOSITORY = "data"
_SECOND = 1_000_000_000
_EPOCH = 1_700_000_000 * _SECOND


@dataclass(frozen=True)
class Scenario:
    """``build`` makes the state before; ``policy`` and ``operation`` are what the swept run is asked.

    ``undoes`` puts back the names that a run before made portable. With ``crash`` the swept run is a
    recovery after the run died there; ``ends`` is where that leads. With ``in_steps`` the swept run meets
    a system whose renameat2 takes no flags, as a working copy on NFS would.
    """

    build: Callable[[str], None]
    operation: str
    policy: Policy = field(default_factory=Policy)
    crash: str = ""
    undoes: bool = False
    in_steps: bool = False
    ends: tuple[str, ...] = ("old", "new")


def request(root: str, operation: str, policy: Policy, client: str = "wc") -> SyncRequest:
    """Return a request of one client below ``root``."""
    return SyncRequest(
        src=os.path.join(root, client),
        repository=REPOSITORY,
        backend=backend(root),
        operation=operation,
        policy=policy,
        message="crash test",
        user=client,
        lock_timeout=0.0,
    )


def backend(root: str) -> dict[str, object]:
    """Return the backend option."""
    return {"type": "directory", "base": os.path.join(root, "base")}


@contextmanager
def pinned(number: int) -> Iterator[None]:
    """Give the transactions in the block known ids and times instead of random ones."""
    saved = (txn.new_txn_id, txn.utc_now, secrets.token_hex)
    txn.new_txn_id = lambda: f"20260101T00000{number}Z-{number:012x}"
    undo_names.new_txn_id = publishing.new_txn_id = txn.new_txn_id
    txn.utc_now = publishing.utc_now = lambda: f"2026-01-01T00:00:0{number}Z"
    secrets.token_hex = lambda nbytes=16: f"{number:0{2 * nbytes}x}"
    try:
        yield
    finally:
        txn.new_txn_id, txn.utc_now, secrets.token_hex = saved
        undo_names.new_txn_id = publishing.new_txn_id = txn.new_txn_id
        publishing.utc_now = txn.utc_now


def provision(root: str) -> None:
    """Make an empty base directory, as the role ``repository`` does."""
    container = os.path.join(root, "base", ".dsg")
    os.makedirs(container, 0o700)
    with open(os.path.join(container, "format.json"), "w", encoding="utf-8") as stream:
        json.dump({"format": 1, "type": "directory"}, stream)


class Tree:
    """Edits of a client's tree; times are made up, so that they are the same in every run."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.clock = _EPOCH

    def at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        self.remove(path)
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        with open(self.at(path), "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(self.at(path), mode)
        self.clock += _SECOND + 1
        os.utime(self.at(path), ns=(self.clock, self.clock))

    def link(self, path: str, target: str) -> None:
        self.remove(path)
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        os.symlink(target, self.at(path))

    def directory(self, path: str) -> None:
        self.remove(path)
        os.makedirs(self.at(path))

    def remove(self, path: str) -> None:
        if os.path.isdir(self.at(path)) and not os.path.islink(self.at(path)):
            shutil.rmtree(self.at(path))
        elif os.path.lexists(self.at(path)):
            os.unlink(self.at(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.at(old), self.at(new))


def _plant(root: str) -> Tree:
    """Make a working copy with one entry of every sort."""
    tree = Tree(os.path.join(root, "wc"))
    os.makedirs(tree.root, exist_ok=True)
    for path in ("same.txt", "deep/er/same.txt", "name with ünïcode.txt"):
        tree.write(path, f"content of {path}\n")
    tree.write("zero", "")
    tree.write("read-only", "content\n", 0o444)
    tree.write(".dsgignore", "*.log\n")
    tree.write("deep/ignored.log", "never published\n")
    tree.link("deep/link", "../same.txt")
    tree.directory("hollow")
    return tree


def _plant_more(tree: Tree) -> None:
    """Add what :func:`_edit` changes, on either side."""
    for side in ("up", "down"):
        for name in ("change", "delete", "mode", "renamed", "to-dir", "to-link"):
            tree.write(f"{side}/{name}", f"{side} {name}\n")
        tree.write(f"{side}/old/deeper/file", "goes with its directories\n")
        tree.write(f"{side}/to-file/inside", "a directory becomes a file\n")
        tree.write(f"{side}/inner/kept", "stays\n")
        tree.link(f"{side}/link", "change")
        tree.link(f"{side}/link-to-file", "change")
        tree.directory(f"{side}/empty")
        tree.directory(f"{side}/filled")
    for name in ("remote", "local", "remote-gone", "local-gone"):
        tree.write(f"clash/{name}", "before\n")
    tree.write("alike", "before\n")


def _edit(tree: Tree, side: str) -> None:
    """Do one change of every sort below ``side``."""
    tree.clock += {"up": 1000, "down": 2000}[side] * _SECOND
    tree.write(f"{side}/change", f"{side} changed, and longer\n")
    tree.write(f"{side}/new/deep/file", "new, in new directories\n")
    tree.write(f"{side}/script", "#!/bin/sh\n", 0o755)
    tree.remove(f"{side}/delete")
    tree.remove(f"{side}/old")
    tree.remove(f"{side}/empty")
    tree.directory(f"{side}/new-empty")
    tree.write(f"{side}/filled/file", "no longer empty\n")
    tree.remove(f"{side}/inner/kept")  # its directory stays, empty
    tree.chmod(f"{side}/mode", 0o755)
    tree.rename(f"{side}/renamed", f"{side}/renamed-to")
    tree.remove(f"{side}/to-dir")
    tree.write(f"{side}/to-dir/inside", "was a file\n")
    tree.write(f"{side}/to-file", "was a directory\n")
    tree.link(f"{side}/to-link", "change")
    tree.link(f"{side}/link", "mode")
    tree.write(f"{side}/link-to-file", "was a link\n")


def _clash(tree: Tree, who: str) -> None:
    tree.write("clash/remote", f"of {who}\n")
    tree.write("clash/local", f"of {who}\n")
    if who == "wc":
        tree.write("clash/remote-gone", "edited here, deleted there\n")
        tree.remove("clash/local-gone")
    else:
        tree.remove("clash/remote-gone")
        tree.write("clash/local-gone", "deleted here, edited there\n")


CLASHES = {
    "clash/remote": "remote",
    "clash/local": "local",
    "clash/remote-gone": "remote",
    "clash/local-gone": "local",
}
_DECIDED = Policy(conflict_paths=CLASHES)


def _before_init(root: str) -> None:
    provision(root)
    _plant(root)


def _published(root: str) -> None:
    provision(root)
    _plant_more(_plant(root))
    with pinned(1):
        run(request(root, "init", Policy()))


def _shared(root: str) -> Tree:
    _published(root)
    run(request(root, "clone", Policy(), "other"))
    return Tree(os.path.join(root, "other"))


def _before_sync(root: str) -> None:
    other = _shared(root)
    mine = Tree(os.path.join(root, "wc"))
    _edit(other, "down")
    _clash(other, "other")
    other.write("alike", "the same edit on both sides\n")
    with pinned(2):
        run(request(root, "sync", Policy(), "other"))
    _edit(mine, "up")
    _clash(mine, "wc")
    mine.write("alike", "the same edit on both sides\n")


def _before_alike(root: str) -> None:
    """Both sides come to the same tree by themselves: only C is behind."""
    other = _shared(root)
    for number, tree in enumerate((other, Tree(os.path.join(root, "wc")))):
        _edit(tree, "up")
        if number == 0:
            with pinned(2):
                run(request(root, "sync", Policy(), "other"))


def _before_clone(root: str) -> None:
    _before_init(root)
    with pinned(1):
        run(request(root, "init", Policy()))
    shutil.rmtree(os.path.join(root, "wc"))


def _before_renaming(root: str) -> None:
    """One side has names of every sort that are not portable, the other side changes others."""
    other = _shared(root)
    other.write("down/change", "changed there\n")
    other.remove("down/delete")
    with pinned(2):
        run(request(root, "sync", Policy(), "other"))
    mine = Tree(os.path.join(root, "wc"))
    mine.write("up/new:", "has to be called otherwise\n")
    mine.write("down:/aux/deep.", "in directories that have to be\n")
    mine.write("down:/plain", "goes along\n")
    mine.write("down:/ignored.log", "goes along, unseen\n")
    mine.write("UP/change", "differs in case\n")
    mine.write("latin\udce9", "is no UTF-8\n")
    mine.directory("hollow ")
    mine.rename("alike", "ALIKE.")
    mine.link("deep/link", "../down:/aux/deep.")
    mine.link("down:/up", "../up/new:")


def _before_undoing(root: str) -> None:
    _before_renaming(root)
    with pinned(2):
        run(request(root, "sync", _NORMALISE))


_NORMALISE = Policy(names="normalise")
_PULL = Policy("pull", conflict_paths=CLASHES)

RUNS = {
    "init": Scenario(_before_init, "init"),
    "sync": Scenario(_before_sync, "sync", _DECIDED),
    "clone": Scenario(_before_clone, "clone"),
    "pull": Scenario(_before_sync, "sync", _PULL),
    "pull in steps": Scenario(_before_sync, "sync", _PULL, in_steps=True),
    "push": Scenario(_before_sync, "sync", Policy("push", conflict_paths=CLASHES)),
    "converge": Scenario(_before_alike, "sync"),
    "rename": Scenario(_before_renaming, "sync", _NORMALISE),
    "undo names": Scenario(_before_undoing, "sync", _NORMALISE, undoes=True),
}

RECOVERIES = {
    "recover staged": Scenario(_before_sync, "sync", _DECIDED, "staged", ends=("old",)),
    "recover prepared": Scenario(_before_sync, "sync", _DECIDED, "prepared", ends=("old",)),
    "recover exchanged": Scenario(_before_sync, "sync", _DECIDED, "exchanged", ends=("old", "new")),
    "recover committed": Scenario(_before_sync, "sync", _DECIDED, "committed", ends=("new",)),
    "recover midway": Scenario(_before_sync, "sync", _DECIDED, "midway", ends=("new",)),
    "recover first": Scenario(_before_init, "init", crash="committed", ends=("new",)),
    "recover renaming": Scenario(_before_renaming, "sync", _NORMALISE, "renaming", ends=("new",)),
    "recover pull": Scenario(_before_sync, "sync", _PULL, "midway", ends=("new",)),
}

SCENARIOS = {**RUNS, **RECOVERIES}
