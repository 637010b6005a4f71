# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command that goes on when the process that started it has been killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from guest.lab import Lab, sh

ZFS = "/usr/sbin/zfs"
GATE = "/usr/local/lib/dsg-tests"
_WRAPPER = f"""#!/bin/sh
case "$*" in
"set dsg:commit."*)
    mkdir {GATE}/met 2>/dev/null && while [ ! -e {GATE}/go ]; do sleep 0.1; done;;
esac
exec {GATE}/zfs "$@"
"""


def a_commit_record_is_set_when_its_process_is_dead() -> None:
    """Nobody undoes the transaction meanwhile: the lock is held until the command has ended."""
    lab = Lab("outlived")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    with _gate():
        child = _start(lab)
        _wait_for("met")
        os.kill(int(_wait_for("pid")), signal.SIGKILL)
        os.waitpid(child, 0)
        lab.refused("DSG-LOCKED", "another process works on it", lock_timeout=2.0)
        with open(f"{GATE}/go", "wb"):
            pass
        assert lab.sync().operation == "sync"
    assert lab.snapshots() == ["s1", "s2"], "it was finished, not begun anew"
    assert lab.published() == lab.local()
    lab.clean()
    lab.destroy()


@contextmanager
def _gate() -> Iterator[None]:
    """Have the first command that sets a commit record wait for a file."""
    os.makedirs(GATE)
    os.chmod(GATE, 0o1777)
    shutil.copy(ZFS, f"{GATE}/zfs")
    with open(f"{GATE}/wrapper", "w", encoding="utf-8") as stream:
        stream.write(_WRAPPER)
    os.chmod(f"{GATE}/wrapper", 0o755)
    sh("mount", "--bind", f"{GATE}/wrapper", ZFS)
    try:
        yield
    finally:
        with open(f"{GATE}/go", "wb"):
            sh("umount", "-l", ZFS)
        shutil.rmtree(GATE)


def _start(lab: Lab) -> int:
    """Sync in a child, or in a child of that as the user of this case; it tells its number."""
    pid = os.fork()
    if pid == 0:
        try:
            lab.acting(lambda: (_tell_pid(), lab.sync()))
        finally:
            os._exit(1)
    return pid


def _tell_pid() -> None:
    with open(f"{GATE}/pid.new", "w", encoding="utf-8") as stream:
        stream.write(str(os.getpid()))
    os.rename(f"{GATE}/pid.new", f"{GATE}/pid")


def _wait_for(name: str) -> str:
    path = f"{GATE}/{name}"
    until = time.monotonic() + 120
    while not os.path.exists(path):
        assert time.monotonic() < until, f"{name} was not met"
        time.sleep(0.05)
    if os.path.isdir(path):
        return ""
    with open(path, encoding="utf-8") as stream:
        return stream.read()
