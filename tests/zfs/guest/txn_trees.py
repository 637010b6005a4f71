# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks leave in the work tree of an open transaction, and what becomes of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from _core.backends.registry import open_repository
from _core.errors import DsgError
from _core.manifest import scan
from _core.sync import open_transaction, work_tree
from guest.opened import Opened


def what_cannot_be_published_is_refused() -> None:
    """Named, with everything as it was; it can be mended and prepared."""
    case = Opened("txnbad")
    case.publish(a="1")
    case.begin()

    def fifo(path: str) -> None:
        os.mkfifo(path)

    def bound(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(os.path.dirname(path))
            listening.bind(os.path.basename(path))
            os.chdir("/")

    def device(path: str) -> None:
        os.mknod(path, 0o20666, os.makedev(1, 3))

    def link(target: str) -> Callable[[str], None]:
        return lambda path: os.symlink(target, path)

    def plain(path: str) -> None:
        os.mkdir(path)

    wrong: list[tuple[str, str, bytes, Callable[[Any], None], str]] = [
        ("DSG-TREE", "a fifo", b"d/pipe", fifo, "pipe"),
        ("DSG-TREE", "a socket", b"d/sock", bound, "sock"),
        ("DSG-TREE", "a device node", b"d/null", device, "null"),
        ("DSG-PATH", "a line feed", b"d/a\nb", plain, "d/a"),
        ("DSG-PATH", "not UTF-8", b"d/\xff", plain, "d/"),
        ("DSG-PATH", "equal but for case", b"A", plain, "A"),
        ("DSG-PATH", "reserved", b"d/.dsg", plain, ".dsg"),
        ("DSG-PATH", "an absolute link", b"d/out", link("/etc/passwd"), "d/out"),
        ("DSG-PATH", "a link that leaves", b"d/up", link("../../x"), "d/up"),
    ]
    os.mkdir(f"{case.work}/d")
    for code, what, name, make, shown in wrong:
        path = os.path.join(os.fsencode(case.work), name)
        make(os.fsdecode(path))
        for step, check in ((case.prepare, False), (case.commit, False), (case.commit, True)):
            error = case.refused(code, shown, step=step, check=check)
            assert error.details, (what, error)
        if os.path.isdir(path):
            os.rmdir(path)
        else:
            os.unlink(path)
    assert case.is_open()
    case.put("d/fine", "f")
    assert case.commit().snapshot == 2
    case.end()


def our_own_records_are_put_right() -> None:
    """Whatever tasks do to ``.dsg``, the chain of manifests stays whole."""
    case = Opened("txnrecords")

    def remove() -> None:
        shutil.rmtree(f"{case.work}/.dsg", ignore_errors=True)

    def redirect() -> None:
        remove()
        os.symlink("/etc", f"{case.work}/.dsg")

    def forge() -> None:
        for name in ("manifest.jsonl", "history/s1.jsonl", "history/s99.jsonl"):
            case.put(f".dsg/{name}", "forged")

    def replace() -> None:
        remove()
        os.mkfifo(f"{case.work}/.dsg")

    for number, tamper in enumerate((forge, remove, redirect, forge, replace), 1):
        case.begin()
        tamper()
        case.put("a", str(number))
        done = case.commit()
        assert [new.path for _old, new in done.changes if new] == ["a"], done.changes
        assert done.snapshot == number
        case.lab.clean()
        assert not os.path.exists("/etc/manifest.jsonl")
    case.begin()
    remove()
    assert not case.commit().changed, "our records are no content"
    case.end()


def what_did_not_change_is_neither_read_nor_attributed() -> None:
    """A file with its inode, size and times is known; one that only seems the same is read."""
    case = Opened("txnsame")
    case.publish(a="a", b="b", c="ccc", d="d")
    hashed: list[int] = []
    scan_tree = scan.scan_tree

    def counting(*arguments: Any, **more: Any) -> Any:
        found = scan_tree(*arguments, **more)
        hashed.append(found.hashed)
        return found

    work_tree.scan_tree = counting  # type: ignore[attr-defined]
    case.begin()
    case.put("b", "new content")
    before = os.stat(f"{case.work}/c")
    with open(f"{case.work}/c", "r+", encoding="utf-8") as stream:
        stream.write("CCC")
    os.utime(f"{case.work}/c", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.chmod(f"{case.work}/d", 0o6755)
    os.chown(f"{case.work}/d", 33, 33)
    done = case.commit(user="ben")
    assert hashed == [3], hashed
    told = {new.path: new.user for _old, new in done.changes if new}
    assert told == {"b": "ben", "c": "ben", "d": "ann"}, told
    users = {
        e.path: e.user for e in open_repository(case.lab.backend, "txnsame").manifest().entries
    }
    assert users == {"a": "ann", **told}
    seen = os.stat(f"{case.lab.path}/d")
    assert (seen.st_mode & 0o7777, seen.st_uid) == (0o755, 33), "its owner is kept, setuid is not"
    case.end()


def somebody_is_in_the_work_tree() -> None:
    """It cannot be prepared then; it can be rolled back, and goes when they leave."""
    case = Opened("txnbusy")
    case.publish(a="1")
    case.begin()
    case.put("a", "22")
    with subprocess.Popen(["sleep", "600"], cwd=case.work) as sitting:
        case.refused("DSG-SYSTEM", case.work, "in one of its directories", step=case.prepare)
        assert case.is_open() and os.path.exists(f"{case.work}/a")
        done = case.rollback()
        assert done.changed and "busy" in done.pending_cleanup[0], done
        sitting.kill()
    assert case.lab.recover() != [] and case.lab.recover() == []
    assert case.publish(a="333").snapshot == 2
    case.end()


def a_failed_beginning_leaves_nothing() -> None:
    """No space for a clone's mount directory, say: the error is told, the clone is gone."""
    case = Opened("txnfails")
    case.publish(a="1")
    mount = open_transaction.OpenTransaction.begin

    def failing(transaction: Any) -> None:
        mount(transaction)
        raise DsgError("injected", object="x", next_step="none")

    open_transaction.OpenTransaction.begin = failing  # type: ignore[method-assign]
    case.refused("DSG-INTERNAL", "injected", step=case.begin)
    open_transaction.OpenTransaction.begin = mount  # type: ignore[method-assign]
    assert case.publish(a="22").snapshot == 2
    case.end()
