# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The working copy: a tree with its metadata in ``.dsg/`` at the root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from ..errors import ManifestError, WorkingCopyError
from ..manifest import codec
from ..manifest.codec import Manifest
from ..manifest.header import Header
from ..posix.lock import locked
from ..posix.present import is_directory, is_present

METADATA = ".dsg"


class WorkingCopy:
    """Paths and records of the working copy at ``root`` (absolute).

    ``.dsg/repositories/<key>/manifest.jsonl`` is C, the manifest of the last sync with a repository;
    ``index`` the stat index; ``journal`` the transaction that is being applied; ``staging/<txn>``
    its files; ``backup/<txn>`` local versions that lost a conflict; ``fleet/<id>`` the transactions
    over many hosts that are not ended; ``names/<number>-<txn>.json`` what a sync renamed here;
    ``lock``, ``fleet.lock`` and ``scan.lock`` stay for good.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.metadata = os.path.join(root, METADATA)
        self.index = os.path.join(self.metadata, "index")
        self.journal = os.path.join(self.metadata, "journal")
        self.staging = os.path.join(self.metadata, "staging")
        self.backups = os.path.join(self.metadata, "backup")
        self.repositories = os.path.join(self.metadata, "repositories")
        self.fleets = os.path.join(self.metadata, "fleet")
        self.names = os.path.join(self.metadata, "names")

    def exists(self) -> bool:
        """Tell whether there is a directory; refuse anything else at that path."""
        if not is_present(self.root):
            return False
        if not is_directory(self.root):
            raise WorkingCopyError(
                "src is not a directory",
                object=self.root,
                next_step="Correct src, or move it away.",
            )
        return True

    def is_empty(self) -> bool:
        """Tell whether the tree has no content (metadata aside)."""
        return not self.exists() or not set(os.listdir(self.root)) - {METADATA}

    def has_metadata(self) -> bool:
        """Tell whether :meth:`create` was carried out to its end, which a crash may prevent."""
        return is_directory(self.staging) and is_directory(self.repositories)

    def create(self) -> None:
        """Make what is missing of the root and its metadata; the root's parent must exist."""
        for directory in (self.root, self.metadata, self.staging, self.repositories):
            try:
                os.mkdir(directory, 0o777 if directory == self.root else 0o700)
            except FileExistsError:
                pass
            except FileNotFoundError:
                raise WorkingCopyError(
                    "the directory that should hold the working copy does not exist",
                    object=os.path.dirname(self.root),
                    next_step="Create it, or correct src.",
                ) from None

    @contextmanager
    def lock(self, timeout: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the working copy; ``timeout`` in seconds. Shared: its tree is only read."""
        path = os.path.join(self.metadata, "lock")
        with locked(path, timeout=timeout, shared=shared, what=self.root):
            yield

    def record(self, key: str) -> str:
        """Return the directory of what is known of one repository."""
        return os.path.join(self.repositories, key)

    def knows(self, key: str) -> bool:
        """Tell whether this working copy was synced with the repository before."""
        return is_present(self.record(key))

    def cache_header(self, key: str) -> Header | None:
        """Return C's header, None before the first sync; a missing or damaged one is an error."""
        if not self.knows(key):
            return None
        path = os.path.join(self.record(key), "manifest.jsonl")
        try:
            with open(path, "rb") as stream:
                return codec.read_header(stream, path)
        except FileNotFoundError:
            raise _cache_missing(path) from None

    def cache(self, key: str) -> Manifest | None:
        """Return C, None before the first sync; a missing or damaged one is an error."""
        if not self.knows(key):
            return None
        path = os.path.join(self.record(key), "manifest.jsonl")
        try:
            with open(path, "rb") as stream:
                return codec.read(stream, path)
        except FileNotFoundError:
            raise _cache_missing(path) from None


def repository_key(name: str, location: str) -> str:
    """Return the name under which a working copy records a repository."""
    return f"{name}-{sha256(location.encode()).hexdigest()[:12]}"


def _cache_missing(path: str) -> ManifestError:
    return ManifestError(
        "the manifest of the last sync is missing",
        object=path,
        next_step=(
            "Restore it from a backup, or remove its directory to start over as if never synced: "
            "paths that differ are then reported as conflicts, and nothing is deleted."
        ),
    )
