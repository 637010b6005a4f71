# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification of repositories that are directories: shared files, foreign hands, missing rights."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import time
from typing import Any, cast

import pytest
from _core.backends import published
from _core.backends.base import LocalRepository
from _core.backends.registry import open_repository
from _core.errors import DriftError
from _core.upkeep import verification
from _core.upkeep.verify import verify

from tests.contract.driver import publish
from tests.integration.children import in_child
from tests.integration.support import Site, put


def here(site: Site) -> LocalRepository:
    """Return the repository as those have it who are on its host."""
    return open_repository(site.backend, site.name)


def test_what_snapshots_share_is_read_once_by_a_verification(site, source):
    put(source, "large", "x" * 100_000)
    for number in (1, 2, 3):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    settle(site)
    trees = verify(here(site), snapshots=["all"])["trees"]
    assert [tree["sound"] for tree in trees] == [True] * 3
    assert trees[0]["read_bytes"] == trees[0]["bytes"]
    assert [tree["read_bytes"] for tree in trees[1:]] == [len("version 2")] * 2
    # A file that was written to is another state of the same inode, and damaged wherever it is.
    with open(os.path.join(site.live, "large"), "r+") as stream:
        stream.write("y")
    found = verify(here(site), snapshots=["all"])
    damaged = [one["snapshot"] for one in found["problems"] if one["what"] == "content"]
    assert damaged == [1, 2, 3]


def settle(site: Site) -> None:
    """Wait until the file system's clock has gone on, by what verification takes for safe."""
    newest = max(
        os.lstat(os.path.join(site.live, name)).st_ctime_ns for name in os.listdir(site.live)
    )
    while time.time_ns() - newest < 50_000_000:
        time.sleep(0.01)


def test_a_snapshot_of_another_manifest_or_none_is_named(site, source):
    for number in (1, 2, 3):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    kept = site.kept(1)
    manifest = os.path.join(kept, ".dsg", "manifest.jsonl")
    shutil.copy(os.path.join(site.kept(2), ".dsg", "manifest.jsonl"), manifest)
    put(kept, "extra", "x")
    found = verify(here(site), snapshots=["1"])
    assert {
        (one["snapshot"], one["live"], one["path"], one["what"]) for one in found["problems"]
    } == {
        (1, False, ".dsg/manifest.jsonl", "manifest"),
        (1, False, "extra", "added"),
    }
    os.unlink(manifest)
    found = verify(here(site), snapshots=["1"])
    assert {(one["path"], one["what"]) for one in found["problems"]} == {
        (".dsg/manifest.jsonl", "manifest"),
        ("extra", "added"),
    }
    assert found["trees"][0]["checked"], "the history tells what it was"


def test_what_lies_beside_the_records_of_a_snapshot_is_named(site, source):
    for number in (1, 2, 3):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    history = os.path.join(site.kept(2), ".dsg", "history")
    os.unlink(os.path.join(history, "s1.jsonl"))
    put(history, "more/of it", "x")
    found = verify(here(site), snapshots=["all"])
    assert {(one["snapshot"], one["path"], one["what"]) for one in found["problems"]} == {
        (2, ".dsg/history/s1.jsonl", "missing"),
        (2, ".dsg/history/more", "added"),
    }
    shutil.rmtree(history)
    assert named(site, 2) == {(".dsg/history", "missing")}
    put(site.kept(2), ".dsg/history", "a file")
    assert named(site, 2) == {(".dsg/history", "type")}
    history = os.path.join(site.kept(1), ".dsg", "history")
    os.unlink(os.path.join(history, "s1.jsonl"))
    os.symlink("/etc/passwd", os.path.join(history, "s1.jsonl"))
    assert named(site, 1) == {(".dsg/history/s1.jsonl", "type")}


def named(site: Site, number: int) -> set[tuple[str, str]]:
    """Return what a verification of one snapshot names, the published tree being sound."""
    found = verify(here(site), snapshots=[str(number)])["problems"]
    assert not any(one["live"] for one in found)
    return {(one["path"], one["what"]) for one in found}


def test_what_lies_beside_the_records_is_left_out_by_the_next_publication(site, source):
    publish(site.repository, source, 1)
    put(site.live, ".dsg/history/s2.jsonl", "in the way of what is published next")
    put(site.live, ".dsg/history/more/of it", "x")
    put(site.live, ".dsg/left", "x")
    put(source, "f", "version 2")
    publish(site.repository, source, 2)
    strangers = {".dsg/history/s2.jsonl", ".dsg/history/more", ".dsg/left"}
    assert named(site, 1) == {(path, "added") for path in strangers}
    shutil.rmtree(site.kept(1))
    assert verify(here(site))["sound"]


def test_what_is_read_is_the_tree_that_was_published_at_the_beginning(site, source, monkeypatch):
    """Somebody publishes, and removes what was being read, in the middle of a verification."""
    put(source, "d/h", "h")
    for number in (1, 2):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    real = verification.examine
    met = []

    def examine(root, entries, known, *, learn):
        if not met:
            put(source, "f", "version 3")
            publish(site.repository, source, 3)
        met.append(root)
        return real(root, entries, known, learn=learn)

    monkeypatch.setattr(verification, "examine", examine)
    found = verify(here(site))
    assert (found["sound"], found["snapshot"], len(met)) == (True, 2, 1)
    met.clear()

    def examine_what_goes(root, entries, known, *, learn):
        if not met:
            shutil.rmtree(site.kept(1))
        met.append(root)
        return real(root, entries, known, learn=learn)

    monkeypatch.setattr(verification, "examine", examine_what_goes)
    found = verify(here(site), snapshots=["1"])
    assert found["sound"]
    assert [(tree["snapshot"], tree["gone"]) for tree in found["trees"]] == [(1, True), (3, False)]


@pytest.mark.parametrize("damage", ["", "missing", "content"])
def test_a_history_that_was_pruned_meanwhile_is_no_damage(site, source, monkeypatch, damage):
    """What took its place has every step; one that is missing there as well was never there."""
    for number in (1, 2, 3):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    step = os.path.join(site.live, ".dsg/history/s2.jsonl")
    if damage == "missing":
        os.unlink(step)
    real = verification.examine
    met: list[str] = []

    def examine(root, entries, known, *, learn):
        found = real(root, entries, known, learn=learn)
        met.append(root)
        if len(met) == (2 if damage == "content" else 1):
            put(source, "f", "version 4")
            publish(site.repository, source, 4)
            for number in (1, 2, 3):
                shutil.rmtree(site.kept(number))
        return found

    monkeypatch.setattr(verification, "examine", examine)
    if damage == "content":
        with open(step, "ab") as stream:
            stream.write(b"more")
    found = verify(here(site), snapshots=["all"])
    assert [tree["snapshot"] for tree in found["trees"] if tree["gone"]][-1] == 3
    history = {(one["snapshot"], one["what"]) for one in found["problems"]}
    assert history == ({(2, "history")} if damage else set())
    assert found["sound"] is not bool(damage)


class Apart:
    """A repository whose newest snapshot lies beside what is published, and was destroyed by somebody.

    That is what OpenZFS has; of a directory both are the same tree.
    """

    def __init__(self, site: Site) -> None:
        self._real = here(site)
        self.published: list[int] = []
        """Numbers that the head has from the next look on, one for each."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def head(self) -> Any:
        head = self._real.head()
        return head._replace(snapshot=self.published.pop(0)) if self.published else head

    def snapshots(self) -> list[int]:
        return self._real.snapshots()[:-1]

    def snapshot_tree(self, number: int) -> str:
        if number not in self.snapshots():
            raise published.not_kept(number, self.snapshots(), self._real.location)
        return self._real.snapshot_tree(number)


@pytest.mark.parametrize("chosen", [["newest"], ["all"], ["2"], ["1", "2"]], ids=" ".join)
def test_damage_is_told_though_the_newest_snapshot_is_gone_as_well(site, source, chosen):
    for number in (1, 2):
        put(source, "f", f"version {number}")
        publish(site.repository, source, number)
    repository = cast(LocalRepository, Apart(site))
    lost = (2, True, "", "snapshot")
    found = verify(repository, snapshots=chosen)
    assert (found["sound"], told(found)) == (False, {lost})
    put(site.live, "f", "VERSION 2")
    found = verify(repository, snapshots=chosen)
    assert told(found) == {lost, (2, True, "f", "content"), (2, True, "f", "time")}
    row = next(row for row in found["trees"] if row["live"])
    assert (row["sound"], row["gone"], row["problems"]) == (False, False, 3)


def test_a_snapshot_is_not_missed_where_a_sync_published_meanwhile(site, source):
    publish(site.repository, source, 1)
    repository = Apart(site)
    # Of the two looks the first one still finds what was published before.
    repository.published = [1, 1, 2]
    assert verify(cast(LocalRepository, repository))["sound"]
    assert repository.published == []


def told(found: dict[str, Any]) -> set[tuple[int, bool, str, str]]:
    return {(one["snapshot"], one["live"], one["path"], one["what"]) for one in found["problems"]}


def test_what_cannot_be_read_is_named_and_the_rest_is_verified(site, source):
    put(source, "closed/inner/file", "x")
    put(source, "secret", "x")
    publish(site.repository, source, 1)
    with open(os.path.join(site.live, "same"), "w") as stream:
        stream.write("other")
    os.chmod(os.path.join(site.live, "secret"), 0)
    os.chmod(os.path.join(site.live, "closed"), 0)
    try:
        found = in_child(lambda: verify(here(site)), before=give_up_capabilities)
    finally:
        os.chmod(os.path.join(site.live, "closed"), 0o755)
    told = {(one["path"], one["what"]) for one in found["problems"]}
    assert {("secret", "unreadable"), ("closed", "unreadable"), ("same", "content")} <= told
    details = [one["detail"] for one in found["problems"] if one["what"] == "unreadable"]
    assert all("EACCES" in detail for detail in details)


def give_up_capabilities() -> None:
    """Let permissions count for this process, also where it is root."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    assert ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) == 0


def test_what_only_openzfs_shows_is_somebodys_here(site, source):
    """Readers would see it, and no manifest vouches for it."""
    put(source, "f", "x")
    publish(site.repository, source, 1)
    manifest = site.repository.manifest()
    put(site.live, ".zfs/f", "by somebody")
    found = verify(here(site))
    assert {(one["path"], one["what"]) for one in found["problems"]} == {(".zfs/f", "added")}
    with pytest.raises(DriftError) as caught:
        site.repository.require_unchanged(manifest)
    assert any(line.startswith(".zfs: not in") for line in caught.value.details), caught.value
