# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a fleet transaction in the working copy: who takes part, and what was decided.

``.dsg/fleet/<id>/`` holds ``head`` (who coordinates, and which tree), a directory for each repository
that takes part (``participant``, and C as it is to be), and ``decision``, which is made once and never
changed. All of it is durable when a call returns. A repository's part is only touched by who holds
that repository's lock; records come and go under a lock of their own.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..errors import ArgumentError, WorkingCopyError
from ..manifest import codec
from ..manifest.codec import Manifest
from ..posix import durable
from ..posix.lock import locked
from ..posix.present import is_directory
from ..posix.process import Process
from . import fields
from .working_copy import MANIFEST, WorkingCopy

COMMIT, ROLLBACK = "commit", "rollback"
DECISIONS = (COMMIT, ROLLBACK)
PREPARING, PREPARED, WITHDRAWN = "preparing", "prepared", "withdrawn"

_FORMAT = 1
_LOCK_SECONDS = 60.0
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_HEAD, _DECISION, _PARTICIPANT, _RECORD = "head", "decision", "participant", "record"

_T = TypeVar("_T")


class Head(NamedTuple):
    """What all participants share; ``digest`` is that of the working copy's tree.

    ``coordinator`` is None where nobody said who it is.
    """

    coordinator: Process | None
    digest: str


class Participant(NamedTuple):
    """One repository's part: ``base`` and ``snapshot`` are its number before (0: none) and behind a commit.

    While ``state`` is preparing nobody knows whether the repository holds the transaction. What is
    withdrawn is rolled back, whatever is decided.
    """

    host: str
    repository: str
    backend: Mapping[str, object]
    key: str
    txn_id: str
    base: int
    snapshot: int
    digest: str
    state: str = PREPARING


def check_fleet_id(fleet: str) -> str:
    """Return the id, or raise :class:`ArgumentError` unless it can be a file's name."""
    if not _ID.fullmatch(fleet):
        raise ArgumentError("a fleet id has 1 to 64 letters, digits and '-'", object=fleet)
    return fleet


class FleetRecord:
    """The record of one fleet transaction; ``fleet`` is its id."""

    def __init__(self, working_copy: WorkingCopy, fleet: str) -> None:
        self.working_copy = working_copy
        self.fleet = check_fleet_id(fleet)
        self.root = os.path.join(working_copy.fleets, fleet)

    # --- the head

    def open(self, head: Head) -> None:
        """Begin the record; :func:`lock_scan` is held, and there is none yet."""
        coordinator = None if head.coordinator is None else head.coordinator._asdict()
        with _lock_records(self.working_copy):
            for directory in (self.working_copy.fleets, self.root):
                if not is_directory(directory):
                    os.mkdir(directory, 0o700)
                    durable.sync_directory(os.path.dirname(directory))
            self._write(_HEAD, {"coordinator": coordinator, "digest": head.digest})

    def head(self) -> Head | None:
        """Return the head, None where there is no such record."""
        return self._read(_HEAD, _parse_head)

    # --- participants

    def participant(self, key: str) -> Participant | None:
        """Return a repository's part, None where it takes no part (any more)."""
        return self._read(os.path.join(key, _PARTICIPANT), partial(_parse_participant, key))

    def participants(self) -> list[Participant]:
        """Return all parts that are not done, in the order of their keys."""
        found = [self.participant(key) for key in self._keys()]
        return [one for one in found if one is not None]

    def part_of(self, txn_id: str) -> Participant | None:
        """Return the part that a transaction is, None where it is none (any more)."""
        return next((one for one in self.participants() if one.txn_id == txn_id), None)

    def has_participants(self) -> bool:
        """Tell whether a part is not done; stops at the first one, as every host asks this in its turn."""
        return any(self.participant(key) is not None for key in self._keys())

    def _keys(self) -> Iterator[str]:
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return
        for name in names:
            if is_directory(os.path.join(self.root, name)):
                yield name

    def add(self, participant: Participant, cache: Manifest) -> None:
        """Record a part before the repository is asked to hold it; ``cache`` is C behind a commit."""
        directory = os.path.join(self.root, participant.key)
        self.working_copy.remove(directory)  # of somebody who died before there was a part
        record = os.path.join(directory, _RECORD)
        try:
            os.mkdir(directory, 0o700)
        except FileNotFoundError:
            raise WorkingCopyError(
                f"fleet transaction {self.fleet} was ended meanwhile",
                object=self.working_copy.root,
                next_step="Run again.",
            ) from None
        os.mkdir(record, 0o700)
        durable.write_new(os.path.join(record, MANIFEST), codec.write(cache))
        durable.sync_directory(record)
        self._write_participant(participant)
        durable.sync_directory(self.root)

    def mark_prepared(self, participant: Participant) -> None:
        """Record that the repository holds the transaction."""
        self._write_participant(participant._replace(state=PREPARED))

    def mark_withdrawn(self, participant: Participant) -> None:
        """Record that a part is none of what will be decided."""
        self._write_participant(participant._replace(state=WITHDRAWN))

    def _write_participant(self, participant: Participant) -> None:
        content = {**participant._asdict(), "backend": dict(participant.backend)}
        self._write(os.path.join(participant.key, _PARTICIPANT), content)

    def install(self, participant: Participant) -> None:
        """Make the new C of a committed part the working copy's record; may be repeated."""
        record = os.path.join(self.root, participant.key, _RECORD)
        changed = self.working_copy.install(record, participant.key)
        if changed:
            durable.sync_directory(changed)

    def remove(self, participant: Participant) -> None:
        """Forget a part that is done; if a power cut brings it back, it is found done once more."""
        directory = os.path.join(self.root, participant.key)
        with _lock_records(self.working_copy):
            durable.discard(os.path.join(directory, _PARTICIPANT))
            self.working_copy.remove(directory)

    # --- the decision

    def decision(self) -> str:
        """Return commit, rollback, or '' while nothing is decided."""
        return self._read(_DECISION, _parse_decision) or ""

    def decide(self, decision: str) -> str:
        """Decide, unless that was done; return what stands. There must be a record.

        By a lock, not by a link that only one can make: not every file system has hard links.
        """
        with _lock_records(self.working_copy):
            standing = self.decision()
            if standing:  # who made it may not have had it on disk yet
                durable.sync_directory(self.root)
                return standing
            self._write(_DECISION, {"decision": decision})
        return decision

    def end(self) -> bool:
        """Remove the record if nobody takes part any more; tell whether it is gone."""
        with _lock_records(self.working_copy):
            if self.has_participants():
                return False
            if is_directory(self.root):
                self.working_copy.remove(self.root)
                durable.sync_directory(self.working_copy.fleets)
        return True

    # --- files

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        durable.replace(os.path.join(self.root, name), [_encode(content)], mode=0o600)

    def _read(self, name: str, parse: Callable[[dict[str, Any]], _T]) -> _T | None:
        path = os.path.join(self.root, name)
        try:
            with self.working_copy.open(path) as stream:
                content = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = json.loads(content)
            if found.pop("format") != _FORMAT:
                raise ValueError("format")
            return parse(found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise WorkingCopyError(
                "the record of a fleet transaction is damaged, or of another version",
                object=path,
                next_step="Restore it from a backup of the working copy; do not delete it.",
            ) from None


def fleets(working_copy: WorkingCopy) -> list[FleetRecord]:
    """Return the records of all fleet transactions that are not ended."""
    if not working_copy.exists():
        return []
    try:
        names = sorted(os.listdir(working_copy.fleets))
    except FileNotFoundError:
        return []
    return [FleetRecord(working_copy, name) for name in names if _ID.fullmatch(name)]


def remove_if_empty(working_copy: WorkingCopy) -> None:
    """Remove the directory of all records where there is none in it."""
    try:
        if os.listdir(working_copy.fleets):
            return
    except FileNotFoundError:
        return
    with _lock_records(working_copy):
        try:
            os.rmdir(working_copy.fleets)
        except OSError as exc:  # another one was faster, or has begun a new one
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


@contextmanager
def lock_scan(working_copy: WorkingCopy) -> Iterator[None]:
    """Be the one that scans for all; the others wait as long as that takes."""
    path = os.path.join(working_copy.metadata, "scan.lock")
    with locked(path, timeout=float("inf"), what=working_copy.root):
        yield


@contextmanager
def _lock_records(working_copy: WorkingCopy) -> Iterator[None]:
    path = os.path.join(working_copy.metadata, "fleet.lock")
    with locked(path, timeout=_LOCK_SECONDS, what=working_copy.fleets):
        yield


def _encode(content: Mapping[str, object]) -> bytes:
    return json.dumps({"format": _FORMAT, **content}).encode() + b"\n"


def _parse_head(found: dict[str, Any]) -> Head:
    coordinator = found["coordinator"]
    return Head(
        None if coordinator is None else _process(Process(**coordinator)),
        fields.text(found["digest"]),
    )


def _process(found: Process) -> Process:
    for word in (found.host, found.boot, found.namespace):
        fields.text(word)
    fields.number(found.pid, 1)
    fields.number(found.start)
    return found


def _parse_participant(key: str, found: dict[str, Any]) -> Participant:
    part = Participant(**found)
    for word in (part.host, part.repository, part.digest):
        fields.text(word)
    fields.backend(part.backend)
    fields.txn_id(part.txn_id)
    fields.number(part.base)
    fields.number(part.snapshot, 1)
    fields.one_of(part.state, (PREPARING, PREPARED, WITHDRAWN))
    if fields.key(part.key) != key:
        raise ValueError(part.key)  # nobody would find it, nor what it says, under another one
    return part


def _parse_decision(found: dict[str, Any]) -> str:
    return fields.one_of(found["decision"], DECISIONS)
