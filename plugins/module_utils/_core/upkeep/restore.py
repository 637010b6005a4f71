# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An older snapshot, or some paths of it, published again as a new one: history stays as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..backends import tree
from ..backends.base import LocalRepository, Upload
from ..backends.holding import refuse_held
from ..backends.origin import running_user
from ..errors import (
    ArgumentError,
    DriftError,
    SourceChanged,
    capped,
    telling,
)
from ..manifest.entry import DIRECTORY, FILE, Entry
from ..manifest.hashing import Identity, hash_paths, identity_of
from ..manifest.header import check_line, check_message
from ..plan.states import Entries, by_path
from ..plan.structure import ancestors, collisions
from ..posix.beneath import Beneath
from .publishing import Change, publish
from .selection import Selection
from .settled import settled

MAX_USER = 255
_PUBLISHED_UNCHANGED = "The published tree is unchanged."

Difference = tuple["Entry | None", "Entry | None"]
"""An entry of the published tree and what takes its place; None where there is none."""


class RestoreRequest(NamedTuple):
    """Publish ``paths`` of ``snapshot`` again (none: the whole of it). ``lock_timeout`` is in seconds.

    With ``check`` nothing is changed.
    """

    snapshot: int
    paths: Sequence[str] = ()
    message: str = ""
    user: str = ""
    lock_timeout: float = 60.0
    check: bool = False


@dataclass
class RestoreResult:
    """``snapshot`` is the repository's newest one afterwards; ``base`` the newest one before."""

    base: int = 0
    snapshot: int = 0
    manifest_digest: str = ""
    txn_id: str = ""
    changes: list[Difference] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    pending_cleanup: list[str] = field(default_factory=list)


def restore(repository: LocalRepository, request: RestoreRequest) -> RestoreResult:
    """Publish again what a snapshot held; nothing differs: no snapshot is made.

    Raises :class:`DriftError` where a file of the snapshot is damaged, or somebody wrote to the
    published tree; whatever is raised before the commit, nothing is changed.
    """
    result = RestoreResult()
    with telling("restoring", _PUBLISHED_UNCHANGED):
        check_message(request.message)
        check_line(request.user, "the user", MAX_USER)
        selection = Selection(request.paths)
        with settled(repository, request.lock_timeout, check=request.check) as result.recovered:
            _restore(repository, request, selection, result)
    return result


def _restore(
    repository: LocalRepository,
    request: RestoreRequest,
    selection: Selection,
    result: RestoreResult,
) -> None:
    base = repository.manifest()
    result.base = result.snapshot = base.header.snapshot
    result.manifest_digest = base.header.digest
    old = repository.snapshot_manifest(request.snapshot)
    selection.require_all((entry.path for entry in old.entries), f"snapshot s{request.snapshot}")
    before = by_path(base.entries)
    after = merged(before, by_path(old.entries), selection)
    result.changes = differences(before, after)
    if not result.changes:
        repository.require_unchanged(base)  # else what is there is not what was asked for
        return
    refuse_held(repository.held(), repository.location)
    source = repository.snapshot_tree(request.snapshot)
    uploads = _uploads(source, [new for _old, new in result.changes if new is not None])
    if request.check:
        repository.require_unchanged(base)
        _require_sound(source, uploads)
        return
    change = Change(
        base, source, uploads, before.keys() - after.keys(), list(after.values()), _land
    )
    _publish(repository, request, change, result)


def _publish(
    repository: LocalRepository, request: RestoreRequest, change: Change, result: RestoreResult
) -> None:
    whole = "" if not request.paths else f"{len(change.uploads) + len(change.deletes)} paths of "
    message = request.message or f"restore of {whole}s{request.snapshot}"
    manifest, result.pending_cleanup = publish(
        repository, change, message=message, user=request.user or running_user()
    )
    result.snapshot = manifest.header.snapshot
    result.manifest_digest = manifest.header.digest
    result.txn_id = manifest.header.txn


def merged(present: Entries, old: Entries, selection: Selection) -> dict[str, Entry]:
    """Return the tree in which what is selected is as it was, and all else as it is.

    An entry that publishes the same thing as before stays, with its time and user. Raises
    :class:`ArgumentError` where both parts cannot be in one tree.
    """
    after = {path: entry for path, entry in present.items() if not selection.covers(path)}
    for path, entry in old.items():
        if selection.covers(path):
            known = present.get(path)
            after[path] = known if known is not None and known.same_content(entry) else entry
    for path in ancestors(after) & after.keys():  # a directory that is not empty any more
        if after[path].kind == DIRECTORY:
            del after[path]
    clashes = collisions(after)
    if clashes:
        raise ArgumentError(
            "what is to be put back cannot be in one tree with what is there",
            details=capped([f"{path} and {other}" for path, other in sorted(clashes.items())]),
            next_step="Put back the paths that are in the way as well, or the whole snapshot.",
        )
    return after


def differences(before: Entries, after: Entries) -> list[Difference]:
    """Return every entry that is another one afterwards, sorted by path."""
    paths = sorted(before.keys() | after.keys())
    pairs = ((before.get(path), after.get(path)) for path in paths)
    return [pair for pair in pairs if pair[0] is not pair[1]]


def _uploads(source: str, entries: Sequence[Entry]) -> list[Upload]:
    with Beneath(source) as reading:
        return [Upload(entry, _identity(reading, entry)) for entry in entries]


def _identity(reading: Beneath, entry: Entry) -> tuple[int, int, int]:
    if entry.kind == DIRECTORY:
        return (0, 0, 0)
    found = reading.lstat(entry.path)
    if found is None:
        raise _damaged([f"{entry.path}: it is missing"], reading.root)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _require_sound(source: str, uploads: Sequence[Upload]) -> None:
    """Raise unless every file holds what the snapshot's manifest says."""
    entries = [upload.entry for upload in uploads]
    with Beneath(source) as reading:
        problems = [
            f"{entry.path}: {found}"
            for entry in entries
            for found in [tree.difference_at(reading, entry)]
            if found
        ]
        if problems:
            raise _damaged(problems, source)
        files = [entry for entry in entries if entry.kind == FILE]
        seen = [(entry.path, _stat(reading, entry)) for entry in files]
    digests, unreadable = hash_paths(source, seen)
    wrong = [
        f"{entry.path}: its content is not what the manifest says"
        for entry, digest in zip(files, digests)
        if digest.hex() != entry.sha256
    ]
    if unreadable or wrong:
        raise _damaged([*unreadable, *wrong], source)


def _stat(reading: Beneath, entry: Entry) -> Identity:
    found = reading.lstat(entry.path)
    if found is None:
        raise _damaged([f"{entry.path}: it is missing"], reading.root)
    return identity_of(found)


def _damaged(problems: Sequence[str], root: str) -> DriftError:
    noun = "path is" if len(problems) == 1 else "paths are"
    return DriftError(
        f"{len(problems)} {noun} not what the snapshot's manifest says",
        object=root,
        details=capped(problems),
        next_step="Choose another snapshot, or only paths that are sound.",
    )


def _land(source: str, target: str, uploads: Sequence[Upload]) -> list[Entry]:
    """Bring files back by linking them where that is possible, else by copying; hashed either way."""
    if os.stat(source).st_dev == os.stat(target).st_dev:
        _require_sound(source, uploads)
        with Beneath(source) as reading, Beneath(target) as writing:
            for upload in uploads:
                _link(reading, writing, upload.entry)
        return [upload.entry for upload in uploads]
    try:
        return tree.upload(source, target, uploads)
    except SourceChanged as exc:
        raise _damaged([f"{exc.object}: {exc.message}"], source) from exc


def _link(reading: Beneath, writing: Beneath, entry: Entry) -> None:
    if entry.kind == DIRECTORY:
        writing.directory(entry.path, make=True)
        return
    source_fd, name = reading.at(entry.path)
    target_fd, _unused = writing.at(entry.path, make_parents=True)
    tree.link_entry(source_fd, target_fd, name, entry)
