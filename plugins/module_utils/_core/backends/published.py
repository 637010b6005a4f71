# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records inside a published tree: its manifest, and the history it grew from."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import ManifestError, RepositoryError
from ..manifest import codec, delta
from ..manifest.codec import Manifest
from ..manifest.entry import Entry
from ..manifest.header import Header
from ..posix.beneath import Beneath
from ..posix.durable import write_new
from ..posix.present import is_directory
from ..posix.remove import remove_tree

METADATA = ".dsg"
_HISTORY = f"{METADATA}/history"
_PIECE = 1 << 20
_STEP = re.compile(r"s([1-9][0-9]{0,9})\.jsonl", re.ASCII)


def manifest_path(root: str) -> str:
    """Return where a published tree keeps its manifest."""
    return os.path.join(root, METADATA, "manifest.jsonl")


def history_path(root: str, snapshot: int) -> str:
    """Return where a published tree keeps what a snapshot changed."""
    return os.path.join(root, METADATA, "history", f"s{snapshot}.jsonl")


def step_number(name: str) -> int | None:
    """Return which snapshot's changes a file of the history has by its name; None for any other file."""
    number = _STEP.fullmatch(name)
    return None if number is None else int(number[1])


def not_kept(number: int, kept: Sequence[int], location: str) -> RepositoryError:
    """Return the error that a snapshot is not there (any more)."""
    there = ", ".join(f"s{one}" for one in kept) or "none"
    return RepositoryError(
        f"snapshot s{number} is not kept; kept are: {there}",
        object=location,
        next_step="Choose one of those.",
    )


def records(snapshot: int) -> tuple[str, str]:
    """Return the paths, relative to a tree's root, that :func:`write_records` writes."""
    return manifest_path(""), history_path("", snapshot)


def read_header(root: str, name: str) -> Header:
    """Read the header of a tree's manifest; a missing or damaged one is an error."""
    with _open_manifest(root, name) as stream:
        return codec.read_header(stream, manifest_path(root))


def read_manifest(root: str, name: str) -> Manifest:
    """Read and check a tree's whole manifest; a missing or damaged one is an error."""
    with _open_manifest(root, name) as stream:
        manifest = codec.read(stream, manifest_path(root))
    if manifest.header.repository != name:
        raise ManifestError(
            f"the manifest is of repository {manifest.header.repository!r}",
            object=manifest_path(root),
        )
    return manifest


def _open(root: str, path: str) -> BinaryIO:
    """Open a record for reading: a regular file, and through no link below the tree's root.

    Whoever publishes owns the tree, and others read it, root among them.
    """
    with _named(path), Beneath(root) as tree:
        stream = tree.open_file(os.path.relpath(path, root))
    if stream is None:
        raise ManifestError("this is no regular file", object=path)
    return stream


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the whole path in errors of calls that had a descriptor."""
    try:
        yield
    except OSError as exc:
        exc.filename = path
        raise


def _open_manifest(root: str, name: str) -> BinaryIO:
    path = manifest_path(root)
    try:
        return _open(root, path)
    except FileNotFoundError:
        if not is_directory(os.path.join(root, METADATA)):
            raise RepositoryError(
                "there is a directory, but it is not a repository (it has no .dsg)",
                object=root,
                next_step=f"Choose another repository name than {name!r}, or move it away.",
            ) from None
        raise ManifestError("the repository's manifest is missing", object=path) from None


def write_records(root: str, base: Sequence[Entry], manifest: Manifest) -> None:
    """Write manifest and history into a staged tree that may hold those of its base.

    What others have put beside them is left out: it would be carried from snapshot to snapshot.
    """
    number = manifest.header.snapshot
    changes = delta.write_delta(manifest.header, base, manifest.entries)
    with Beneath(root) as tree:
        for directory in (METADATA, _HISTORY):
            _have_directory(tree, directory)
        top, history = tree.directory(METADATA), tree.directory(_HISTORY)
        for name in set(os.listdir(top)) - {os.path.basename(_HISTORY)}:  # the manifest as well
            remove_tree(name, dir_fd=top)
        for name in os.listdir(history):
            if (step_number(name) or number) >= number:
                remove_tree(name, dir_fd=history)
        for path, fd, content in (
            (manifest_path(root), top, codec.write(manifest)),
            (history_path(root, number), history, changes),
        ):
            with _named(path):
                write_new(os.path.basename(path), content, sync=False, dir_fd=fd)


def _have_directory(tree: Beneath, path: str) -> None:
    """Make a directory, in place of whatever else has its name: it may be a link to anywhere."""
    found = tree.lstat(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        return
    parent, name = tree.at(path)
    remove_tree(name, dir_fd=parent)
    os.mkdir(name, dir_fd=parent)


def restore_records(root: str, live: str) -> None:
    """Give a tree that anybody may have written to the records of the published one ('': none).

    ``root`` began as a copy of ``live`` that keeps inodes and times: what has them was not touched.
    """
    if live and _is_untouched(os.path.join(live, METADATA), os.path.join(root, METADATA)):
        return
    with Beneath(root) as tree:
        remove_tree(METADATA, dir_fd=tree.fd)
        if live:
            _copy_records(live, tree)


def _copy_records(live: str, tree: Beneath) -> None:
    """Copy manifest and history; where root does it, they belong to whom the published ones do."""
    with Beneath(live) as source:
        for directory in (METADATA, _HISTORY):
            _have_directory(tree, directory)
            _give(tree, directory, os.fstat(source.directory(directory)))
        steps = os.listdir(source.directory(_HISTORY))
    manifest, history = records(1)
    for path in (manifest, *(os.path.join(os.path.dirname(history), name) for name in steps)):
        if path != manifest and step_number(os.path.basename(path)) is None:
            continue
        with _open(live, os.path.join(live, path)) as stream:
            found = os.fstat(stream.fileno())
            fd, name = tree.at(path)
            pieces = iter(lambda stream=stream: stream.read(_PIECE), b"")  # type: ignore[misc]
            write_new(name, pieces, mode=stat.S_IMODE(found.st_mode), sync=False, dir_fd=fd)
        _give(tree, path, found)


def _give(tree: Beneath, path: str, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        fd, name = tree.at(path)
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=fd, follow_symlinks=False)


def _is_untouched(original: str, copy: str) -> bool:
    try:
        if _identity(original) != _identity(copy):
            return False
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(os.lstat(original).st_mode):
        return True
    names = sorted(os.listdir(original))
    return names == sorted(os.listdir(copy)) and all(
        _is_untouched(os.path.join(original, name), os.path.join(copy, name)) for name in names
    )


def _identity(path: str) -> tuple[int, ...]:
    found = os.lstat(path)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_mode, found.st_uid, found.st_gid, found.st_ino, found.st_size, *times)


def link_history(live: str, root: str) -> None:
    """Give a staged tree the older history of the live one, as hard links."""
    with Beneath(live) as source, Beneath(root) as target:
        for directory in (METADATA, _HISTORY):
            _have_directory(target, directory)
        old, new = source.directory(_HISTORY), target.directory(_HISTORY)
        for name in os.listdir(old):
            number = step_number(name)
            if number is None:
                continue
            try:
                os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
            except OSError as exc:
                if exc.errno != errno.EMLINK:
                    raise
                write_new(name, [read_history(live, number)], sync=False, dir_fd=new)


def read_history_header(root: str, snapshot: int) -> Header:
    """Read the header of one step of the history."""
    path = history_path(root, snapshot)
    try:
        with _open(root, path) as stream:
            return codec.read_header(stream, path)
    except FileNotFoundError:
        raise ManifestError(f"the history has no snapshot s{snapshot}", object=path) from None


def read_history(root: str, snapshot: int) -> bytes:
    """Return one step of the history as it was written; whoever uses it checks it."""
    path = history_path(root, snapshot)
    try:
        with _open(root, path) as stream:
            return stream.read()
    except FileNotFoundError:
        raise ManifestError(f"the history has no snapshot s{snapshot}", object=path) from None


def read_snapshot(live: str, root: str, name: str, number: int) -> Manifest:
    """Read the manifest of the snapshot at ``root``, proved by the history of the one at ``live``.

    Every header from the newest one back to it has to name the one before.
    """
    newest = read_header(live, name)
    parent = newest.parent
    wanted = newest.id if number == newest.snapshot else ""
    for earlier in range(newest.snapshot - 1, number - 1, -1):
        header = read_history_header(live, earlier)
        if header.id != parent or header.snapshot != earlier:
            raise ManifestError(
                f"the history is broken between s{earlier} and s{earlier + 1}",
                object=history_path(live, earlier),
            )
        wanted, parent = header.id, header.parent
    manifest = read_manifest(root, name)
    if manifest.header.id != wanted:
        raise ManifestError(
            f"it is not the manifest that the history has of s{number}",
            object=manifest_path(root),
            next_step="Choose another snapshot; `dsg.storage.verify` names what is damaged.",
        )
    return manifest


def chain_problems(root: str, newest: Header) -> list[str]:
    """Check that every manifest's ``parent`` is the one before it; one line per problem."""
    problems = []
    parent = ""
    for snapshot in range(1, newest.snapshot + 1):
        try:
            header = read_history_header(root, snapshot)
        except ManifestError as exc:
            problems.append(f"s{snapshot}: {exc.message}")
            parent = ""
            continue
        except OSError as exc:  # a link in its place, say
            problems.append(f"s{snapshot}: {exc.strerror}")
            parent = ""
            continue
        if header.snapshot != snapshot:
            problems.append(f"s{snapshot}: the record is of s{header.snapshot}")
        if parent != header.parent and (parent or snapshot == 1):
            problems.append(f"s{snapshot}: its parent is not s{snapshot - 1}")
        parent = header.id
    if parent != newest.id:
        problems.append(f"s{newest.snapshot}: the manifest is not the one in the history")
    return problems
