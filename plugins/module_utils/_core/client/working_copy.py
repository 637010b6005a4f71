# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The working copy: a tree with its metadata in ``.dsg/`` at the root."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO

from ..errors import ManifestError, WorkingCopyError
from ..manifest import codec
from ..manifest.codec import Manifest
from ..manifest.header import Header
from ..posix.beneath import Beneath
from ..posix.lock import locked
from ..posix.present import is_directory, is_present
from ..posix.remove import remove_tree

METADATA = ".dsg"
MANIFEST = "manifest.jsonl"

_DIRECTORIES = ("", "staging", "repositories", "backup", "fleet", "names")
_FILES = ("lock", "fleet.lock", "scan.lock", "index", "journal")
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)


class WorkingCopy:
    """Paths and records of the working copy at ``root`` (absolute).

    ``.dsg/repositories/<key>/manifest.jsonl`` is C, the manifest of the last sync with a repository;
    ``index`` the stat index; ``journal`` the transaction that is being applied; ``staging/<txn>``
    its files; ``backup/<txn>`` local versions that lost a conflict; ``fleet/<id>`` the transactions
    over many hosts that are not ended; ``names/<number>-<txn>.json`` what a sync renamed here;
    ``lock``, ``fleet.lock`` and ``scan.lock`` stay for good.

    Who gives us content may have put ``.dsg`` into it: what leads out of it is refused before anything
    is read, and what is removed or moved is reached through no link.
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
        if root:
            self._refuse_links()

    def _refuse_links(self) -> None:
        """Raise :class:`WorkingCopyError` for metadata that is none of ours: a link, a fifo."""
        kinds = [(name, stat.S_ISDIR) for name in _DIRECTORIES]
        kinds += [(name, stat.S_ISREG) for name in _FILES]
        for name, is_kind in kinds:
            path = os.path.join(self.metadata, name) if name else self.metadata
            try:
                mode = os.lstat(path).st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not is_kind(mode):
                raise not_ours(path)

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

    def open(self, path: str) -> BinaryIO:
        """Open a record below ``.dsg`` for reading: a regular file, and through no link."""
        with Beneath(self.root) as tree, reaching(path):
            stream = tree.open_file(_inside(self, path))
        if stream is None:
            raise not_ours(path)
        return stream

    def remove(self, path: str) -> None:
        """Remove what is below ``.dsg`` with all it holds, never anything that a link leads to."""
        with Beneath(self.root) as tree, reaching(path):
            try:
                directory, name = tree.at(_inside(self, path))
            except FileNotFoundError:
                return
            remove_tree(name, dir_fd=directory)

    def move(self, path: str, target: str) -> None:
        """Give what is below ``.dsg`` another place there, if it is there; only its owner can enter that."""
        with Beneath(self.root, mode=0o700) as tree, reaching(path):
            if tree.lstat(_inside(self, path)) is not None:
                tree.at(_inside(self, target), make_parents=True)
                _rename(tree, _inside(self, path), _inside(self, target))

    def install(self, staged: str, key: str) -> str:
        """Make the manifest in the directory ``staged`` C of a repository; may be repeated.

        Returns the directory that has a new name in it, '' where it was done before.
        """
        target = self.record(key)
        with Beneath(self.root) as tree, reaching(target):
            if tree.lstat(_inside(self, os.path.join(staged, MANIFEST))) is None:
                return ""
            if tree.lstat(_inside(self, target)) is None:
                _rename(tree, _inside(self, staged), _inside(self, target))
                return self.repositories
            for_file = (os.path.join(one, MANIFEST) for one in (staged, target))
            _rename(tree, *(_inside(self, path) for path in for_file))
            return target

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
        path = os.path.join(self.record(key), MANIFEST)
        try:
            with self.open(path) as stream:
                return codec.read_header(stream, path)
        except FileNotFoundError:
            raise _cache_missing(path) from None

    def cache(self, key: str) -> Manifest | None:
        """Return C, None before the first sync; a missing or damaged one is an error."""
        if not self.knows(key):
            return None
        path = os.path.join(self.record(key), MANIFEST)
        try:
            with self.open(path) as stream:
                return codec.read(stream, path)
        except FileNotFoundError:
            raise _cache_missing(path) from None


def repository_key(name: str, location: str) -> str:
    """Return the name under which a working copy records a repository."""
    return f"{name}-{sha256(location.encode()).hexdigest()[:12]}"


def not_ours(path: str) -> WorkingCopyError:
    """Return that something below ``.dsg`` was not made by a sync."""
    return WorkingCopyError(
        "this is none of our records: it is a link, lies behind one, or is a special file",
        object=path,
        next_step=(
            "Find out who put it there. Where .dsg came with somebody else's files, remove all of it: "
            "the next sync compares anew, and deletes nothing."
        ),
    )


@contextmanager
def reaching(path: str) -> Iterator[None]:
    """Refuse what a link keeps from being reached; name the whole path in all other errors."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_DIRECTORY:
            raise not_ours(path) from exc
        exc.filename, exc.filename2 = path, None
        raise


def _inside(working_copy: WorkingCopy, path: str) -> str:
    """Return a path below ``.dsg``, relative to the root; '..' stays in it, and is refused later."""
    return METADATA + path[len(working_copy.metadata) :]


def _rename(tree: Beneath, source: str, target: str) -> None:
    source_fd, source_name = tree.at(source)
    target_fd, target_name = tree.at(target)
    os.rename(source_name, target_name, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def _cache_missing(path: str) -> ManifestError:
    return ManifestError(
        "the manifest of the last sync is missing",
        object=path,
        next_step=(
            "Restore it from a backup, or remove its directory to start over as if never synced: "
            "paths that differ are then reported as conflicts, and nothing is deleted."
        ),
    )
