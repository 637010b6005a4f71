# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory repository that is reached through a real sshd, and looked at from beside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from _core.backends.directory.repository import DirectoryRepository
from _core.manifest.codec import Manifest
from _core.sync.recovery import key_of, recover
from _core.sync.request import SyncRequest
from _core.transport.connect import connect
from _core.transport.destination import Destination
from _core.transport.remote import RemoteRepository
from _core.transport.remote_transaction import RemoteTransaction

from tests.integration.support import Site
from tests.tools.sshd import Sshd


def destination_of(server: Sshd, **fields: Any) -> Destination:
    """Return how to reach the server with its own key, whatever the user's configuration says."""
    given = {"label": "store1", "port": server.port, "user": server.user, **fields}
    given.setdefault("key_file", str(server.key))
    given.setdefault("options", server.options)
    return Destination(server.host, **given)


def multiplexed(server: Sshd) -> list[str]:
    """Return options of a client whose connections share one, as ControlPersist does."""
    shared = ("ControlMaster=auto", f"ControlPath={server.folder}/m", "ControlPersist=60")
    return [*server.options, *(word for option in shared for word in ("-o", option))]


class SshSite(Site):
    """A site whose runs go through ssh; ``repository`` looks at the same directories from here."""

    def __init__(self, root: str, destination: Destination, name: str = "tree") -> None:
        self.destination = destination
        super().__init__(root, name)

    def __post_init__(self) -> None:
        super().__post_init__()
        remote = RemoteRepository(self.destination, self.backend, self.name, connect)
        self.location = remote.location
        self.key = key_of(remote)

    def request(self, src: str, **options: Any) -> SyncRequest:
        """Return a request that goes to the host."""
        options.setdefault("destination", self.destination)
        return super().request(src, **options)

    def recover(self, src: str = "") -> list[str]:
        """Recover the working copy and the repository."""
        return recover(src, self.name, self.backend, 10.0, self.destination)

    def beside(self, name: str) -> SshSite:
        """Return a site of another repository below the same base."""
        return SshSite(self.root, self.destination, name)


class ContractSite(SshSite):
    """The same, with the repository that the client sees under test."""

    repository: Any
    swaps = 5
    always_locks = True

    def provisioned(self) -> Any:
        """Make the base directory."""
        local = super().provisioned()
        return Connected(self.destination, local)

    def beside(self, name: str) -> ContractSite:
        """Return a site of another repository below the same base."""
        return ContractSite(self.root, self.destination, name)


class Connected:
    """A remote repository in which transactions can be left as by a crash, as the contract does.

    A transaction that is begun without the lock gets a connection of its own, which holds it. Where
    somebody asks for the lock then, the transaction's agent is killed: that is what a crash leaves.
    """

    def __init__(self, destination: Destination, local: DirectoryRepository) -> None:
        self._destination = destination
        self._local = local
        self._connections: dict[int, RemoteRepository] = {}
        self._running: ExitStack | None = None
        self._locked = False

    def _new(self) -> RemoteRepository:
        local = self._local
        return RemoteRepository(self._destination, local.backend, local.name, connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here(), name)

    def _here(self) -> RemoteRepository:
        """Return this process's connection: a forked child must not use its parent's."""
        return self._connections.setdefault(os.getpid(), self._new())

    def tree(self) -> str:
        return self._local.tree()

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        self.crash()
        with self._here().lock(timeout, shared=shared):
            self._locked = True
            try:
                yield
            finally:
                self._locked = False

    def committed(self, txn_id: str, since: int) -> bool:
        self.crash()  # else it is waited for: only when it has ended it is known
        return self._here().committed(txn_id, since)

    def begin(self, txn_id: str, base: Manifest | None) -> Any:
        if self._locked:
            return self._here().begin(txn_id, base)
        self.crash()
        connection = self._new()
        self._running = ExitStack()
        self._running.callback(connection.close)
        self._running.enter_context(connection.lock(0))
        return Running(connection.begin(txn_id, base), self)

    def crash(self) -> None:
        """Kill the agent of a transaction that is under way."""
        if self._running is not None:
            with open(self._local.layout.lock, encoding="ascii") as note:
                os.kill(int(note.read().split()[1]), signal.SIGKILL)
        self.release()

    def release(self) -> None:
        """End the connection of a transaction."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def close(self) -> None:
        """End what is open."""
        self.release()
        self._here().close()


class Running:
    """A transaction that gives its connection back at its end."""

    def __init__(self, transaction: RemoteTransaction, owner: Connected) -> None:
        self._transaction = transaction
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def finish(self) -> list[str]:
        waiting = self._transaction.finish()
        self._owner.release()
        return waiting

    def rollback(self) -> None:
        self._transaction.rollback()
        self._owner.release()
