# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only root may do on Linux, behind one interface: mounting, and what nobody may delegate.

Everything else a transaction does (clone, snapshot, rename, promote, destroy, commit record) can be
delegated with ``zfs allow``. Root does the rest by itself (:class:`Direct`), a service user through
the root-owned helper (:class:`~.delegated.Delegated`).
"""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from typing import Protocol

from ...errors import DsgError, RepositoryError
from ...posix.lock import locked
from ...zfs import mounts
from ...zfs.command import Runner
from ..standing import Missing
from . import carry_over, lease, places, publish
from .layout import Layout
from .state import State, look

LOCK_MODE = 0o640
"""Who may read a file can lock it; writing would fill root's file system."""
_LOCK_SECONDS = 60.0


class Privileged(Protocol):
    """The fixed operations on one repository; each does what is missing, however often it is asked."""

    def require(self) -> None:
        """Raise :class:`MissingRight` unless a transaction could be carried through."""

    def missing(self) -> list[Missing]:
        """Return everything that is lacking for that."""

    def prepare_locks(self) -> None:
        """Make the files that locks are held on."""

    def mount_work(self, kind: str, txn_id: str) -> None:
        """Mount a transaction's dataset (kind init or stage) writably, for nobody else to see."""

    def unmount_work(self, txn_id: str) -> None:
        """Unmount it."""

    def carry_over(self, txn_id: str) -> None:
        """Give the stage the properties and grants that were set on the published dataset itself."""

    def publish(self, state: State) -> None:
        """Mount the repository's dataset at its path, without a gap where an older one is."""

    def release(self) -> list[str]:
        """Unmount what a transaction of this repository, dead or done, has mounted privately."""

    def protect_parent(self, state: State) -> list[str]:
        """Make the publish parent read-only again, where somebody died who had to write there."""


class Owner:
    """Who is to work in private mounts: user and group id."""

    def __init__(self, uid: int = 0, gid: int = 0) -> None:
        self.uid = uid
        self.gid = gid


class Direct:
    """Root does it. ``owner`` is for whom: the helper does it for a service user."""

    def __init__(self, runner: Runner, layout: Layout, owner: Owner | None = None) -> None:
        self.runner = runner
        self.layout = layout
        self.owner = owner or Owner()

    def require(self) -> None:
        """Root lacks nothing."""

    def missing(self) -> list[Missing]:
        """Root lacks nothing."""
        return []

    def prepare_locks(self) -> None:
        """Make the lock files, for the owner as well."""
        places.ensure_run()
        for path in (self.layout.lock, self.layout.parent_lock):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, LOCK_MODE)
            try:
                if self.owner.gid:
                    self._share(fd)
            finally:
                os.close(fd)

    def _share(self, fd: int) -> None:
        """Let the owner's group in; both are looked at, as somebody may have died between them."""
        found = os.fstat(fd)
        if found.st_gid != self.owner.gid:
            os.fchown(fd, 0, self.owner.gid)
        if stat.S_IMODE(found.st_mode) != LOCK_MODE:
            os.fchmod(fd, LOCK_MODE)

    def mount_work(self, kind: str, txn_id: str) -> None:
        """Mount the dataset; a new one's root directory belongs to the owner."""
        directory = self.layout.mount(txn_id)
        with self._alone():
            if mounts.mounted_at(directory):
                self._refuse_roots(directory)
                if places.is_private(directory, self.owner.gid) and mounts.is_writable(directory):
                    return
                mounts.unmount(directory)  # somebody died here, or it is another one's
            self._mount(self.layout.work(kind, txn_id), directory)

    def _mount(self, dataset: str, directory: str) -> None:
        """Mount it for the owner, who may enter once nothing can go wrong any more."""
        places.make_private(directory, self.owner.gid)
        try:
            places.mount_alone(dataset, directory)
        except (OSError, DsgError):
            if mounts.mounted_at(directory):
                mounts.unmount(directory)
            places.remove_private(directory)
            raise
        if self.owner.uid:
            places.hand_over(directory, self.owner.uid, self.owner.gid)
        places.admit(directory, self.owner.gid)

    def unmount_work(self, txn_id: str) -> None:
        """Unmount it and remove its directory."""
        directory = self.layout.mount(txn_id)
        with self._alone():
            if mounts.mounted_at(directory):
                self._refuse_roots(directory)
                mounts.unmount(directory)
            places.remove_private(directory)

    def carry_over(self, txn_id: str) -> None:
        """Set on the stage what is set on the published dataset."""
        carry_over.carry_over(self.runner, self.layout, txn_id)

    def publish(self, state: State) -> None:
        """Switch the mount, then unmount what is private."""
        with self._alone():
            self._refuse_work_of_others()
            publish.publish(self.runner, state)
            publish.release(self.layout, self._in_use() | self._roots())

    def release(self) -> list[str]:
        """Unmount and say so; what root has mounted for itself stays, whoever root does it for."""
        with self._alone():
            return publish.release(self.layout, self._in_use() | self._roots())

    def _refuse_work_of_others(self) -> None:
        """Let no service user publish what is mounted for a transaction, and was renamed."""
        if not self.owner.uid:
            return
        own = self.layout.mount(publish.PRIVATE)
        private = os.path.dirname(os.path.dirname(own))
        for directory in mounts.directories_of(self.layout.live):
            if directory != own and directory.startswith(f"{private}/"):
                raise RepositoryError(
                    "a transaction is at work in it",
                    object=directory,
                    unchanged="What is mounted for readers was left alone.",
                    next_step="Let it end; where it has died, run `dsg.storage.recover` as root.",
                )

    def _roots(self) -> set[str]:
        """Return where root works for itself, as seen by whoever root does it for."""
        return {path for path in self.layout.mounts() if self._is_roots(path)}

    def _is_roots(self, directory: str) -> bool:
        is_helper = self.owner.uid != 0
        return (
            is_helper
            and directory != self.layout.mount(publish.PRIVATE)
            and places.is_roots(directory)
        )

    def _refuse_roots(self, directory: str) -> None:
        """Leave root's tree to root: whoever had it mounted anew could lead root astray in it."""
        if self._is_roots(directory):
            raise RepositoryError(
                "root has mounted a transaction's dataset there for itself",
                object=directory,
                next_step="Let root's run end; where it has died, run `dsg.storage.recover` as root.",
            )

    def protect_parent(self, state: State) -> list[str]:
        """Remount the parent."""
        return publish.protect_parent(self.runner, state)

    def _in_use(self) -> set[str]:
        """Return the mounts of open transactions; nobody asks where there is none that could be."""
        others = set(self.layout.mounts()) - {self.layout.mount(publish.PRIVATE)}
        return lease.mounted(look(self.runner, self.layout)) if others else set()

    def _alone(self) -> AbstractContextManager[int]:
        """Keep off an operation that outlived the process that asked the helper for it."""
        places.ensure_run()
        lock = self.layout.mount_lock
        if os.path.exists(lock):  # an older version left it for anybody to hold
            os.chmod(lock, 0o600)
        return locked(lock, timeout=_LOCK_SECONDS, what=self.layout.live, mode=0o600)
