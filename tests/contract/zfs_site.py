# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that is a dataset, inside a virtual host with OpenZFS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from _core.backends.zfs.layout import Layout
from _core.backends.zfs.repository import ZfsRepository
from _core.errors import DsgError
from guest.contract import delegate
from guest.lab import provision, sh, unmount_all

from tests.integration.support import AnySite, Picture, picture

_FACTS = "type,guid,origin,mounted,userrefs,dsg:txn"


@dataclass
class ZfsSite(AnySite):
    """A publish parent of its own in ``pool``, one repository below it, working copies beside it."""

    pool: str = "tank"
    swaps = 5  # each takes a second there, and tests/zfs has a reader watch a hundred

    def provisioned(self) -> ZfsRepository:
        """Make the publish parent, unless a neighbour has."""
        key = f"{self.pool}-{os.path.basename(self.root)}"
        self.parent = f"{self.pool}/{key}"
        self.mountpoint = f"/srv/{key}"
        if not os.path.exists(self.mountpoint):
            provision(self.parent, self.mountpoint)
            if os.geteuid() != 0:
                delegate(self.parent)
        self.backend = {"type": "zfs", "dataset": self.parent}
        self.layout = Layout(self.parent, self.name)
        return ZfsRepository(self.parent, self.name)

    @property
    def live(self) -> str:
        """The published tree's root."""
        return f"{self.mountpoint}/{self.name}"

    def kept(self, number: int) -> str:
        """Return the root of an older snapshot."""
        return f"{self.live}/.zfs/snapshot/s{number}"

    def staged(self) -> list[str]:
        """Name the work datasets of this repository."""
        listed = sh("zfs", "list", "-H", "-o", "name", "-r", self.layout.container).splitlines()
        return [name for name in listed if self.layout.parse_work(name)]

    def held(self) -> Picture:
        """Return the published tree, and what identifies all datasets and snapshots below the parent."""
        facts = sh("zfs", "list", "-Hp", "-t", "all", "-o", f"name,{_FACTS}", "-r", self.parent)
        found: Picture = dict.fromkeys(facts.splitlines(), ())
        found.update(picture(self.mountpoint))
        return found

    def picture(self) -> dict[str, Picture]:
        """Return everything that is there, on all sides."""
        return {**super().picture(), "the repository": self.held()}

    def beside(self, name: str) -> ZfsSite:
        """Return a site of another repository below the same parent."""
        return ZfsSite(self.root, name, pool=self.pool)

    @contextmanager
    def opened(self) -> Iterator[str]:
        """Remount the published tree for somebody who writes there."""
        sh("mount", "-o", "remount,rw", self.live)
        try:
            yield self.live
        finally:
            sh("mount", "-o", "remount,ro", self.live)

    def put_foreign(self) -> Callable[[], list[str]]:
        """Make datasets with names that are almost ours, and a snapshot of the container."""
        container = self.layout.container
        names = [
            *(f"{container}/{self.name}.stage.a b", f"{container}/{self.name}.old"),
            *(f"{container}/other.stage.x1", f"{container}/notes"),
        ]
        for name in names:
            sh("zfs", "create", "-u", name)
        sh("zfs", "snapshot", f"{container}@mine")
        names.append(f"{container}@mine")

        def missing() -> list[str]:
            listed = sh("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", container)
            return sorted(set(names) - set(listed.splitlines()))

        return missing

    @contextmanager
    def almost_full(self, spare: int) -> Iterator[None]:
        """Reserve what is free, and leave that much of it."""
        filler = f"{self.pool}/filler"
        sh("zfs", "create", "-u", filler)
        free = int(sh("zfs", "list", "-Hp", "-o", "available", self.pool))
        sh("zfs", "set", f"reservation={free - spare * 1024 * 1024}", filler)
        try:
            yield
        finally:
            sh("zfs", "destroy", filler)

    def says_full(self, error: DsgError) -> bool:
        """Tell whether an error says that there is no space: the system's, or that of ``zfs``."""
        said = error.code == "DSG-ZFS" and "out of space" in " ".join(error.details)
        return said or super().says_full(error)

    def check_held(self, number: int) -> None:
        """Assert that the snapshots are there, and no clone or private mount."""
        names = sh("zfs", "list", "-H", "-t", "all", "-o", "name,origin", "-r", self.layout.live)
        wanted = [self.layout.live, *(f"{self.layout.live}@s{n}" for n in range(1, number + 1))]
        assert names.split() == [word for name in wanted for word in (name, "-")]
        assert self.layout.mounts() == []

    def dispose(self) -> None:
        """Remove the parent and everything below it."""
        unmount_all(self.mountpoint)
        if os.path.exists(self.mountpoint):
            sh("zfs", "destroy", "-R", self.parent)
            sh("rmdir", self.mountpoint)
        subprocess.run(["rm", "-rf", self.root], check=True)
