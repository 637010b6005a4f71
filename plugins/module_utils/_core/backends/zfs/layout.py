# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of datasets and places of the ZFS backend.

``P/T`` is the published repository T below the publish parent P; ``P/.dsg`` the work container
(never mounted), with ``T.init.<txn>``, ``T.stage.<txn>`` and ``T.old.<txn>``. Names alone decide
what mounts at boot: only ``P/T`` inherits a mountpoint.
"""

from __future__ import annotations

import os
import re

from ...errors import ArgumentError
from ...zfs.names import check_dataset

RUN = "/run/dsg"
"""Locks and private mounts: root's own, and gone with a reboot."""

INIT, STAGE, OLD = "init", "stage", "old"
TXN, MANIFEST = "dsg:txn", "dsg:manifest"
OPEN = "dsg:open"
"""Set on a work dataset that is to outlive the process that made it; see :mod:`.lease`."""
HELD = "dsg:held"
"""Set beside it on one that is prepared, and waits for a decision that was or will be made elsewhere."""
RECORD_PLAIN, RECORD_HEX = "dsg:commit.n.", "dsg:commit.h."
NOTHING_PLAIN, NOTHING_HEX = "dsg:nothing.n.", "dsg:nothing.h."
"""Which open transaction was ended last as it had nothing to publish, for its repetition."""
PARENT_MARK, PARENT_FORMAT = "dsg:parent", "1"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLAIN = re.compile(r"[a-z0-9.-]+")
_WORK = re.compile(r"(?P<name>.+)\.(?P<kind>init|stage|old)\.(?P<txn>[0-9A-Za-z-]{1,64})")
_SNAPSHOT = re.compile(r"s([1-9][0-9]{0,9})")


class Layout:
    """Names of one repository; both parts are checked when it is made."""

    def __init__(self, parent: str, name: str) -> None:
        if not is_name(name):
            raise ArgumentError(
                "a repository name has letters, digits, '.', '_' and '-', starts with a letter "
                "or digit, and has at most 64 characters",
                object=name,
            )
        self.parent = check_dataset(parent)
        self.name = name
        self.live = f"{parent}/{name}"
        self.container = f"{parent}/.dsg"

    def work(self, kind: str, txn_id: str) -> str:
        """Return the dataset of a transaction: ``init``, ``stage`` or ``old``."""
        return f"{self.container}/{self.name}.{kind}.{txn_id}"

    def parse_work(self, dataset: str) -> tuple[str, str] | None:
        """Return (kind, transaction id) of a work dataset of this repository, else None."""
        parent, _unused, last = dataset.rpartition("/")
        match = _WORK.fullmatch(last)
        if parent != self.container or match is None or match["name"] != self.name:
            return None
        return match["kind"], match["txn"]

    def mount(self, txn_id: str) -> str:
        """Return the private directory where a transaction's dataset is mounted.

        The directory above it decides who may enter.
        """
        return os.path.join(RUN, "mnt", f"{self._mount_prefix}{txn_id}", "tree")

    def mounts(self) -> list[str]:
        """Return the private mount directories of this repository that exist."""
        try:
            names = sorted(os.listdir(os.path.join(RUN, "mnt")))
        except FileNotFoundError:
            return []
        prefix = self._mount_prefix
        return [os.path.join(RUN, "mnt", name, "tree") for name in names if name.startswith(prefix)]

    @property
    def _mount_prefix(self) -> str:
        return f"{self.live.replace('/', '%')}%"

    @property
    def parent_lock(self) -> str:
        """Return the lock file of what all repositories of one parent share."""
        return os.path.join(RUN, f"{self.parent.replace('/', '%')}%.dsg.lock")

    @property
    def mount_lock(self) -> str:
        """Return the lock file of the mounts of one repository, held for one operation.

        No dataset has an empty component: this is the lock of no repository.
        """
        return os.path.join(RUN, f"{self.live.replace('/', '%')}%%mounts.lock")

    @property
    def lock(self) -> str:
        """Return the lock file."""
        return os.path.join(RUN, f"{self.live.replace('/', '%')}.lock")

    @property
    def record(self) -> str:
        """Return the property of the container that commits."""
        return self._property(RECORD_PLAIN, RECORD_HEX)

    @property
    def nothing(self) -> str:
        """Return the property of the container that names a transaction without changes."""
        return self._property(NOTHING_PLAIN, NOTHING_HEX)

    def _property(self, plain: str, encoded: str) -> str:
        """Return a property's name; only lower case is allowed there."""
        if _PLAIN.fullmatch(self.name):
            return f"{plain}{self.name}"
        return f"{encoded}{self.name.encode().hex()}"


def is_name(name: str) -> bool:
    """Tell whether a repository may have this name."""
    return _NAME.fullmatch(name) is not None


def name_of_work(last: str) -> str:
    """Return the repository of a dataset in the container by its last component, '' for others."""
    match = _WORK.fullmatch(last)
    return match["name"] if match else ""


def snapshot_number(name: str) -> int | None:
    """Return N of a snapshot named ``sN``, None for others."""
    match = _SNAPSHOT.fullmatch(name)
    return int(match[1]) if match else None
