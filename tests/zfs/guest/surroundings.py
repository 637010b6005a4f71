# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What else goes on in the pool while a tree is replaced: no space, readers, sends, holds, snapshots.

Every function returns rows of the crash matrix's table; whoever publishes, they are the same.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from _core.errors import DsgError
from guest.before import Before
from guest.lab import PARENT, Lab, sh

Row = list[str]


def matrix() -> list[Row]:
    """Return the rows of all of them."""
    return [
        *no_space(),
        *a_reader_in_the_old_tree(),
        *sent_and_held(),
        *a_snapshot_of_another(),
        *a_dataset_of_another(),
    ]


def _synced(lab: Lab, meanwhile: str, *words: str) -> Row:
    """Sync; return how it ended and which tree is published, nothing in between.

    ``words`` have to be in the error, or in what a run that went well leaves for later.
    """
    old, new = lab.published(), lab.local()
    try:
        told = "\n".join(lab.sync().pending_cleanup)
        end = "done"
    except DsgError as exc:
        told, end = str(exc), exc.code
        assert exc.unchanged and exc.next_step, exc.as_dict()
    assert bool(words) == bool(told) and all(word in told for word in words), told
    found = lab.published()
    side = "new" if found == new else "old" if found == old else "a mixture"
    assert (end == "done") == (side == "new"), (end, side)
    assert lab.local() == new, "the working copy"
    return ["sync beside others", meanwhile, "meanwhile", end, side]


def _published(name: str, size: int = 0) -> Lab:
    lab = Lab(name)
    lab.put("a", "1")
    if size:
        _write(lab, size)
    lab.sync()
    return lab


def _write(lab: Lab, size: int) -> None:
    with open(f"{lab.copy('wc')}/big", "wb") as stream:
        stream.write(os.urandom(size))


def no_space() -> list[Row]:
    """A clear error, everything as before, and the next sync works once there is some."""
    lab = _published("full")
    _write(lab, 12 << 20)
    before = lab.snapshots()
    sh("zfs", "set", "quota=5M", lab.live)
    rows = [_synced(lab, "quota reached", "EDQUOT")]
    lab.clean()
    sh("zfs", "set", "quota=none", lab.live)
    free = int(sh("zfs", "list", "-Hp", "-o", "available", PARENT))
    sh("zfs", "create", "-o", f"refreservation={free - (6 << 20)}", "-u", "tank/filler")
    try:
        rows.append(_synced(lab, "pool full", "ENOSPC"))
        lab.clean()
    finally:  # others need the space as well
        sh("zfs", "destroy", "tank/filler")
    assert lab.snapshots() == before
    assert lab.sync().snapshot == 2
    _write(lab, 13 << 20)
    sh("zfs", "set", "quota=20M", lab.live)
    rows.append(_synced(lab, "quota that the history fills", "quota of 20971520"))
    lab.clean()
    sh("zfs", "set", "quota=none", lab.live)
    assert [row[3:] for row in rows] == [["DSG-SYSTEM", "old"]] * 3, rows
    try:
        with Before(_fill):
            rows.append(_synced(lab, "pool full, before the commit"))
    finally:
        sh("zfs", "destroy", "tank/filler")
    assert rows[-1][3:] == ["done", "new"], "what is left is in reserve for exactly that"
    lab.clean()
    _ended(lab)
    return rows


def _fill() -> None:
    """Take all space that anybody can have, also what freed blocks give back a little later."""
    sh("zfs", "create", "-u", "tank/filler")
    taken = 0
    for _unused in range(20):
        sh("zpool", "sync", "tank")
        left = int(sh("zfs", "list", "-Hp", "-o", "available", PARENT))
        if left < 1 << 19:
            return
        taken += left - (1 << 18)
        sh("zfs", "set", f"refreservation={taken}", "tank/filler")
    raise AssertionError(f"{left} bytes are left")


def a_reader_in_the_old_tree() -> list[Row]:
    """A reader with its directory in the old tree keeps it; what waits is named, then collected."""
    lab = _published("seated")
    with subprocess.Popen(["sleep", "600"], cwd=lab.path) as reader, ExitStack() as stack:
        stack.callback(reader.kill)
        lab.put("a", "22")
        named = ["cannot be destroyed yet"]
        if not lab.user:  # no other user may look at what root's process is in
            named.append(f"pid {reader.pid} (sleep)")
        row = _synced(lab, "reader in the old tree", *named)
        with open(f"/proc/{reader.pid}/cwd/a", encoding="utf-8") as stream:
            assert stream.read() == "1", "the reader keeps what it saw"
        lab.put("a", "333")
        done = lab.sync()
        assert done.snapshot == 3, "what waits does not block"
        (left,) = lab.left()
        waiting = lab.recover()
    assert ".old." in left
    assert len(waiting) == 1, waiting
    assert all(word in waiting[0] for word in named), waiting
    lab.put("a", "4444")
    after = lab.sync()
    assert any("destroyed" in line for line in after.recovered), after.recovered
    _ended(lab)
    assert row[3:] == ["done", "new"]
    return [row]


def sent_and_held() -> list[Row]:
    """They keep the newest snapshot from being promoted, not the tree from being replaced."""
    lab = _published("sent", 4 << 20)
    sh("zfs", "hold", "keep", f"{lab.live}@s1")
    lab.put("a", "22")
    rows = [_synced(lab, "hold on the newest snapshot")]
    with _sending(f"{lab.live}@s2"):
        lab.put("a", "333")
        rows.append(_synced(lab, "zfs send of the newest snapshot", "cannot be promoted yet"))
        lab.sound()
        assert any("is a clone of" in line for line in lab.left()), "not promoted yet"
        lab.put("a", "4444")
        assert lab.sync().snapshot == 4, "what waits does not block"
    lab.recover()
    assert lab.recover() == []
    assert lab.snapshots() == ["s1", "s2", "s3", "s4"]
    assert lab.left() == [f"a hold on {lab.live}@s1"], lab.left()
    sh("zfs", "release", "keep", f"{lab.live}@s1")
    _ended(lab)
    assert [row[3:] for row in rows] == [["done", "new"]] * 2, rows
    return rows


@contextmanager
def _sending(snapshot: str) -> Iterator[None]:
    """Have a ``zfs send`` of all up to a snapshot under way, which waits for us and ends behind."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        with subprocess.Popen(["zfs", "send", "-R", snapshot], stdout=writing) as sender:
            os.close(writing)
            stream.read(1 << 20)  # behind the header: the data of s1, of which more is to come
            try:
                yield
            finally:
                while stream.read(1 << 20):
                    pass
        assert sender.returncode == 0


def a_snapshot_of_another() -> list[Row]:
    """Between what we looked at and the commit, it stops the commit; before, it is kept."""
    lab = _published("snapped")
    sh("zfs", "snapshot", f"{lab.live}@daily")
    lab.put("a", "22")
    rows = [_synced(lab, "snapshot of another, before")]
    lab.put("a", "333")
    with Before(lambda: sh("zfs", "snapshot", f"{lab.live}@meanwhile")):
        rows.append(_synced(lab, "snapshot of another, before the commit", "snapshot"))
    lab.clean()
    assert lab.sync().snapshot == 3
    assert lab.snapshots() == ["s1", "daily", "s2", "meanwhile", "s3"]
    _ended(lab)
    assert [row[3:] for row in rows] == [["done", "new"], ["DSG-DRIFT", "old"]], rows
    return rows


def a_dataset_of_another() -> list[Row]:
    """Below the published one it would go with the old tree."""
    lab = _published("nested")
    lab.put("a", "22")
    with Before(lambda: sh("zfs", "create", "-u", f"{lab.live}/child")):
        row = _synced(lab, "dataset below, before the commit", f"{lab.live}/child")
    sh("zfs", "destroy", f"{lab.live}/child")
    lab.clean()
    assert lab.sync().snapshot == 2
    _ended(lab)
    assert row[3:] == ["DSG-REPOSITORY", "old"]
    return [row]


def _ended(lab: Lab) -> None:
    lab.clean()
    lab.destroy()
