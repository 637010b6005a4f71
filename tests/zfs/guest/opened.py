# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One repository with open transactions, as the module ``dsg_zfs_txn`` drives them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from _core.errors import DsgError
from _core.sync import open_transaction as txn
from _core.sync.open_request import TransactionRequest, TransactionResult
from guest.as_user import as_user
from guest.lab import Lab, sh


class Opened:
    """A lab's repository, with one transaction id after the other."""

    def __init__(self, name: str, lab: Lab | None = None) -> None:
        self.lab = lab or Lab(name)
        self.txn_id = ""
        self.work = ""

    def request(self, **more: Any) -> TransactionRequest:
        """Return what a step is asked."""
        named = {"repository": self.lab.name, "backend": self.lab.backend, "user": "ann"}
        return TransactionRequest(**{**named, "txn_id": self.txn_id, **more})

    def _take(self, step: Callable[[TransactionRequest], Any], **more: Any) -> TransactionResult:
        """Take a step, as the user whose rights are tested."""
        request = self.request(**more)
        return self._acting(lambda: step(request))  # type: ignore[no-any-return]

    def _acting(self, work: Callable[[], Any]) -> Any:
        needed = self.lab.user and os.geteuid() == 0  # this process may be the user already
        return as_user(self.lab.user, work) if needed else work()

    def begin(self, **more: Any) -> TransactionResult:
        """Begin a new transaction, unless an id is given."""
        done = self._take(txn.begin, **{"txn_id": "", **more})
        if not more.get("check"):
            self.txn_id, self.work = done.txn_id, done.work_path
        return done

    def prepare(self, **more: Any) -> TransactionResult:
        """Prepare the present transaction."""
        return self._take(txn.prepare, **more)

    def commit(self, **more: Any) -> TransactionResult:
        """Commit the present transaction."""
        return self._take(txn.commit, **more)

    def rollback(self, **more: Any) -> TransactionResult:
        """Roll the present transaction back."""
        return self._take(txn.rollback, **more)

    def recover(self, **more: Any) -> TransactionResult:
        """Recover everything."""
        return self._take(txn.recover, **more)

    def put(self, path: str, content: str | None) -> None:
        """Write a file of the work tree as any program would; None removes it."""
        full = os.path.join(self.work, path)

        def write() -> None:
            if content is None:
                os.unlink(full)
                return
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as stream:
                stream.write(content)

        self._acting(write)

    def publish(self, **content: str | None) -> TransactionResult:
        """Begin, write and commit."""
        self.begin()
        for path, text in content.items():
            self.put(path, text)
        return self.commit()

    def refused(self, code: str, *words: str, step: Any, **more: Any) -> DsgError:
        """Take a step that has to be refused with that code and say those words."""
        before = self.lab.published() if os.path.isdir(self.lab.path) else {}
        try:
            step(**more)
        except DsgError as exc:
            assert exc.code == code, exc
            assert all(word in str(exc) for word in words), (words, str(exc))
            assert exc.unchanged and exc.next_step, exc.as_dict()
            assert "orking copy" not in exc.unchanged, exc.unchanged
            assert (self.lab.published() if os.path.isdir(self.lab.path) else {}) == before
            return exc
        raise AssertionError("it was not refused")

    def is_open(self) -> bool:
        """Tell whether the present transaction is there."""
        listed = sh(
            "zfs", "get", "-Hr", "-s", "local", "-o", "name", "dsg:open", self.lab.container
        )
        return self.txn_id in listed

    def end(self) -> None:
        """Nothing is left, the repository is sound; then it is removed."""
        self.lab.clean()
        self.lab.destroy()
