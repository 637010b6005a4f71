# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open transactions, as the module ``dsg_zfs_txn`` drives them."""

from __future__ import annotations

import os
from typing import Any

from _core.errors import DsgError
from _core.sync import open_transaction as txn
from _core.sync.open_transaction import TransactionRequest, TransactionResult
from guest.lab import Lab, listing, sh


class Opened:
    """A lab's repository, with one transaction id after the other."""

    def __init__(self, name: str) -> None:
        self.lab = Lab(name)
        self.txn_id = ""
        self.work = ""

    def request(self, **more: Any) -> TransactionRequest:
        """Return what a step is asked."""
        named = {"repository": self.lab.name, "backend": self.lab.backend, "user": "ann"}
        return TransactionRequest(**{**named, "txn_id": self.txn_id, **more})

    def begin(self, **more: Any) -> TransactionResult:
        """Begin a new transaction, unless an id is given."""
        done = txn.begin(self.request(**{"txn_id": "", **more}))
        if not more.get("check"):
            self.txn_id, self.work = done.txn_id, done.work_path
        return done

    def prepare(self, **more: Any) -> TransactionResult:
        """Prepare the present transaction."""
        return txn.prepare(self.request(**more))

    def commit(self, **more: Any) -> TransactionResult:
        """Commit the present transaction."""
        return txn.commit(self.request(**more))

    def rollback(self, **more: Any) -> TransactionResult:
        """Roll the present transaction back."""
        return txn.rollback(self.request(**more))

    def recover(self, **more: Any) -> TransactionResult:
        """Recover everything."""
        return txn.recover(self.request(**more))

    def put(self, path: str, content: str | None) -> None:
        """Write a file of the work tree as any program would; None removes it."""
        full = os.path.join(self.work, path)
        if content is None:
            os.unlink(full)
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as stream:
            stream.write(content)

    def publish(self, **content: str | None) -> TransactionResult:
        """Begin, write and commit."""
        self.begin()
        for path, text in content.items():
            self.put(path, text)
        return self.commit()

    def refused(self, code: str, *words: str, step: Any) -> DsgError:
        """Take a step that has to be refused with that code and say those words."""
        before = self.lab.published() if os.path.isdir(self.lab.path) else {}
        try:
            step()
        except DsgError as exc:
            assert exc.code == code, exc
            assert all(word in str(exc) for word in words), (words, str(exc))
            assert exc.unchanged and exc.next_step, exc.as_dict()
            assert "orking copy" not in exc.unchanged, exc.unchanged
            assert (self.lab.published() if os.path.isdir(self.lab.path) else {}) == before
            return exc
        raise AssertionError("it was not refused")

    def end(self) -> None:
        """Nothing is left, the repository is sound; then it is removed."""
        self.lab.clean()
        self.lab.destroy()


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
    case.refused("DSG-REPOSITORY", "no open transaction", step=case.commit)
    case.end()
