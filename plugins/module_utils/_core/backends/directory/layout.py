# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the directory backend keeps things below its base directory.

``base/T`` is the published tree of repository T; ``base/.dsg`` the work container, with
``T.lock``, ``T.stage.<txn>`` while a transaction runs, ``T.held.<txn>`` beside it while it waits for
its decision, ``T/s<N>`` for older snapshots, and ``T.doomed.s<N>`` for one that is being removed.
"""

from __future__ import annotations

import json
import os
import re

from ...errors import ArgumentError, ManifestError, MissingRight, RepositoryError
from ...posix import processes

CONTAINER = ".dsg"
MARKER = "format.json"
MARKER_CONTENT = {"format": 1, "type": "directory"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TXN = re.compile(r"(?!lock$)[0-9A-Za-z-]{1,64}")
"""The lock of a repository ``T.stage`` must not be taken for a work area of ``T``."""
_OURS = re.compile(rf".*\.(lock|stage\..*|held\..*|doomed\..*)|{re.escape(MARKER)}")
"""Names in the work container that are no repository's, whose older snapshots are there as well."""
_SNAPSHOT = re.compile(r"s([1-9][0-9]{0,9})")


class Layout:
    """Paths of one repository; both names are checked when it is made."""

    def __init__(self, base: str, name: str) -> None:
        if not os.path.isabs(base) or os.path.normpath(base) != base:
            raise ArgumentError("backend.base must be an absolute, normal path", object=base)
        if not _NAME.fullmatch(name):
            raise ArgumentError(
                "a repository name has letters, digits, '.', '_' and '-', starts with a letter "
                "or digit, and has at most 64 characters",
                object=name,
            )
        if _OURS.fullmatch(name):
            raise ArgumentError(
                "this name is the directory backend's own, for its records", object=name
            )
        self.base = base
        self.name = name

    @property
    def live(self) -> str:
        """Return the published tree."""
        return os.path.join(self.base, self.name)

    @property
    def container(self) -> str:
        """Return the work container of all repositories below the base."""
        return os.path.join(self.base, CONTAINER)

    @property
    def snapshots(self) -> str:
        """Return the directory of older snapshots."""
        return os.path.join(self.container, self.name)

    @property
    def lock(self) -> str:
        """Return the lock file, which stays for good."""
        return os.path.join(self.container, self.name + ".lock")

    def snapshot(self, number: int) -> str:
        """Return the tree of an older snapshot."""
        return os.path.join(self.snapshots, f"s{number}")

    def stage(self, txn_id: str) -> str:
        """Return the work area of a transaction."""
        return os.path.join(self.container, f"{self.name}.stage.{txn_id}")

    def mark(self, txn_id: str) -> str:
        """Return the file that holds a prepared transaction."""
        return os.path.join(self.container, f"{self.name}.held.{txn_id}")

    def doomed(self, number: int) -> str:
        """Return where a snapshot goes that is being removed."""
        return os.path.join(self.container, f"{self.name}.doomed.s{number}")

    def doomed_numbers(self) -> list[int]:
        """Return the numbers of the snapshots whose removal is not done yet."""
        matches = [_SNAPSHOT.fullmatch(name) for name in self._behind(".doomed.")]
        return sorted(int(match[1]) for match in matches if match)

    def staged(self) -> list[str]:
        """Return the ids of the transactions that left a work area."""
        return sorted(name for name in self._behind(".stage.") if _TXN.fullmatch(name))

    def marked(self) -> set[str]:
        """Return the ids of the transactions that have a mark."""
        return {name for name in self._behind(".held.") if _TXN.fullmatch(name)}

    def unwritten_marks(self) -> list[str]:
        """Return the files of marks that somebody died over while writing them."""
        found = (name.rpartition(".new") for name in self._behind(".held."))
        return [
            self.mark(txn_id) + ".new"
            for txn_id, _new, rest in found
            if not rest and _TXN.fullmatch(txn_id)
        ]

    def _behind(self, infix: str) -> list[str]:
        prefix = self.name + infix
        return [name[len(prefix) :] for name in _names(self.container) if name.startswith(prefix)]

    def kept(self) -> list[int]:
        """Return the numbers of the older snapshots that are kept, in order."""
        matches = [_SNAPSHOT.fullmatch(name) for name in self.shelved()]
        return sorted(int(match[1]) for match in matches if match)

    def shelved(self) -> list[str]:
        """Return every name among the older snapshots, ours or not."""
        return sorted(_names(self.snapshots))

    def require_provisioned(self) -> None:
        """Refuse a base directory that the role ``repository`` has not prepared."""
        marker = os.path.join(self.container, MARKER)
        try:
            with open(marker, "rb") as stream:
                content = stream.read(4096)
        except (FileNotFoundError, NotADirectoryError):
            raise RepositoryError(
                "this base directory is not provisioned for the directory backend",
                object=self.base,
                next_step="If it was provisioned, its file system is not mounted: mount it. "
                "Otherwise run the playbook dsg.storage.provision.",
            ) from None
        except PermissionError:
            raise _closed(self.container) from None
        _check_marker(marker, content)


def who_may(directory: str) -> str:
    """Return what to do where this user may not publish."""
    me, owner = (processes.name_of(uid) for uid in (os.geteuid(), os.stat(directory).st_uid))
    return f"Run as {owner}, or run the role dsg.storage.repository with `owner: {me}`."


def _check_marker(marker: str, content: bytes) -> None:
    try:
        found = json.loads(content)
    except ValueError:
        raise ManifestError("the work container's marker is damaged", object=marker) from None
    if found != MARKER_CONTENT:
        raise ManifestError(
            f"the work container has format {content.decode('utf-8', 'replace')!r}; "
            f"this version knows {MARKER_CONTENT}",
            object=marker,
            next_step="Use the version of dsg.storage that made it.",
        )


def _closed(directory: str) -> MissingRight:
    me = processes.name_of(os.geteuid())
    said = f"user {me} may not look into the work area"
    return MissingRight(said, object=directory, next_step=who_may(directory))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
    except PermissionError:
        raise _closed(directory) from None
