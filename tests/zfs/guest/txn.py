# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transactions that stay open between tasks, as the module ``dsg_zfs_txn`` drives them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from _core.backends.registry import open_repository
from _core.sync.status import inspect
from _core.zfs import mounts
from guest.lab import listing, sh
from guest.opened import Opened


def life_cycle() -> None:
    """Init, sync and nothing to do, each step twice: the second one changes nothing."""
    case = Opened("txnlife")
    lab = case.lab
    first = case.begin()
    assert (first.changed, first.operation, first.base) == (True, "init", 0), first
    assert os.path.ismount(first.work_path) and not os.path.ismount(lab.path)
    again = case.begin(txn_id=first.txn_id)
    assert again == type(again)(**{**vars(first), "changed": False}), again
    case.put("a", "1")
    case.put("d/e", "x" * 10)
    os.symlink("a", f"{case.work}/link")
    os.mkdir(f"{case.work}/empty")
    filled = listing(case.work)
    prepared = case.prepare()
    assert prepared.changed and [new.path for _old, new in prepared.changes if new] == [
        "a", "d/e", "empty", "link",
    ]  # fmt: skip
    assert not os.path.exists(case.work) and not os.path.ismount(lab.path)
    assert not case.prepare().changed
    done = case.commit(message="First")
    assert (done.changed, done.operation, done.snapshot, done.base) == (True, "init", 1, 0), done
    assert lab.published() == filled
    lab.clean()
    again = case.commit()
    assert (again.changed, again.snapshot, again.operation) == (False, 1, "init"), again
    facts = lab.facts()[lab.live]
    assert facts["dsg:txn"] == (case.txn_id, "local")
    assert "dsg:open" not in sh("zfs", "get", "-Hs", "local", "all", lab.live)
    for step in (case.prepare, case.rollback, lambda: case.begin(txn_id=case.txn_id)):
        case.refused("DSG-REPOSITORY", "committed", "s1", step=step)

    second = case.begin()
    assert (second.operation, second.base, second.snapshot) == ("sync", 1, 1)
    assert listing(case.work) == filled
    case.put("d/e", "longer than before")
    case.put("a", None)
    case.put("new", "n")
    filled = listing(case.work)
    done = case.commit()
    told = [(old and old.path, new and new.path) for old, new in done.changes]
    assert told == [("a", None), ("d/e", "d/e"), (None, "new")], told
    assert (done.snapshot, lab.published()) == (2, filled)
    lab.clean()
    assert lab.snapshots() == ["s1", "s2"]

    case.begin()
    os.utime(f"{case.work}/new")
    nothing = case.commit()
    assert (nothing.changed, nothing.snapshot, lab.snapshots()) == (False, 2, ["s1", "s2"])
    lab.clean()
    facts = lab.facts()
    again = case.commit()
    assert (again.changed, again.snapshot) == (False, 2), again
    assert lab.facts() == facts
    case.begin(txn_id=case.txn_id)
    assert case.rollback().changed
    case.refused("DSG-REPOSITORY", "no open transaction", step=case.commit)
    case.end()


def _history() -> str:
    """Return what OpenZFS itself has recorded of changes to the pool."""
    return sh("zpool", "history", "-i", "tank")


def _untouched(case: Opened, *steps: Callable[[], Any]) -> list[Any]:
    """Take steps that must not change anything; return what they say."""

    def all_there_is() -> list[Any]:
        trees = [listing(root, records=True) for root in (case.work, case.lab.path) if root]
        return [_history(), case.lab.facts(), trees, sorted(os.listdir("/run/dsg/mnt"))]

    before = all_there_is()
    said = [step() for step in steps]
    assert all_there_is() == before
    return said


def check_mode_touches_nothing() -> None:
    """Whatever is there, every step tells what it would do, and does nothing."""
    case = Opened("txndry")
    case.begin()
    case.put("a", "1")
    began, prepared, committed, rolled, recovered = _untouched(
        case,
        lambda: case.begin(check=True, txn_id="another"),
        lambda: case.prepare(check=True),
        lambda: case.commit(check=True),
        lambda: case.rollback(check=True),
        lambda: case.recover(check=True),
    )
    assert (began.changed, began.operation, began.txn_id) == (True, "init", "another")
    assert began.work_path and not os.path.exists(began.work_path)
    for told in (prepared, committed):
        assert (
            told.changed and told.changes_known and [new.path for _o, new in told.changes] == ["a"]
        )
    assert rolled.changed and recovered.changed
    assert any(case.txn_id in line for line in recovered.recovered)
    done = case.commit()
    assert done.changes == committed.changes
    again, gone = _untouched(
        case, lambda: case.commit(check=True), lambda: case.rollback(check=True, txn_id="another")
    )
    assert not again.changed and not gone.changed

    case.begin()
    nothing, unknown = _untouched(
        case, lambda: case.commit(check=True), lambda: case.commit(check=True, txn_id="another")
    )
    assert not nothing.changed
    assert unknown.changed and not unknown.changes_known, "nobody knows what tasks would have done"
    case.put("a", "22")
    case.prepare()
    case.work = ""
    told, once = _untouched(case, lambda: case.commit(check=True), lambda: case.prepare(check=True))
    assert told.changed and not told.changes_known and not once.changed
    sh("zfs", "snapshot", f"{case.lab.live}@meanwhile")
    case.refused("DSG-DRIFT", "snapshot", step=case.commit, check=True)
    case.rollback()
    case.end()


def drift_of_every_kind() -> None:
    """Published, snapshotted or written by somebody else: refused, still there, rolled back."""
    case = Opened("txndrift")
    lab = case.lab
    case.publish(a="1", b="1")
    lab.sync()  # a client clones

    def published() -> None:
        lab.put("c", str(time.time_ns()))
        assert lab.sync().changed, "an open transaction blocks nobody"

    def snapshotted() -> None:
        sh("zfs", "snapshot", f"{lab.live}@other-{time.time_ns()}")

    def written() -> None:
        sh("mount", "-o", "remount,rw", lab.path)
        with open(f"{lab.path}/b", "a", encoding="utf-8") as stream:
            stream.write("x")
        # It stays writable: what OpenZFS has not written out yet, nothing would count by itself.

    for happens, word in ((published, "now it is at s"), (snapshotted, "snapshot"), (written, "b")):
        for prepared in (False, True):
            case.begin()
            case.put("a", str(time.time_ns()))
            if prepared:
                case.prepare()
            happens()
            before = (lab.published(), lab.snapshots())
            error = case.refused("DSG-DRIFT", word, step=case.commit)
            assert "oll the transaction back" in error.next_step, error
            assert (lab.published(), lab.snapshots()) == before
            assert case.is_open()
            assert case.rollback().changed and not case.rollback().changed
            assert lab.left() == [], lab.left()
            if happens is written:
                sh("mount", "-o", "remount,ro", lab.path)
                sh("zfs", "rollback", f"{lab.live}@{lab.snapshots()[-1]}")
    assert case.publish(a="in the end").changed
    case.end()


def a_mount_that_was_left_in_the_making_is_made_anew() -> None:
    """Whoever mounted it again died before it took writes, and before anybody was let in."""
    case = Opened("txnhalf")
    case.publish(a="1")
    case.begin()
    case.put("b", "2")
    holder = os.path.dirname(case.work)
    sh("mount", "-o", "remount,ro", case.work)
    os.chmod(holder, 0o500)
    assert case.begin(txn_id=case.txn_id).work_path == case.work
    case.put("a", "22")
    assert case.commit().snapshot == 2
    assert case.lab.published().keys() == {"a", "b"}
    case.end()


def what_is_prepared_is_published_as_it_is() -> None:
    """Bytes that OpenZFS writes to look after itself are nobody's; a changed file is somebody's."""
    case = Opened("txnsealed")
    case.publish(a="1")
    for content in ("", "x"):
        case.begin()
        case.put("a", f"22{content}")
        case.put("deep/b", "b")
        case.prepare()
        dataset = f"{case.lab.container}/txnsealed.stage.{case.txn_id}"
        mounts.mount(dataset, "/mnt", published="/mnt")
        mounts.make_writable(dataset, "/mnt")
        with open("/mnt/deep/b", "a", encoding="utf-8") as stream:
            stream.write(content)
        if content:
            case.refused("DSG-REPOSITORY", "mounted elsewhere", "/mnt", step=case.commit)
            mounts.unmount("/mnt")
            case.refused("DSG-DRIFT", "written to since its snapshot @s3", step=case.commit)
            assert case.rollback().changed
        else:
            mounts.unmount("/mnt")
            sh("zpool", "sync", "tank")
            assert case.commit().snapshot == 2
    assert case.lab.published().keys() == {"a", "deep", "deep/b"}
    case.end()


def a_first_publication_meets_another() -> None:
    """Two begin on a repository that is not there yet: who commits first has it."""
    case = Opened("txntwin")
    other = Opened("txntwin", case.lab)
    case.begin(txn_id="mine")
    other.begin(txn_id="theirs")
    case.put("a", "mine")
    other.put("a", "theirs")
    assert case.commit().snapshot == 1
    other.refused("DSG-DRIFT", "when it was absent", step=other.commit)
    assert other.rollback().changed
    assert case.lab.published().keys() == {"a"}
    third, fourth = Opened("txntwin", case.lab), Opened("txntwin", case.lab)
    for one in (third, fourth):
        one.begin()
        one.put("b", one.txn_id)
    assert fourth.commit().snapshot == 2
    third.refused("DSG-DRIFT", step=third.prepare)
    third.rollback()
    case.end()


def an_empty_first_publication() -> None:
    """A tree without anything is published all the same."""
    case = Opened("txnempty")
    done = case.publish()
    assert (done.changed, done.snapshot, done.operation) == (True, 1, "init"), done
    assert not case.publish().changed
    assert case.lab.published() == {} and case.lab.snapshots() == ["s1"]
    case.end()


def a_lease_is_respected() -> None:
    """Recovery and syncs of others leave an open transaction alone until its lease ends."""
    case = Opened("txnlease")
    lab = case.lab
    case.publish(a="1")
    lab.sync()
    case.begin(lease=3600)
    case.put("a", "of the transaction")
    assert lab.recover() == [] and not lab.sync().changed
    other = Opened("txnlease", lab)
    other.begin()
    other.rollback()
    assert case.is_open() and os.path.exists(f"{case.work}/a")
    status = inspect(lab.request())
    assert [
        line for line in status.open_transactions if case.txn_id in line and "left alone" in line
    ]
    lab.put("a", "of a client")
    assert lab.sync().changed
    assert case.is_open() and os.path.exists(f"{case.work}/a"), "a commit of others as well"
    case.rollback()

    case.begin(lease=1)
    case.put("a", "late")
    time.sleep(1.1)
    assert case.commit().changed, "nobody needed the space meanwhile"
    case.begin(lease=1)
    case.put("a", "too late")
    time.sleep(1.1)
    told = open_repository(lab.backend, lab.name).unfinished()
    assert any(case.txn_id in line for line in told), told
    done = lab.recover()
    assert any(f"undid transaction {case.txn_id}" in line for line in done), done
    assert lab.recover() == [] and not os.path.exists(case.work)
    case.refused("DSG-REPOSITORY", "no open transaction", step=case.commit)
    assert not case.rollback().changed

    case.begin(lease=600)
    assert not case.begin(lease=7200, txn_id=case.txn_id).changed
    assert _left(case) > 3600, "who goes on is left alone for as long as said"
    assert not case.begin(lease=600, txn_id=case.txn_id).changed
    assert _left(case) > 3600, "nobody shortens it"
    done = case.recover(txn_id="")
    assert any(case.txn_id in line for line in done.recovered), "asked for, it is undone at once"
    assert not case.recover(txn_id="").changed
    case.end()


def _left(case: Opened) -> float:
    """Return how many seconds the open transaction is still left alone."""
    stage = f"{case.lab.container}/{case.lab.name}.stage.{case.txn_id}"
    return int(sh("zfs", "get", "-H", "-o", "value", "dsg:open", stage).split(";")[0]) - time.time()


def an_unreadable_mark_is_left_alone() -> None:
    """What somebody scribbled on is neither used nor destroyed, until it is rolled back."""
    case = Opened("txnmark")
    case.publish(a="1")
    case.begin()
    stage = f"{case.lab.container}/{case.lab.name}.stage.{case.txn_id}"
    sh("zfs", "set", "dsg:open=soon", stage)
    assert case.lab.recover() == []
    case.refused("DSG-MANIFEST", "soon", step=case.commit)
    assert case.rollback().changed
    case.end()


def arguments_are_checked_first() -> None:
    """Ids that could leave their place, other backends, leases without length."""
    case = Opened("txnargs")
    for txn_id in ("../x", "a b", "a/b", "x" * 65, "a@s1", "é", "a%b", "-\n"):
        for step in (case.begin, case.commit, case.rollback):
            case.refused("DSG-ARGUMENT", step=step, txn_id=txn_id)
    directory = {"type": "directory", "base": "/srv"}
    case.refused("DSG-ARGUMENT", "only zfs", step=case.begin, backend=directory)
    for wrong in ({"lease": 0}, {"lock_timeout": -1}, {"user": "a\nb"}, {"message": "a\nb"}):
        case.refused("DSG-ARGUMENT", step=case.begin, **wrong)
    for step in (case.prepare, case.commit):
        case.refused("DSG-REPOSITORY", "no open transaction", step=step, txn_id="absent")
    assert case.lab.left() == []


def open_before_the_cut() -> dict[str, str]:
    """Leave one transaction begun and one prepared, in two repositories."""
    ids = {}
    for name in ("txncut-begun", "txncut-prepared"):
        case = Opened(name)
        case.publish(a="1")
        case.begin()
        case.put("a", "after the cut")
        ids[name] = case.txn_id
    case.prepare()
    return ids


def open_behind_the_cut(ids: dict[str, str]) -> None:
    """What tasks wrote may not have reached the disk: only what was prepared is gone on with."""
    begun, prepared = Opened("txncut-begun"), Opened("txncut-prepared")
    begun.txn_id, prepared.txn_id = ids["txncut-begun"], ids["txncut-prepared"]
    begun.lab.recover()  # unless a unit did so at boot
    assert not begun.is_open()
    begun.refused("DSG-REPOSITORY", "no open transaction", step=begun.commit)
    again = begun.begin(txn_id=begun.txn_id)
    assert again.changed and again.txn_id == ids["txncut-begun"], "the same playbook runs again"
    begun.put("a", "again")
    assert begun.commit().snapshot == 2
    prepared.lab.recover()
    assert prepared.lab.recover() == [] and prepared.is_open()
    assert prepared.commit().snapshot == 2
    for case in (begun, prepared):
        case.end()
