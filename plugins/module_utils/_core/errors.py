# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One hierarchy of errors: a stable code, what happened, what is unchanged, what to do next."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

UNCHANGED = "Working copy, repository and last-sync record are unchanged."
DETAILS = 20
"""Of many findings so many are told in an error."""


def capped(lines: Sequence[str], limit: int = DETAILS) -> list[str]:
    """Return at most ``limit`` lines, and one more that tells how many are left out."""
    left_out = len(lines) - limit
    return [*lines[:limit], f"... and {left_out} more"] if left_out > 0 else list(lines)


class DsgError(Exception):
    """An error that a user can act on.

    ``code`` is stable and documented (docs/errors.md); ``object`` names the path, snapshot or
    repository concerned; ``unchanged`` says what was left as it was; ``next_step`` is the next safe
    thing to do; ``details`` are further lines, one per finding (the raiser has :func:`capped` them);
    ``changed`` tells whether something was done before it and stays so; ``host`` names the storage
    host that it happened on ('' for this one).
    """

    code = "DSG-INTERNAL"
    changed = False
    host = ""
    unchanged = UNCHANGED
    next_step = ""

    def __init__(
        self,
        message: str,
        *,
        object: str | None = None,
        unchanged: str | None = None,
        next_step: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.object = object
        self.unchanged = self.unchanged if unchanged is None else unchanged
        self.next_step = self.next_step if next_step is None else next_step
        self.details = list(details)

    def brief(self) -> str:
        """Return code, object, message and details, for an error that tells of this one."""
        subject = f" {self.host}:" if self.host and self.host != self.object else ""
        subject += f" {self.object!r}:" if self.object is not None else ""
        lines = [f"[{self.code}]{subject} {self.message}"]
        return "\n".join(lines + [f"  {line}" for line in self.details])

    def __str__(self) -> str:
        lines = [self.brief(), self.unchanged, self.next_step]
        return "\n".join(line for line in lines if line)

    def as_dict(self) -> dict[str, object]:
        """Return the error as plain data for a task result."""
        return {
            "code": self.code,
            "host": self.host,
            "object": self.object,
            "message": self.message,
            "unchanged": self.unchanged,
            "next_step": self.next_step,
            "details": self.details,
        }


class ArgumentError(DsgError):
    """An option or a combination of options that is not supported."""

    code = "DSG-ARGUMENT"
    next_step = "Correct the option and run again."


class PathError(DsgError):
    """A path that breaks the path rules (characters, length, collisions, links that leave)."""

    code = "DSG-PATH"
    next_step = "Rename what is listed, or exclude it with an ignore pattern, and run again."


class TreeError(DsgError):
    """Something in a tree that cannot be published: special files, unreadable files."""

    code = "DSG-TREE"
    next_step = "Remove or ignore what is listed, or make it readable, and run again."


class SourceChanged(DsgError):
    """A file changed, grew or vanished while it was read."""

    code = "DSG-SOURCE-CHANGED"
    next_step = "Run again when nothing writes to the tree."


class ManifestError(DsgError):
    """A manifest that is missing where one is expected, damaged, or of an unknown version."""

    code = "DSG-MANIFEST"
    next_step = "Restore the manifest from a snapshot or a backup; it is never taken for empty."


class ConflictError(DsgError):
    """Both sides changed the same path."""

    code = "DSG-CONFLICT"
    next_step = "Decide with `conflict: local` or `conflict: remote`, for the run or path by path."


class DeleteLimitError(DsgError):
    """The sync would delete more than the user allowed."""

    code = "DSG-MAX-DELETE"
    next_step = "If the deletions are meant, raise `max_delete` for this run."


class RepositoryError(DsgError):
    """The repository is absent, exists already, or is not one of ours."""

    code = "DSG-REPOSITORY"


class DriftError(DsgError):
    """The repository was written to behind our back."""

    code = "DSG-DRIFT"
    next_step = (
        "Look at what is listed. Run `dsg.storage.verify` to see every difference; "
        "put the published tree back to its manifest before you sync again."
    )


class WorkingCopyError(DsgError):
    """The working copy is absent, damaged, or belongs to another repository."""

    code = "DSG-WORKING-COPY"


class LockedError(DsgError):
    """Another process holds the working copy or the repository."""

    code = "DSG-LOCKED"
    next_step = "Wait for the other process, or raise `lock_timeout`; there is no lock to delete."


class BehindError(DsgError):
    """A repository of a fleet holds changes that the working copy does not have yet."""

    code = "DSG-BEHIND"
    next_step = "Run with direction pull first, or with direction push to leave them out."


class HeldError(DsgError):
    """A prepared transaction waits for its decision, and nothing else may be published meanwhile."""

    code = "DSG-HELD"
    next_step = (
        "Run `dsg.storage.recover` where the fleet transaction began. If that place is gone for "
        "good, roll the transaction back with `dsg_abandon`."
    )


class MissingRight(DsgError):
    """The user who runs lacks a right that a transaction needs."""

    code = "DSG-RIGHTS"
    next_step = "Run the role dsg.storage.delegation for this user and this parent, or become root."


class SystemCallError(DsgError):
    """A system call failed: disk full, no permission, I/O error."""

    code = "DSG-SYSTEM"
    next_step = "Remove the cause and run again; what was begun is rolled back or finished then."


class Unfinished(DsgError):
    """The repository committed, the rest could not be carried out yet."""

    code = "DSG-UNFINISHED"
    changed = True
    unchanged = "The transaction is committed and stays so; nothing is lost."
    next_step = "Remove the cause, then run `dsg.storage.recover` (any next sync does it as well)."


def from_oserror(exc: OSError, doing: str) -> SystemCallError:
    """Turn an OSError into an error that names the call's object and errno."""
    name = errno.errorcode.get(exc.errno or 0, "unknown")
    text = os.strerror(exc.errno) if exc.errno else str(exc)
    path = exc.filename if exc.filename is not None else exc.filename2
    if exc.errno in (errno.EEXIST, errno.ENOTEMPTY) and exc.filename2 is not None:
        path = exc.filename2  # what is in the way
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    shown = str(path) if path is not None else None
    return SystemCallError(f"{doing} failed: {text} ({name})", object=shown)


@contextmanager
def telling(
    doing: str, unchanged: str, tell: Callable[[DsgError], None] | None = None
) -> Iterator[None]:
    """Have every error say what is ``unchanged``, unless it does so already.

    What the system says while it is ``doing`` becomes an error of ours; ``tell`` adds what only the caller
    knows of the state.
    """
    try:
        yield
    except (OSError, DsgError) as exc:
        error = from_oserror(exc, doing) if isinstance(exc, OSError) else exc
        if tell is not None:
            tell(error)
        if error.unchanged == UNCHANGED:
            error.unchanged = unchanged
        if error is exc:
            raise
        raise error from exc
