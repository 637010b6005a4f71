# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put back the names that a sync made portable, in the working copy alone, as one transaction."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from ..backends.origin import new_txn_id
from ..client import names as records
from ..client.journal import HERE, INSTALL, REMOVE, RENAME, Journal, Operation, Seen
from ..client.names import Record
from ..client.transaction import ClientTransaction, clean_staging, pending
from ..client.working_copy import WorkingCopy
from ..errors import PathError, Unfinished, WorkingCopyError, capped, from_oserror
from ..manifest.entry import DIRECTORY, FILE, LINK
from ..manifest.paths import show
from ..manifest.portable import Names, Rename, Retarget, unchanged
from ..posix.beneath import Beneath
from .mounts import require_renamable
from .request import SyncRequest, SyncResult

UNDO_NAMES = "undo_names"
"""What the operation is called."""
_KINDS = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIRECTORY}


def undo_names(request: SyncRequest) -> SyncResult:
    """Undo the newest renaming that a sync did; its ``names`` tell which (in check mode: would be).

    A name is put back where it still belongs to a file, link or directory, as the sync left it. Whether
    that is the same one nobody can tell: an editor that saves makes a file anew, and inode numbers are
    used again. A link is put back where its text is the sync's. Nothing is published: the next sync sees
    the old names. Raises :class:`PathError`, with nothing changed, where an old name is taken.
    """
    request.validate()
    try:
        working_copy = WorkingCopy(request.src)
        if not working_copy.has_metadata():
            raise WorkingCopyError(
                "this is no working copy", object=request.src, next_step="Correct src."
            )
        result = SyncResult(UNDO_NAMES, {})
        if request.check:
            record, result.names = _look(working_copy)
            result.changed = record is not None
            return result
        with working_copy.lock(request.lock_timeout):
            _undo(working_copy, request, result)
        return result
    except OSError as exc:
        raise from_oserror(exc, "putting names back") from exc


def _undo(working_copy: WorkingCopy, request: SyncRequest, result: SyncResult) -> None:
    record, result.names = _look(working_copy)
    if record is None:
        return
    clean_staging(working_copy)
    client = ClientTransaction(working_copy, new_txn_id())
    try:
        client.begin()
        journal = Journal(
            txn_id=client.txn_id,
            decision=HERE,
            repository=request.repository,
            backend=dict(request.backend),
            key="",
            snapshot=0,
            operations=_operations(working_copy, client, record, result.names),
        )
        client.prepare(journal, None)
    except BaseException:
        client.rollback()
        raise
    put_off = _commit(client, journal, result)
    if put_off:
        error = PathError(
            "names could not be put back, as something changed meanwhile",
            object=working_copy.root,
            details=capped([show(path) for path in put_off]),
            unchanged="The other names are put back, and nothing was published.",
        )
        error.changed = True
        raise error
    result.changed = True


def _commit(client: ClientTransaction, journal: Journal, result: SyncResult) -> list[str]:
    try:
        put_off, _unused = client.commit(journal)
    except OSError as exc:
        cause = from_oserror(exc, "renaming")
        raise Unfinished(
            f"names could not all be put back: {cause.message}",
            object=cause.object or client.working_copy.root,
        ) from exc
    try:
        client.discard()
    except OSError as exc:
        result.pending_cleanup.append(f"{client.root} is to be removed: {exc.strerror}")
    return put_off


def _look(working_copy: WorkingCopy) -> tuple[Record | None, Names]:
    """Return the newest record, and what of it can be undone."""
    if pending(working_copy) is not None:
        raise Unfinished(
            "a transaction is not finished here",
            object=working_copy.root,
            next_step="Run `dsg.storage.recover` first.",
        )
    record = records.newest(working_copy)
    if record is None:
        return None, unchanged()
    with Beneath(working_copy.root) as tree:
        stranger = {new for _old, new in record.renames if _is_stranger(tree, record, new)}
        renames = list(_renames(tree, record, stranger))
        retargets = [
            Retarget(one.path, one.new, one.old)
            for one in record.retargets
            if _target(tree, one.path) == one.new and not _leads_to(one, stranger)
        ]
        taken = [new for _old, new in renames if tree.lstat(_beside(_old, new)) is not None]
    if taken:
        raise PathError(
            "old names cannot be put back, as something else has them now",
            object=working_copy.root,
            details=capped([show(path) for path in taken]),
            next_step="Move that away, and run it again.",
        )
    names = Names(renames, retargets, {})
    require_renamable(working_copy, [one.path for one in retargets], names)
    return record, names


def _is_stranger(tree: Beneath, record: Record, path: str) -> bool:
    """Tell whether a new name is that of another kind by now: nothing that was renamed has become that."""
    found, kind = tree.lstat(path), record.kinds.get(path)
    return found is not None and kind is not None and kind != _KINDS.get(stat.S_IFMT(found.st_mode))


def _leads_to(link: Retarget, paths: Collection[str]) -> bool:
    """Tell whether a link's present text leads to one of the paths, or through it."""
    node = os.path.normpath(os.path.join(os.path.dirname(link.path), link.new))
    while node and node not in paths:
        node = node.rpartition("/")[0]
    return bool(node)


def _renames(tree: Beneath, record: Record, left: Collection[str]) -> Iterator[Rename]:
    """Yield what is still there under its new name, the deepest first: parents have new names then."""
    for old, new in reversed(record.renames):
        if new not in left and tree.lstat(new) is not None:
            yield Rename(new, old)


def _beside(path: str, new: str) -> str:
    """Return where a path comes to be while its parents still have their present names."""
    parent = path.rpartition("/")[0]
    name = new.rpartition("/")[2]
    return f"{parent}/{name}" if parent else name


def _target(tree: Beneath, path: str) -> str:
    """Return a link's text, '' where there is none."""
    try:
        fd, name = tree.at(path)
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return ""


def _operations(
    working_copy: WorkingCopy, client: ClientTransaction, record: Record, names: Names
) -> list[Operation]:
    operations = []
    with Beneath(working_copy.root) as tree:
        for slot, one in enumerate(names.retargets):
            ino = client.stage_link(slot, one.new)
            seen = _seen(tree, one.path)
            operations.append(Operation(INSTALL, one.path, slot=slot, ino=ino, seen=seen))
        for old, new in names.renames:
            operations.append(
                Operation(
                    RENAME, _beside(old, new), ino=_seen(tree, old).ino, old=old.rpartition("/")[2]
                )
            )
        slot = len(names.retargets)
        seen = _seen(tree, record.path)
        return [*operations, Operation(REMOVE, record.path, slot=slot, seen=seen)]


def _seen(tree: Beneath, path: str) -> Seen:
    fd, name = tree.at(path)
    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    return Seen(found.st_size, found.st_mtime_ns, found.st_ino)
