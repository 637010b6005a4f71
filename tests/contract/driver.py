# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drives a backend by its protocol alone, as the engine does, one step at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from _core.backends.base import Repository, Transaction, Upload
from _core.manifest import codec
from _core.manifest.codec import Manifest
from _core.manifest.entry import DIRECTORY, Entry
from _core.manifest.scan import scan_tree
from _core.sync.verify import verify_repository

from tests.integration.support import AnySite

STEPS = ("begin", "stage", "prepare", "commit", "finish")


class Change(NamedTuple):
    """A transaction and the manifest it publishes."""

    transaction: Transaction
    manifest: Manifest


def txn_of(number: int) -> str:
    return f"20260101T000000Z-{number:012x}"


def publish(
    repository: Repository,
    source: str,
    number: int,
    *,
    until: str = "finish",
    before: dict[str, Callable[[], Any]] | None = None,
) -> Change:
    """Publish the tree at ``source`` as snapshot ``number``, up to and with the step ``until``.

    ``before`` holds what is to happen before a step.
    """
    hooks = before or {}
    base = repository.manifest() if repository.head() is not None else None
    scan = scan_tree(source)
    known = {} if base is None else {entry.path: entry for entry in base.entries}
    wanted = {entry.path: entry._replace(user="ann") for entry in scan.entries}
    uploads = [
        Upload(entry, _identity(scan, entry))
        for path, entry in wanted.items()
        if path not in known or not entry.same_content(known[path])
    ]
    transaction = repository.begin(txn_of(number), base)
    manifest: Manifest | None = None
    for step in STEPS[: STEPS.index(until) + 1]:
        hooks.get(step, lambda: None)()
        if step == "stage":
            landed = transaction.stage(source, uploads, known.keys() - wanted.keys())
            after = {path: known.get(path, entry) for path, entry in wanted.items()}
            after.update({entry.path: entry for entry in landed})
            manifest = build(repository.name, list(after.values()), base, number)
        elif step == "prepare":
            assert manifest is not None
            transaction.prepare(manifest)
        elif step == "commit":
            transaction.commit()
        elif step == "finish":
            assert transaction.finish() == []
    assert manifest is not None or until == "begin"
    return Change(transaction, manifest)  # type: ignore[arg-type]


def _identity(scan: Any, entry: Entry) -> tuple[int, int, int]:
    if entry.kind == DIRECTORY:
        return (0, 0, 0)
    found = scan.identity(entry.path)
    return (found.size, found.mtime_ns, found.ino)


def build(name: str, entries: list[Entry], base: Manifest | None, number: int) -> Manifest:
    return codec.build(
        entries,
        repository_id="0" * 31 + "1" if base is None else base.header.repository_id,
        repository=name,
        snapshot=1 if base is None else base.header.snapshot + 1,
        parent="" if base is None else base.header.id,
        txn=txn_of(number),
        created_at="2026-01-01T00:00:00Z",
        created_by="ann@here",
        message=f"number {number}",
    )


def fetch(repository: Repository, entries: list[Entry], directory: str) -> list[bytes | str | None]:
    """Return what was fetched for each entry: bytes, a link's text, None for a directory."""
    os.mkdir(directory)
    repository.fetch(entries, directory)
    found: list[bytes | str | None] = []
    for number in range(len(entries)):
        path = os.path.join(directory, str(number))
        if os.path.islink(path):
            found.append(os.readlink(path))
        elif os.path.exists(path):
            with open(path, "rb") as stream:
                found.append(stream.read())
        else:
            found.append(None)
    return found


def sound(site: AnySite) -> None:
    """Assert that tree, manifest and history agree."""
    verification = verify_repository(site.name, site.backend)
    assert verification.sound, verification


def recover_twice(site: AnySite, expected: int) -> None:
    """Recover as often as it takes: it does what it announces, once."""
    announced = site.repository.unfinished()
    assert len(announced) == expected
    before = site.held()
    assert site.repository.unfinished() == announced
    assert site.held() == before
    with site.repository.lock(0):
        assert len(site.repository.recover()) == expected
        after = site.held()
        assert site.repository.recover() == []
    assert site.held() == after
    assert site.repository.unfinished() == []
    assert site.staged() == []
