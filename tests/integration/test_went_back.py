# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that was put back from a backup, and then overtook what a client knows of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _core.backends.directory.repository import DirectoryRepository
from _core.errors import RepositoryError
from _core.sync.engine import run
from _core.sync.status import Status, inspect
from _core.transport.remote import RemoteRepository
from _core.upkeep.prune import prune
from _core.upkeep.retention import Keep

from tests.integration.fleets import Fleet
from tests.integration.support import Site, Tree, make, put, read, refused, site

__all__ = ["site"]

ANN: Tree = {"f": "newer", "new": "new", "d/g": "g"}


def save(site: Site) -> str:
    """Return where a backup of the base directory is."""
    backup = os.path.join(site.root, "backup")
    subprocess.run(["cp", "-a", site.base, backup], check=True)
    return backup


def put_back(site: Site, backup: str) -> None:
    shutil.rmtree(site.base)
    os.rename(backup, site.base)


def overtaken(site: Site, by: int, **options: object) -> tuple[str, str]:
    """Return ann, whose s2 is not there any more, and bob, who published upon s1 since."""
    ann, bob = site.copy("ann", {"f": "older", "gone": "x", "d/g": "g"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    backup = save(site)
    make(ann, {"f": "newer", "new": "new", "gone": None})
    if options:
        put(bob, "bobs", "held")
        site.sync(bob)
    site.sync(ann, **options)
    put_back(site, backup)
    if options:
        shutil.rmtree(bob)
        site.sync(bob)
    for number in range(by):
        put(bob, "other", str(number))
        site.sync(bob)
    return ann, bob


@pytest.mark.parametrize("by", [1, 2, 3, 5])
def test_a_history_that_overtook_what_is_known_is_refused(site, by):
    """Nothing of ann's is reverted or deleted, whatever she asks for."""
    ann, _bob = overtaken(site, by)
    options = ({}, {"operation": "sync"}, {"direction": "pull"}, {"direction": "push"})
    for asked in (*options, {"conflict": "local"}, {"check": True}):
        error = site.refused("DSG-REPOSITORY", ann, **asked)
        assert "went back in time" in error.message
        assert f"up to s{by + 1}" in error.message
        assert ".dsg/repositories" in error.next_step
    assert read(ann) == ANN
    assert site.recover(ann) == []
    assert read(ann) == ANN


def looked_at(site: Site, src: str) -> Status:
    """Look as ``dsg_info`` does, which changes nothing."""
    before = site.picture()
    found = inspect(site.request(src))
    assert site.picture() == before
    return found


def refused_alike(site: Site, src: str, code: str) -> Status:
    """Sync and status say the same, and the latter promises nothing."""
    error = site.refused(code, src)
    found = looked_at(site, src)
    assert found.refused is not None
    assert found.refused.as_dict() == error.as_dict()
    assert (found.in_sync, found.plan.steps) == (False, ())
    return found


@pytest.mark.parametrize("by", [0, 1, 2, 5])
def test_status_tells_what_a_sync_refuses(site, by):
    ann, bob = overtaken(site, by)
    found = refused_alike(site, ann, "DSG-REPOSITORY")
    assert (found.last_sync, found.snapshot) == (2, by + 1)
    assert looked_at(site, bob).refused is None


def test_status_of_who_is_only_behind_is_a_download(site):
    _ann, bob = behind_by_three(site)
    found = looked_at(site, bob)
    assert found.refused is None
    assert found.plan.counts()["download"] == 1
    for number in (1, 2):
        put(site.live, f".dsg/history/s{number}.jsonl", "damaged")
    refused_alike(site, bob, "DSG-MANIFEST")


def test_status_of_a_repository_that_is_gone_or_another(site):
    ann, away = site.copy("ann", {"f": "f"}), os.path.join(site.root, "away")
    site.sync(ann)
    os.rename(site.live, away)
    refused_alike(site, ann, "DSG-REPOSITORY")
    other = site.copy("other", {"f": "other"})
    site.sync(other)
    found = refused_alike(site, ann, "DSG-REPOSITORY")
    assert "different identity" in found.refused.message


def test_status_waits_with_its_judgement_for_a_recovery(site):
    """The newer snapshot may only not be shown yet: nobody is to restore anything before."""
    ann, _bob = overtaken(site, 0)
    os.mkdir(site.layout.stage("dead-1"))
    found = looked_at(site, ann)
    assert found.refused.code == "DSG-UNFINISHED"
    assert "dsg.storage.recover" in found.refused.next_step
    assert found.plan.steps == ()
    site.recover(ann)
    assert looked_at(site, ann).refused.code == "DSG-REPOSITORY"


def test_the_next_step_that_is_named_loses_nothing(site):
    ann, bob = overtaken(site, 2)
    site.refused("DSG-REPOSITORY", ann)
    shutil.rmtree(os.path.join(ann, ".dsg", "repositories", site.key))
    site.refused("DSG-CONFLICT", ann)
    site.sync(ann, conflict="local")
    expected = {**ANN, "gone": "x", "other": "1"}
    assert read(ann) == read(site.live) == expected
    site.sync(bob)
    assert read(bob) == expected


def test_a_partly_synced_copy_is_refused_as_well(site):
    """What it knows has an id of its own, as it left out what others had published."""
    ann, _bob = overtaken(site, 3, direction="push")
    error = site.refused("DSG-REPOSITORY", ann)
    assert "went back in time" in error.message
    assert read(ann) == ANN


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("by", [1, 2, 6])
def test_who_is_behind_catches_up(site, by, pruned, partly):
    """Also where the snapshot of the last sync is not kept any more: its record is."""
    ann, bob = site.copy("ann", {"f": "f", "gone": "x"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    if partly:
        put(ann, "anns", "left out")
        site.sync(ann)
        put(bob, "bobs", "b")
        site.sync(bob, direction="push")
        site.sync(ann)
    for number in range(by):
        make(ann, {"f": str(number), "gone": None})
        site.sync(ann)
    if pruned:
        prune(site.repository, Keep(last=1))
        assert len(site.repository.snapshots()) == 1
    put(bob, "mine", "bob")
    site.sync(bob)
    assert read(bob) == read(site.live)
    assert read(bob)["f"] == str(by - 1)
    assert "gone" not in read(bob)
    assert ("anns" in read(bob)) == partly
    site.sync(ann)
    assert read(ann) == read(bob)


def steps(site: Site, number: int) -> str:
    return os.path.join(site.live, ".dsg", "history", f"s{number}.jsonl")


def behind_by_three(site: Site) -> tuple[str, str]:
    """Return ann at s4 and bob at s1."""
    ann, bob = site.copy("ann", {"f": "0"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    for number in range(3):
        put(ann, "f", f"changed {number}")
        site.sync(ann)
    return ann, bob


def test_a_missing_record_is_made_up_for_by_the_next_one(site):
    _ann, bob = behind_by_three(site)
    os.unlink(steps(site, 1))
    site.sync(bob)
    assert read(bob) == {"f": "changed 2"}


def test_where_no_record_tells_it_is_refused(site):
    _ann, bob = behind_by_three(site)
    for number in (1, 2):
        put(site.live, f".dsg/history/s{number}.jsonl", "damaged")
    error = site.refused("DSG-MANIFEST", bob)
    assert "goes on from s1" in error.message
    assert error.object == steps(site, 1)
    assert ".dsg/repositories" in error.next_step
    shutil.rmtree(os.path.join(bob, ".dsg", "repositories", site.key))
    site.refused("DSG-CONFLICT", bob)
    assert read(bob) == {"f": "0"}


def test_a_history_is_only_asked_who_is_behind_by_several(site, monkeypatch):
    """Over ssh it is a round trip."""
    asked: list[int] = []
    for kind in (DirectoryRepository, RemoteRepository):
        monkeypatch.setattr(kind, "history_header", counting(kind.history_header, asked))
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    assert not run(site.request(ann)).changed
    put(ann, "f", "g")
    site.sync(ann)
    site.sync(bob)
    assert not asked
    for text in ("h", "i"):
        put(ann, "f", text)
        site.sync(ann)
    assert not asked
    run(site.request(bob))
    assert asked == [2]


def counting(real: Callable[..., object], asked: list[int]) -> Callable[..., object]:
    def history_header(self: object, snapshot: int) -> object:
        asked.append(snapshot)
        return real(self, snapshot)

    return history_header


def test_a_history_that_is_replaced_while_it_is_looked_at(site, monkeypatch):
    """The operation was chosen for the head before; under the lock it is chosen anew."""
    ann, bob = site.copy("ann", {"f": "older"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    backup = save(site)
    make(ann, ANN)
    site.sync(ann)
    old, fork = os.path.join(site.root, "old"), os.path.join(site.root, "fork")
    os.rename(site.base, old)
    os.rename(backup, site.base)
    for number in range(3):
        put(bob, "other", str(number))
        site.sync(bob)
    os.rename(site.base, fork)
    os.rename(old, site.base)
    put(ann, "touch", "x")
    real = DirectoryRepository.manifest

    def manifest(self, known=None):
        if os.path.exists(fork):
            shutil.rmtree(site.base)
            os.rename(fork, site.base)
        return real(self, known)

    monkeypatch.setattr(DirectoryRepository, "manifest", manifest)
    with pytest.raises(RepositoryError, match="went back in time"):
        run(site.request(ann))
    assert not os.path.exists(fork)
    assert read(ann) == {**ANN, "touch": "x"}


def test_a_fleet_is_not_prepared_upon_it(tmp_path: Path) -> None:
    fleet = Fleet(str(tmp_path), hosts=2)
    one = fleet.sites["h1"]
    fleet.edit({"f": "older"})
    for host in fleet.sites:
        fleet.full(host)
    backup = save(one)
    fleet.edit({"f": "newer"})
    for host in fleet.sites:
        fleet.full(host)
    put_back(one, backup)
    bob = one.copy("bob")
    one.sync(bob)
    for number in range(2):
        put(bob, "other", str(number))
        one.sync(bob)
    fleet.edit({"f": "newest"})
    for work in (fleet.prepare, fleet.full):
        error = refused(one, "DSG-REPOSITORY", lambda work=work: work("h1"))
        assert "went back in time" in error.message
    assert read(fleet.src) == {"f": "newest"}
