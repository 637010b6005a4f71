# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records inside a published tree: its manifest, and the history it grew from."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence

from ..errors import ManifestError, RepositoryError
from ..manifest import codec, delta
from ..manifest.codec import Manifest
from ..manifest.entry import Entry
from ..manifest.header import Header
from ..posix.durable import discard, write_new
from ..posix.present import is_directory
from ..posix.remove import remove_tree_at

METADATA = ".dsg"
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


def _open_manifest(root: str, name: str):  # type: ignore[no-untyped-def]
    path = manifest_path(root)
    try:
        return open(path, "rb")
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
    os.makedirs(os.path.join(root, METADATA, "history"), exist_ok=True)
    _remove_strangers(root, manifest.header.snapshot)
    discard(manifest_path(root))
    write_new(manifest_path(root), codec.write(manifest), sync=False)
    changes = delta.write_delta(manifest.header, base, manifest.entries)
    write_new(history_path(root, manifest.header.snapshot), changes, sync=False)


def _remove_strangers(root: str, snapshot: int) -> None:
    manifest, history = manifest_path(root), os.path.dirname(history_path(root, 1))
    top = os.path.dirname(history)
    strangers = [os.path.join(top, name) for name in os.listdir(top)]
    strangers = [path for path in strangers if path not in (manifest, history)]
    for name in os.listdir(history):
        number = step_number(name)
        if number is None or number >= snapshot:
            strangers.append(os.path.join(history, name))
    for path in strangers:
        remove_tree_at(path)


def restore_records(root: str, live: str) -> None:
    """Give a tree that anybody may have written to the records of the published one ('': none).

    ``root`` began as a copy of ``live`` that keeps inodes and times: what has them was not touched.
    """
    if live and _is_untouched(os.path.join(live, METADATA), os.path.join(root, METADATA)):
        return
    remove_tree_at(os.path.join(root, METADATA))
    if live:
        import shutil  # costs its import only where it is used

        shutil.copytree(os.path.join(live, METADATA), os.path.join(root, METADATA), symlinks=True)
        _keep_owners(live, root)


def _keep_owners(live: str, root: str) -> None:
    """Give records that root has copied to whom the published ones belong."""
    if os.geteuid() != 0:
        return
    for directory, _unused, names in os.walk(os.path.join(live, METADATA)):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            found = os.lstat(path)
            copy = os.path.join(root, os.path.relpath(path, live))
            os.chown(copy, found.st_uid, found.st_gid, follow_symlinks=False)


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
    source = os.path.join(live, METADATA, "history")
    target = os.path.join(root, METADATA, "history")
    os.makedirs(target)
    for name in os.listdir(source):
        if step_number(name) is None:
            continue
        try:
            os.link(os.path.join(source, name), os.path.join(target, name))
        except OSError as exc:
            if exc.errno != errno.EMLINK:
                raise
            with open(os.path.join(source, name), "rb") as stream:
                write_new(os.path.join(target, name), [stream.read()], sync=False)


def read_history_header(root: str, snapshot: int) -> Header:
    """Read the header of one step of the history."""
    path = history_path(root, snapshot)
    try:
        with open(path, "rb") as stream:
            return codec.read_header(stream, path)
    except FileNotFoundError:
        raise ManifestError(f"the history has no snapshot s{snapshot}", object=path) from None


def read_history(root: str, snapshot: int) -> bytes:
    """Return one step of the history as it was written; whoever uses it checks it."""
    path = history_path(root, snapshot)
    try:
        with open(path, "rb") as stream:
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
        if header.snapshot != snapshot:
            problems.append(f"s{snapshot}: the record is of s{header.snapshot}")
        if parent != header.parent and (parent or snapshot == 1):
            problems.append(f"s{snapshot}: its parent is not s{snapshot - 1}")
        parent = header.id
    if parent != newest.id:
        problems.append(f"s{newest.snapshot}: the manifest is not the one in the history")
    return problems
