# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's journal: what a transaction will do to the working copy, written before it does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from ..errors import WorkingCopyError
from ..posix import durable

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

    ``destination`` is how to reach the repository's host (without passwords), None for this one.
    """

    txn_id: str
    decision: str
    repository: str
    backend: Mapping[str, object]
    key: str
    snapshot: int
    operations: Sequence[Operation] = ()
    destination: Mapping[str, object] | None = None

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
            "destination": None if self.destination is None else dict(self.destination),
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
    except (ValueError, TypeError, KeyError, AttributeError):
        raise WorkingCopyError(
            "the journal is of another version, or none of ours",
            object=path,
            next_step="Run `dsg.storage.recover` with the version of dsg.storage that wrote it.",
        ) from None


def _parse(body: bytes) -> Journal:
    head, *operations = (json.loads(line) for line in body.splitlines())
    if head.pop("format") != FORMAT:
        raise ValueError("format")
    return Journal(operations=[_operation(*fields) for fields in operations], **head)


def _operation(
    do: str,
    path: str,
    slot: int,
    ino: int,
    seen: list[int] | None,
    backup: bool,
    old: str = "",
) -> Operation:
    if do not in (INSTALL, REMOVE, MKDIR, RMDIR, RENAME):
        raise ValueError(do)
    return Operation(do, path, slot, ino, None if seen is None else Seen(*seen), backup, old)
