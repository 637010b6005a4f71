# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metadata that is swapped for a link behind our back: it was no link when it was looked at."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from _core.client.fleet import FleetRecord, Head
from _core.client.journal import HERE, REMOVE, Journal, Operation, Seen
from _core.client.transaction import ClientTransaction, clean_staging
from _core.client.working_copy import WorkingCopy
from _core.errors import WorkingCopyError

from tests.unit.trees import content

TXN = "20261120T224100Z-0123456789ab"
Work = Callable[[WorkingCopy], object]


@pytest.fixture
def copy(tmp_path: Path) -> WorkingCopy:
    made = WorkingCopy(str(tmp_path / "copy"))
    made.create()
    ClientTransaction(made, TXN).begin()
    return made


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Hold what would be removed, taken or replaced, under the names that are looked for."""
    place = tmp_path / "victim"
    for path in (f"{TXN}/files/0", f"{TXN}/record/manifest.jsonl", "f-1/head", "manifest.jsonl"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("precious")
    return place


def swap(copy: WorkingCopy, name: str, victim: Path) -> None:
    place = Path(copy.metadata, name)
    if place.exists():
        place.rename(f"{copy.root}-{place.name}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)


def record(copy: WorkingCopy) -> None:
    staged = Path(copy.staging, TXN, "record")
    staged.mkdir()
    (staged / "manifest.jsonl").write_text("ours")


def lose_a_conflict(copy: WorkingCopy) -> object:
    """Carry out a journal that removes a file and keeps it."""
    file = Path(copy.root, "manifest.jsonl")
    file.write_text("ours")
    seen = Seen(file.stat().st_size, file.stat().st_mtime_ns, file.stat().st_ino)
    operations = [Operation(REMOVE, "manifest.jsonl", seen=seen, backup=True)]
    journal = Journal(TXN, HERE, "tree", {}, "tree-1", 1, operations)
    return ClientTransaction(copy, TXN).commit(journal)


WORKS: dict[str, tuple[str, Work]] = {
    "staging areas are removed": ("staging", clean_staging),
    "a staging area is removed": ("staging", lambda copy: ClientTransaction(copy, TXN).rollback()),
    "a fleet ends": ("fleet", lambda copy: FleetRecord(copy, "f-1").end()),
    "a journal is carried out": (f"staging/{TXN}", lose_a_conflict),
    "a version is kept": ("backup", lose_a_conflict),
    "a version is kept deeper down": (f"backup/{TXN}", lose_a_conflict),
    "C is installed": ("repositories/t-1", lambda copy: copy.install(_staged(copy), "t-1")),
    "C is installed anew": ("repositories", lambda copy: copy.install(_staged(copy), "t-1")),
    "C is read": ("repositories/f-1", lambda copy: copy.cache("f-1")),
}


def _staged(copy: WorkingCopy) -> str:
    return os.path.join(copy.staging, TXN, "record")


@pytest.mark.parametrize("work", WORKS)
def test_nothing_is_done_behind_a_link(copy: WorkingCopy, victim: Path, work: str) -> None:
    name, do = WORKS[work]
    record(copy)
    if name == "fleet":
        FleetRecord(copy, "f-1").open(Head(None, "0" * 64))
    before = content(victim)
    swap(copy, name, victim)
    with pytest.raises(WorkingCopyError, match="none of our records"):
        do(copy)
    assert content(victim) == before


def test_a_link_in_a_staging_area_is_removed_and_what_it_leads_to_stays(
    copy: WorkingCopy, victim: Path
) -> None:
    """Links are content as well: one that is downloaded is staged."""
    before = content(victim)
    os.symlink(victim, os.path.join(copy.staging, TXN, "files", "0"))
    os.symlink(victim, os.path.join(copy.staging, "elsewhere"))
    assert clean_staging(copy) == [TXN, "elsewhere"]
    assert os.listdir(copy.staging) == []
    assert content(victim) == before
