# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service user's half of the delegated model: what needs root is asked of the helper."""

from __future__ import annotations

import json
import os
import subprocess
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from ...errors import DsgError, MissingRight, SystemCallError
from ...zfs import mounts
from ...zfs.command import ENVIRONMENT, Runner, find_binary
from ..standing import Missing
from . import carry_over, rights
from .layout import Layout
from .privileged import Direct, Privileged
from .publish import PRIVATE
from .state import State

PROGRAM = "/usr/local/libexec/dsg-storage"
VERB = "helper"


def privileges(runner: Runner, layout: Layout) -> Privileged:
    """Return how this process does what only root may do."""
    if os.geteuid() == 0:
        return Direct(runner, layout)
    return Delegated(runner, layout)


class HelperError(DsgError):
    """An error that the helper reported, with its code."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__(
            found["message"],
            object=found["object"],
            unchanged=found["unchanged"],
            next_step=found["next_step"],
            details=found["details"],
        )
        self.code = found["code"]


class Delegated:
    """A service user, with granted rights and the helper behind one sudo rule.

    The helper is started when it is first needed and serves until this object is gone.
    """

    def __init__(self, runner: Runner, layout: Layout) -> None:
        self.runner = runner
        self.layout = layout
        self._helper: subprocess.Popen[bytes] | None = None
        self._answered = False
        self._allowed = False

    def require(self) -> None:
        """Ask for helper and grants before anything is begun."""
        if self._allowed:
            return
        for check in self._checks():
            check()
        self._allowed = True

    def _checks(self) -> tuple[Callable[[], object], ...]:
        """Return what raises where something is lacking."""
        return (
            lambda: self._ask("hello"),
            lambda: rights.require(self.runner, self.layout),
            self._require_own,
        )

    def _require_own(self) -> None:
        private = self.layout.mount(PRIVATE)  # there where a helper died: the next one's business
        for path in set(mounts.directories_of(self.layout.live)) - {private}:
            if mounts.mounted_at(path) == self.layout.live:  # else it is somebody else's that shows
                rights.require_own(path)

    def missing(self) -> list[Missing]:
        """Return everything that is lacking; what cannot be found out is an error."""
        found = []
        for check in self._checks():
            try:
                check()
            except (MissingRight, HelperError) as exc:
                found.append(Missing(exc.message, exc.object or "", exc.next_step))
        return found

    def prepare_locks(self) -> None:
        """Have the helper make the lock files, unless they are there for us."""
        if not os.access(self.layout.lock, os.R_OK):
            self._ask("locks")

    def mount_work(self, kind: str, txn_id: str) -> None:
        """Have a transaction's dataset mounted for us."""
        self._ask("mount", kind=kind, txn=txn_id)

    def unmount_work(self, txn_id: str) -> None:
        """Have it unmounted."""
        if os.path.isdir(os.path.dirname(self.layout.mount(txn_id))):
            self._ask("unmount", txn=txn_id)

    def carry_over(self, txn_id: str) -> None:
        """Have properties and grants set, where there are any."""
        if any(carry_over.find(self.runner, self.layout, txn_id)):
            self._ask("carry-over", txn=txn_id)

    def publish(self, state: State) -> None:
        """Have the mount switched; the helper looks for itself."""
        self._ask("publish")

    def release(self) -> list[str]:
        """Have private mounts of this repository unmounted."""
        return self._ask("release") if self.layout.mounts() else []

    def protect_parent(self, state: State) -> list[str]:
        """Have the parent made read-only."""
        return self._ask("protect")

    def _ask(self, verb: str, **names: str) -> list[str]:
        helper = self._started()
        request = {"verb": verb, "parent": self.layout.parent, "name": self.layout.name, **names}
        requests, answers = _pipes(helper)
        try:
            requests.write(json.dumps(request).encode() + b"\n")
            requests.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise self._gone(helper)
        self._answered = True
        answer = json.loads(line)
        if "error" in answer:
            raise HelperError(answer["error"])
        return [str(sentence) for sentence in answer["done"]]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._helper is None:
            self.runner.started += 1
            self._helper = helper = subprocess.Popen(
                [find_binary("sudo"), "-n", PROGRAM, VERB],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
            )
            # Python keeps a Popen that still runs, and its pipes with it: nothing would ever end it.
            weakref.finalize(self, _hang_up, _pipes(helper)[0])
        return self._helper

    def _gone(self, helper: subprocess.Popen[bytes]) -> DsgError:
        """Tell why there is no answer: it was never allowed to serve, or it died while it did."""
        answered, self._helper, self._answered = self._answered, None, False
        _out, told = helper.communicate()
        said = told.decode("utf-8", "replace").strip()
        if answered:
            return SystemCallError(
                "the helper that mounts ended in the middle of its work",
                object=self.layout.parent,
                details=said.splitlines()[-3:],
            )
        return MissingRight(
            f"user {rights.user_name()} cannot start the helper that mounts: "
            f"{said or 'it ended without an answer'}",
            object=self.layout.parent,
        )


def _hang_up(requests: IO[bytes]) -> None:
    """Close what a helper reads from, which ends it."""
    with suppress(OSError):
        requests.close()


def _pipes(helper: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if helper.stdin is None or helper.stdout is None:
        raise AssertionError("the helper was started without pipes")
    return helper.stdin, helper.stdout
