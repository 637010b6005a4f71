# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's journal: what a transaction will do to the working copy, written before it does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from ..errors import WorkingCopyError
from ..posix import durable
from . import fields

FORMAT = 1

INSTALL, REMOVE, MKDIR, RMDIR, RENAME = "install", "remove", "mkdir", "rmdir", "rename"

HERE, REPOSITORY = "here", "repository"
"""Who decides: this journal by its existence, or the repository by having the transaction."""


class Seen(NamedTuple):
    """What identifies a local file's version: size in bytes, mtime in ns, inode number."""

    size: int
    mtime_ns: int
    ino: int


class Operation(NamedTuple):
    """One change of the working copy.

    ``slot`` numbers the staged file (install) or the place that the old file is moved to (remove);
    ``ino`` is the staged file's inode; ``seen`` is the local version that may be replaced (None:
    nothing may be there); ``backup`` asks to keep that version. A rename gives what is called ``old``
    in the directory of ``path`` the name that ``path`` ends with; ``ino`` is its inode.
    """

    do: str
    path: str
    slot: int = 0
    ino: int = 0
    seen: Seen | None = None
    backup: bool = False
    old: str = ""


class Journal(NamedTuple):
    """A transaction's operations, and how to learn whether it committed.

    ``host`` is what the repository's host is called, '' for this one. How it is reached is not written
    down: a record that anybody may have put there must not say what is run.
    """

    txn_id: str
    decision: str
    repository: str
    backend: Mapping[str, object]
    key: str
    snapshot: int
    operations: Sequence[Operation] = ()
    host: str = ""

    def write(self, path: str) -> None:
        """Write the journal durably in one atomic step."""
        head = {
            "format": FORMAT,
            "txn_id": self.txn_id,
            "decision": self.decision,
            "repository": self.repository,
            "backend": dict(self.backend),
            "key": self.key,
            "snapshot": self.snapshot,
            "host": self.host,
        }
        lines = [json.dumps(head)] + [json.dumps(operation) for operation in self.operations]
        body = "".join(line + "\n" for line in lines).encode()
        durable.replace(path, [body, sha256(body).hexdigest().encode() + b"\n"], mode=0o600)


def read(path: str) -> Journal | None:
    """Read the journal, None where there is none; a damaged one is an error."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    body, seal = content[:-65], content[-65:]
    if sha256(body).hexdigest().encode() + b"\n" != seal:
        raise WorkingCopyError(
            "the journal is damaged",
            object=path,
            next_step="Restore it from a backup of the working copy; do not delete it.",
        )
    try:
        return _parse(body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise WorkingCopyError(
            "the journal is of another version, or none of ours",
            object=path,
            next_step=(
                "Run `dsg.storage.recover` with the version of dsg.storage that wrote it. Where .dsg came "
                "with somebody else's files, remove all of it instead."
            ),
        ) from None


def _parse(body: bytes) -> Journal:
    head, *operations = (json.loads(line) for line in body.splitlines())
    if head.pop("format") != FORMAT:
        raise ValueError("format")
    return _checked(Journal(operations=[_operation(*given) for given in operations], **head))


def _checked(journal: Journal) -> Journal:
    """Return the journal, or raise ``ValueError`` for a field that is none of ours.

    Only where the names of a repository were put back there is no key.
    """
    fields.txn_id(journal.txn_id)
    fields.one_of(journal.decision, (HERE, REPOSITORY))
    fields.text(journal.repository)
    fields.backend(journal.backend)
    if journal.key or journal.decision == REPOSITORY:
        fields.key(journal.key)
    fields.number(journal.snapshot)
    fields.text(journal.host)
    return journal


def _operation(
    do: Any, path: Any, slot: Any, ino: Any, seen: Any, backup: Any, old: Any = ""
) -> Operation:
    fields.one_of(do, (INSTALL, REMOVE, MKDIR, RMDIR, RENAME))
    if not isinstance(backup, bool) or not isinstance(ino, int):
        raise ValueError("operation")
    if do == RENAME:
        _beside(fields.content_path(path), fields.name(old))
    elif old:
        raise ValueError(old)
    version = None if seen is None else Seen(*map(int, seen))
    return Operation(
        do, fields.changed_path(path), fields.number(slot), ino, version, backup, fields.text(old)
    )


def _beside(path: str, old: str) -> None:
    """Check what is renamed: it is in the directory of its new name, and it is content as well."""
    parent = path.rpartition("/")[0]
    fields.content_path(f"{parent}/{old}" if parent else old)
