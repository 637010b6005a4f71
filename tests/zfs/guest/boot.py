# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery at boot: every repository of the host, whatever else there is."""

from __future__ import annotations

import contextlib
import io

from _core.program.main import main
from guest.lab import Lab, provision, sh

_PARENT, _MOUNTPOINT = "tank/mixed", "/srv/mixed"
_BARE = "tank/bare"
_THEIRS = ("_x", "a:b", "plain", "theirs", "z" * 70)


def _recover() -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return main(["recover", _BARE, _PARENT]), said.getvalue()


def _dead(name: str) -> str:
    """Leave what a transaction leaves that dies at once."""
    dataset = f"{_PARENT}/.dsg/{name}.init.dead-1"
    sh("zfs", "create", "-u", dataset)
    return dataset


def _theirs() -> str:
    names = [f"{_PARENT}/{name}" for name in _THEIRS]
    return sh("zfs", "get", "-Hp", "-o", "name,property,value", "mounted,mountpoint", *names)


def _is_there(dataset: str) -> bool:
    return dataset in sh("zfs", "list", "-H", "-o", "name", "-r", _PARENT).split()


def whatever_else_is_there() -> None:
    """Names, records and parents that are not ours are left alone, and keep nothing from recovery."""
    provision(_PARENT, _MOUNTPOINT)
    sh("zfs", "create", "-u", "-o", "mountpoint=none", "-o", "dsg:parent=1", _BARE)
    lab = Lab("ours", _PARENT, _MOUNTPOINT)
    lab.put("a", "1")
    lab.sync()
    for name in _THEIRS:
        sh("zfs", "create", "-u", "-o", "canmount=noauto", f"{_PARENT}/{name}")
    sh("zfs", "set", f"mountpoint={_MOUNTPOINT}-theirs", f"{_PARENT}/theirs")
    sh("zfs", "set", "dsg:commit.h.zz=1", "dsg:commit.n._x=1", f"{_PARENT}/.dsg")
    theirs = _theirs()
    sh("zfs", "unmount", lab.live)
    dead = _dead("ours")
    status, said = _recover()
    assert (status, _is_there(dead)) == (0, False), said
    assert lab.published() == lab.local(), said
    assert _theirs() == theirs

    broken = Lab("broken", _PARENT, _MOUNTPOINT)
    broken.put("a", "1")
    broken.sync()
    sh("zfs", "set", f"mountpoint={_MOUNTPOINT}-elsewhere", broken.live)
    sh(
        "zfs", "create", "-u", "-o", "dsg:txn=1", f"{_BARE}/there"
    )  # in a parent that lost its container
    dead = _dead("ours")
    status, said = _recover()
    assert (status, _is_there(dead)) == (1, False), said
    assert broken.live in said and "mountpoint of its own" in said, said
    assert _BARE in said and "not provisioned" in said, said
    sh("zfs", "destroy", "-R", _PARENT)
    sh("zfs", "destroy", "-r", _BARE)
