# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction over several repositories: prepared, decided, and the same everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _core.backends.directory.held import HeldTransaction
from _core.backends.directory.transaction import DirectoryTransaction
from _core.client.fleet import COMMIT, ROLLBACK, FleetRecord, fleets
from _core.client.working_copy import WorkingCopy
from _core.errors import DsgError
from _core.manifest.scan import scan_tree
from _core.posix import durable
from _core.posix.process import identify
from _core.sync.fleet import prepare as preparation
from _core.sync.fleet.decision import decide, withdraw
from _core.sync.recovery import preview, recover
from _core.sync.request import WITHDRAW
from _core.sync.status import inspect

from tests.integration.children import in_child, without_links
from tests.integration.fleets import FLEET, Fleet
from tests.integration.support import provision, put, read

OLD = {"f": "old", "d/g": "g", "gone": "x"}
NEW = {"f": "new", "d/g": "g", "more": "y"}
EDIT = {"f": "new", "gone": None, "more": "y"}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Three hosts that hold nothing yet."""
    made = Fleet(str(tmp_path))
    made.edit(OLD)
    return made


@pytest.fixture
def old(fleet: Fleet) -> Fleet:
    """Three hosts at s1, and an edited working copy."""
    for host in fleet.sites:
        fleet.full(host)
    fleet.edit(EDIT)
    return fleet


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    return _ended()


def _ended() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def refused(code: str, work: Callable[[], object]) -> DsgError:
    with pytest.raises(DsgError) as caught:
        work()
    assert caught.value.code == code, caught.value
    assert caught.value.next_step
    return caught.value


# --- the way it goes


def test_first_publication(fleet):
    results = fleet.prepare_all()
    assert all(one.changed and one.operation == "init" for one in results)
    assert fleet.published() == [None] * 3
    assert fleet.decide(COMMIT, results) == COMMIT
    assert all(one.changed and one.snapshot == 1 for one in fleet.finish_all())
    assert fleet.published() == [OLD] * 3
    assert fleet.known() == [1] * 3
    fleet.check_tidy()
    for host in fleet.sites:
        assert not fleet.full(host).changed


def test_a_later_publication_and_its_repetition(old):
    results = old.prepare_all()
    assert [one.txn_id for one in old.prepare_all()] == [one.txn_id for one in results]
    assert old.published() == [OLD] * 3
    assert old.decide(COMMIT, results) == COMMIT
    assert old.decide(ROLLBACK) == COMMIT, "what is decided stays decided"
    old.finish("h1")
    assert not old.finish("h1").changed
    old.finish_all()
    assert [one.changed for one in old.finish_all()] == [False] * 3
    assert old.published() == [NEW] * 3
    assert old.snapshots() == old.known() == [2] * 3
    old.check_tidy()


def test_rollback(old):
    old.prepare_all()
    assert old.decide(ROLLBACK) == ROLLBACK
    refused("DSG-REPOSITORY", lambda: old.finish("h1", COMMIT))
    for _unused in range(2):
        assert not any(one.changed for one in old.finish_all(ROLLBACK))
    assert old.published() == [OLD] * 3
    assert old.snapshots() == old.known() == [1] * 3
    old.check_tidy()


def test_nothing_to_do(old):
    for host in old.sites:
        old.full(host)
    results = old.prepare_all()
    assert not any(one.changed or one.txn_id for one in results)
    assert old.decide(COMMIT, results) == COMMIT
    old.finish_all()
    assert old.snapshots() == [2] * 3
    old.check_tidy()


def test_only_some_have_something_to_do(old):
    old.full("h2")
    results = old.prepare_all()
    assert [one.changed for one in results] == [True, False, True]
    assert old.decide(COMMIT, results) == COMMIT
    old.finish_all()
    assert old.published() == [NEW] * 3
    assert old.known() == [2] * 3
    old.check_tidy()


def test_a_host_that_only_has_to_be_known(fleet):
    """It holds the same tree by another working copy: the record is all that is missing."""
    fleet.full("h1")
    other = Fleet(fleet.root)
    other.src = os.path.join(fleet.root, "other")
    other.edit(OLD)
    first, *rest = other.prepare_all()
    assert first.changed
    assert not first.txn_id
    assert other.known() == [1, None, None]
    assert other.decide(COMMIT, rest) == COMMIT
    other.finish_all()
    assert other.known() == [1] * 3
    other.check_tidy()


def test_the_tree_is_hashed_once(fleet, monkeypatch):
    hashed = []

    def spy(*args, **options):
        found = scan_tree(*args, **options)
        hashed.append(found.hashed)
        return found

    monkeypatch.setattr(preparation, "scan_tree", spy)
    age(fleet.src)
    fleet.prepare_all()
    assert hashed == [len(OLD), 0, 0]


def age(root: str) -> None:
    """Wait until the file system's clock has gone on: what is younger is hashed again."""
    probe = os.path.join(root, ".dsg")
    os.makedirs(probe, exist_ok=True)
    newest = max(
        os.lstat(os.path.join(top, name)).st_ctime_ns
        for top, _unused, names in os.walk(root)
        for name in names
    )
    while True:
        put(probe, "probe", "")
        now = os.lstat(os.path.join(probe, "probe")).st_mtime_ns
        os.unlink(os.path.join(probe, "probe"))
        if now > newest + 20_000_000:
            return


# --- what is refused


def test_a_tree_that_changed_meanwhile(old):
    old.prepare("h1")
    put(old.src, "f", "newer")
    refused("DSG-SOURCE-CHANGED", lambda: old.prepare("h2"))
    assert old.decide(ROLLBACK) == ROLLBACK
    old.finish_all(ROLLBACK)
    assert old.published() == [OLD] * 3
    old.check_tidy()


def test_what_would_have_to_be_downloaded_first(old):
    bob = os.path.join(old.root, "bob")
    site = old.sites["h2"]
    site.sync(bob)
    put(bob, "bobs", "1")
    site.sync(bob)
    old.prepare("h1")
    for check in (True, False):
        error = refused("DSG-BEHIND", lambda check=check: old.prepare("h2", check=check))
        assert "pull" in error.next_step
    old.decide(ROLLBACK)
    old.finish_all(ROLLBACK)
    old.full("h2", direction="pull")
    again = "again"
    results = old.prepare_all(fleet=again)
    assert decide(old.src, again, COMMIT, [one.txn_id for one in results]) == COMMIT
    old.finish_all(fleet=again)
    assert old.published() == [{**NEW, "bobs": "1"}] * 3
    old.check_tidy()


def test_names_are_made_portable_first(old):
    """Hosts of a fleet prepare one and the same tree, so nobody renames while they do."""
    put(old.src, "a:", "1")
    for check in (True, False):
        refused("DSG-BEHIND", lambda check=check: old.prepare("h1", check=check, names="normalise"))
    old.decide(ROLLBACK)
    old.finish_all(ROLLBACK)
    assert old.full("h1", direction="pull", names="normalise").names.renames == [("a:", "a_")]
    again = "again"
    results = [old.prepare(host, fleet=again, names="normalise") for host in ("h1", "h2", "h3")]
    assert decide(old.src, again, COMMIT, [one.txn_id for one in results]) == COMMIT
    old.finish_all(fleet=again)
    assert [tree["a_"] for tree in old.published()] == ["1"] * 3
    old.check_tidy()


def test_names_that_nobody_has_published_yet(fleet):
    put(fleet.src, "a:", "1")
    error = refused("DSG-PATH", lambda: fleet.prepare("h1", names="normalise"))
    assert "--limit" in error.next_step and error.details == ["'a:': becomes 'a_'"]
    fleet.decide(ROLLBACK)
    fleet.finish_all(ROLLBACK)


def test_a_conflict_on_one_host_leaves_all_as_they_are(old):
    bob = os.path.join(old.root, "bob")
    old.sites["h3"].sync(bob)
    put(bob, "f", "bob's")
    old.sites["h3"].sync(bob)
    old.prepare("h1")
    old.prepare("h2")
    refused("DSG-CONFLICT", lambda: old.prepare("h3"))
    assert old.decide(ROLLBACK) == ROLLBACK
    old.finish_all(ROLLBACK)
    assert old.published() == [OLD, OLD, {**OLD, "f": "bob's"}]
    old.check_tidy()


def test_the_same_repository_twice(old):
    old.prepare("h1")
    old.sites["h2"] = old.sites["h1"]
    error = refused("DSG-REPOSITORY", lambda: old.prepare("h2"))
    assert "h1 and h2" in error.message


def test_pull_and_clone_prepare_nothing(old):
    refused("DSG-ARGUMENT", lambda: old.prepare("h1", direction="pull"))
    old.src = os.path.join(old.root, "empty")
    os.mkdir(old.src)
    refused("DSG-ARGUMENT", lambda: old.prepare("h1"))


def test_a_fleet_that_is_decided_takes_nobody_in(old):
    old.prepare("h1")
    old.decide(ROLLBACK)
    refused("DSG-HELD", lambda: old.prepare("h2"))
    refused("DSG-HELD", lambda: old.prepare("h1"))


def test_phases_want_a_fleet_and_full_does_not(old):
    for phase in ("prepare", "commit", "rollback"):
        refused("DSG-ARGUMENT", lambda phase=phase: old.full("h1", phase=phase, fleet="a b"))
    refused("DSG-ARGUMENT", lambda: old.full("h1", phase="later"))
    refused("DSG-ARGUMENT", lambda: old.full("h1", fleet=FLEET))


def test_the_first_who_is_asked_decides_for_all(old):
    results = old.prepare_all()
    assert old.finish("h2", COMMIT, txn_id=results[1].txn_id).changed
    assert FleetRecord(WorkingCopy(old.src), FLEET).decision() == COMMIT
    error = refused("DSG-REPOSITORY", lambda: old.finish("h1", ROLLBACK))
    assert "decided otherwise: commit" in error.message
    old.recover_all()
    for host, result in zip(old.sites, results):
        assert not old.finish(host, COMMIT, txn_id=result.txn_id).changed, "it is done"
    assert old.published() == [NEW] * 3
    old.check_tidy()


def test_a_host_that_withdraws_leaves_the_others_to_commit(old):
    results = old.prepare_all()
    for _unused in range(2):
        done = old.finish("h2", WITHDRAW, txn_id=results[1].txn_id)
        assert not done.changed
    assert old.decide(COMMIT) == COMMIT
    old.finish("h1")
    old.finish("h3")
    assert old.published() == [NEW, OLD, NEW]
    assert old.snapshots() == old.known() == [2, 1, 2]
    assert not old.finish("h2", WITHDRAW).changed, "there is nothing left of it"
    old.check_tidy()
    old.full("h2")
    assert old.published() == [NEW] * 3


@pytest.mark.parametrize("rolled_back", [False, True], ids=["held", "rolled back"])
@pytest.mark.parametrize("decided", [False, True], ids=["undecided", "decided"])
def test_a_withdrawal_that_is_killed_never_ends_in_a_commit(old, dead, decided, rolled_back):
    """Killed behind its record, or when the repository had let go; the others commit, or nobody does."""
    results = old.prepare_all(coordinator=os.getpid() if decided else dead)
    withdraw(old.src, FLEET, results[1].txn_id)
    if rolled_back:
        repository = old.sites["h2"].repository
        with repository.lock(1.0):
            repository.resume(results[1].txn_id).rollback()
    if decided:
        assert old.decide(COMMIT, [results[0], results[2]]) == COMMIT
        old.finish("h1")
        assert "is to be rolled back" in preview_of(old, "h2")
    done = old.recover("h2")
    assert f"rolled back transaction {results[1].txn_id}: it was withdrawn" in done
    old.recover_all()
    assert old.published() == ([NEW, OLD, NEW] if decided else [OLD] * 3)
    old.check_tidy()


def preview_of(fleet, host):
    site = fleet.sites[host]
    return "; ".join(preview(fleet.src, site.name, site.backend))


def test_what_can_not_be_withdrawn(old):
    results = old.prepare_all()
    refused("DSG-ARGUMENT", lambda: old.finish("h2", WITHDRAW))
    withdraw(old.src, FLEET, results[1].txn_id)
    refused("DSG-REPOSITORY", lambda: old.finish("h2", COMMIT, txn_id=results[1].txn_id))
    old.finish("h1", COMMIT, txn_id=results[0].txn_id)
    late = refused("DSG-REPOSITORY", lambda: old.finish("h3", WITHDRAW, txn_id=results[2].txn_id))
    assert "decided otherwise: commit" in late.message
    old.recover_all()
    assert old.published() == [NEW, OLD, NEW]
    old.check_tidy()


def test_a_commit_of_what_was_rolled_back_is_an_error(old):
    results = old.prepare_all(coordinator=0)
    old.recover("h1")
    for number, host in enumerate(("h1", "h2")):
        txn_id = results[number].txn_id
        refused("DSG-REPOSITORY", lambda h=host, t=txn_id: old.finish(h, COMMIT, txn_id=t))
    refused("DSG-ARGUMENT", lambda: old.finish("h3", COMMIT, txn_id="another"))
    for host in old.sites:
        old.finish(host, ROLLBACK)
    assert old.published() == [OLD] * 3
    old.check_tidy()


def test_a_record_without_parts_ends_with_whoever_finishes(old):
    for host in old.sites:
        old.full(host)
    old.prepare_all()
    assert not old.finish("h1", ROLLBACK).changed
    old.check_tidy()


# --- who dies, and who comes meanwhile


def test_other_syncs_wait_for_the_decision(old):
    old.prepare("h1")
    for check in (True, False):
        refused("DSG-HELD", lambda check=check: old.full("h1", check=check))
    bob = os.path.join(old.root, "bob")
    site = old.sites["h1"]
    site.sync(bob)
    put(bob, "bobs", "1")
    site.refused("DSG-HELD", bob)
    assert old.full("h2").changed, "it takes no part"
    refused("DSG-HELD", lambda: old.recover("h1"))
    (said,) = preview(old.src, site.name, site.backend)
    assert "waits for the decision" in said
    status = inspect(old.request("h1"))
    assert any("held since" in line for line in status.open_transactions)
    old.decide(COMMIT)
    old.finish("h1")
    put(bob, "bobs", "2")
    site.sync(bob)
    old.full("h1", direction="pull")
    assert read(old.src)["bobs"] == "2"


@pytest.mark.parametrize("by", ["recover", "the next sync"])
def test_a_coordinator_that_died_before_it_decided(old, dead, by):
    in_child(lambda: old.prepare_all(coordinator=dead) and None)
    record = FleetRecord(WorkingCopy(old.src), FLEET)
    head = record.head()
    assert head is not None
    assert head.coordinator is None, "there is no such process"
    _forge_coordinator(record, dead)
    site = old.sites["h1"]
    (said,) = preview(old.src, site.name, site.backend)
    assert "rolled back" in said
    if by == "recover":
        assert old.recover_all()
        assert old.recover_all() == []
        assert old.published() == [OLD] * 3
        assert old.snapshots() == old.known() == [1] * 3
    else:
        assert old.full("h1", check=True).changed
        old.full("h1")
        assert old.published() == [NEW, OLD, OLD]
        assert decide(old.src, FLEET, COMMIT) == ROLLBACK
        old.recover_all()
    old.check_tidy()


def _forge_coordinator(record: FleetRecord, pid: int) -> None:
    """Have the record name a process of this boot that is gone."""
    me = identify(os.getpid())
    head = record.head()
    assert me is not None
    assert head is not None
    record.open(head._replace(coordinator=me._replace(pid=pid)))


@pytest.mark.parametrize("by", ["recover", "the next sync"])
def test_a_coordinator_that_died_behind_its_decision(old, by):
    results = old.prepare_all()
    assert old.decide(COMMIT, results) == COMMIT
    old.finish("h2")
    if by == "recover":
        assert old.recover_all()
        assert old.recover_all() == []
    else:
        for host in ("h1", "h3"):
            refused("DSG-UNFINISHED", lambda host=host: old.full(host, check=True))
            assert not old.full(host).changed
    assert old.published() == [NEW] * 3
    assert old.snapshots() == old.known() == [2] * 3
    old.check_tidy()


def test_a_coordinator_that_cannot_be_seen(old):
    """Nobody knows whether it still runs: only who asks for a recovery may decide."""
    old.prepare_all(coordinator=0)
    refused("DSG-HELD", lambda: old.full("h1"))
    old.recover_all()
    assert old.published() == [OLD] * 3
    old.check_tidy()


def test_a_host_whose_decision_is_carried_out_after_others_published(old):
    """Its commit was not noted here; somebody has finished it, and published upon it."""
    results = old.prepare_all()
    old.decide(COMMIT, results)
    site = old.sites["h1"]

    def commit() -> None:
        with site.repository.lock(0):
            site.repository.resume(results[0].txn_id).commit()

    in_child(commit)
    bob = os.path.join(old.root, "bob")
    site.sync(bob)
    put(bob, "bobs", "1")
    site.sync(bob)
    old.finish_all()
    assert old.known() == [2] * 3
    assert old.snapshots() == [3, 2, 2]
    assert old.published() == [{**NEW, "bobs": "1"}, NEW, NEW]
    old.check_tidy()


def test_abandoned_by_hand(old):
    first, *_others = old.prepare_all()
    site = old.sites["h1"]
    assert recover("", site.name, site.backend, 10.0) == []
    assert recover("", site.name, site.backend, 10.0, abandon=first.txn_id)
    assert recover("", site.name, site.backend, 10.0, abandon=first.txn_id) == []
    assert old.decide(COMMIT) == COMMIT
    error = refused("DSG-REPOSITORY", lambda: old.finish("h1"))
    assert "rolled it back" in error.message
    assert not old.finish("h1").changed
    old.finish_all()
    assert old.published() == [OLD, NEW, NEW]
    old.full("h1")
    assert old.published() == [NEW] * 3
    old.check_tidy()


def test_a_repository_that_is_lost_behind_the_decision_is_given_up(old):
    first, *_others = old.prepare_all()
    site = old.sites["h1"]
    assert old.decide(COMMIT) == COMMIT
    shutil.rmtree(site.backend["base"])
    provision(site.backend["base"])
    where = (old.src, site.name, site.backend, 10.0)
    error = refused("DSG-REPOSITORY", lambda: recover(*where))
    assert f"dsg_abandon={first.txn_id}" in error.next_step
    assert "not concerned" in error.unchanged, "least of all is nothing lost"
    announced = preview(*where[:3], abandon=first.txn_id)
    assert [line for line in announced if "to be given up" in line], announced
    (said,) = recover(*where, abandon=first.txn_id)
    assert "gave up" in said
    assert recover(*where, abandon=first.txn_id) == []
    for host in ("h2", "h3"):
        old.finish(host)
    assert old.published() == [None, NEW, NEW]


def test_a_published_tree_that_is_lost_behind_the_decision_is_given_up(old):
    """The work container is still there, with what was prepared."""
    first, *_others = old.prepare_all()
    site = old.sites["h1"]
    assert old.decide(COMMIT) == COMMIT
    shutil.rmtree(site.live)
    where = (old.src, site.name, site.backend)
    assert [line for line in preview(*where, abandon=first.txn_id) if "given up" in line]
    said = recover(*where, 10.0, abandon=first.txn_id)
    assert [line.split()[0] for line in said] == ["abandoned", "gave"], said
    assert recover(*where, 10.0, abandon=first.txn_id) == []
    assert site.repository.held() == []
    assert site.staged() == []


def test_a_repository_that_is_lost_before_a_rollback_needs_nobody(old):
    old.prepare_all()
    site = old.sites["h1"]
    assert old.decide(ROLLBACK) == ROLLBACK
    shutil.rmtree(site.backend["base"])
    provision(site.backend["base"])
    (said,) = recover(old.src, site.name, site.backend, 10.0)
    assert "rolled back" in said, said


def test_what_is_written_to_one_host_while_all_prepare_stops_all(old, monkeypatch):
    """Behind the decision it would be too late: the others have published by then."""
    live = old.sites["h2"].live
    hold = DirectoryTransaction.hold

    def slow(transaction, note):
        if transaction.layout.live == live:
            put(live, "intruder", "x")
        hold(transaction, note)

    monkeypatch.setattr(DirectoryTransaction, "hold", slow)
    old.prepare("h1")
    refused("DSG-DRIFT", lambda: old.prepare("h2"))
    assert old.published()[0] == OLD


def test_a_decision_is_durable_for_whoever_acts_upon_it(old, monkeypatch):
    """Who reads one that another has just made cannot know that it is on disk already."""
    old.prepare_all()
    record = FleetRecord(WorkingCopy(old.src), FLEET)
    record.decide(COMMIT)
    synced: list[str] = []
    sync = durable.sync_directory
    monkeypatch.setattr(durable, "sync_directory", lambda path: (synced.append(path), sync(path)))
    assert old.decide(COMMIT) == COMMIT
    assert record.root in synced


@pytest.mark.parametrize(("phase", "tree"), [(COMMIT, NEW), (ROLLBACK, OLD)])
def test_a_working_copy_that_cannot_have_hard_links_is_one_of_a_fleet(old, dead, phase, tree):
    """The repositories can, and it is they who prepare: what follows needs none on either side."""
    old.prepare_all()
    in_child(lambda: old.finish_all(phase), before=without_links)
    assert old.published() == [tree] * 3
    old.check_tidy()
    if phase == ROLLBACK:
        old.prepare_all(coordinator=dead)
        in_child(old.recover_all, before=without_links)
        old.check_tidy()


def test_a_host_reads_no_more_of_the_others_the_more_of_them_there_are(tmp_path):
    """Else five hundred hosts would read a hundred thousand records of each other."""
    few, more, many = (in_child(lambda: _reads(tmp_path, hosts)) for hosts in (3, 6, 9))  # noqa: B023
    assert many - more == more - few, (few, more, many)


def _reads(root: Path, hosts: int) -> int:
    """Return how often the record of a part is read while so many hosts commit, one after the other."""
    fleet = Fleet(str(root / str(hosts)), hosts)
    fleet.edit(OLD)
    results = fleet.prepare_all()
    opened: list[str] = []
    sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
    for host, result in zip(fleet.sites, results):
        fleet.finish(host, COMMIT, txn_id=result.txn_id)
    return sum(name.endswith("/participant") for name in opened)


def test_what_was_committed_is_never_told_as_rolled_back(old):
    """The decision was lost with the control node's power, behind one commit."""
    old.prepare_all()
    record = FleetRecord(WorkingCopy(old.src), FLEET)
    part = next(one for one in record.participants() if one.host == "h1")
    repository = old.sites["h1"].repository
    with repository.lock(10.0):
        repository.resume(part.txn_id).commit()
    record.decide(ROLLBACK)
    site = old.sites["h1"]
    said = recover(old.src, site.name, site.backend, 10.0)
    assert any("was committed as s2 before" in line for line in said), said
    assert old.known()[0] == 2
    assert old.published()[0] == NEW


def test_a_commit_that_is_refused_stays_to_be_done(old):
    results = old.prepare_all()
    intruder = os.path.join(old.sites["h2"].live, "intruder")
    put(old.sites["h2"].live, "intruder", "x")
    old.decide(COMMIT, results)
    old.finish("h1")
    error = refused("DSG-DRIFT", lambda: old.finish("h2"))
    assert "stays prepared" in error.unchanged
    assert "recover" in error.next_step
    old.finish("h3")
    os.unlink(intruder)
    old.recover_all()
    assert old.published() == [NEW] * 3
    assert old.known() == [2] * 3


def record_of(fleet: Fleet) -> FleetRecord:
    return FleetRecord(WorkingCopy(fleet.src), FLEET)


def test_who_works_in_the_working_copy_is_not_waited_for_to_decide(old):
    """A long sync of another repository: what was prepared is committed behind it, not rolled back."""
    results = old.prepare_all()
    with WorkingCopy(old.src).lock(0):
        for host, result in zip(old.sites, results):
            error = refused(
                "DSG-LOCKED",
                lambda h=host, r=result: old.finish(h, txn_id=r.txn_id, lock_timeout=0),
            )
            assert error.unchanged.startswith("It is decided that the transaction commits")
            assert error.next_step.endswith("Then run `dsg.storage.recover`.")
    assert record_of(old).decision() == COMMIT
    assert old.published() == [OLD] * 3
    old.recover_all()
    assert old.published() == [NEW] * 3
    old.check_tidy()


def test_what_fails_behind_the_commit_is_told_as_committed(old):
    """C cannot be brought up to date: what is published is the new tree all the same."""
    results = old.prepare_all()
    manifest = os.path.join(WorkingCopy(old.src).record(old.sites["h1"].key), "manifest.jsonl")
    os.rename(manifest, manifest + ".aside")
    os.mkdir(manifest)
    error = refused("DSG-UNFINISHED", lambda: old.finish("h1", txn_id=results[0].txn_id))
    assert error.unchanged == "The transaction is committed and stays so; nothing is lost."
    assert "recover" in error.next_step
    assert (old.published()[0], old.snapshots()[0]) == (NEW, 2)
    assert refused("DSG-UNFINISHED", lambda: old.recover("h1")).changed
    os.rmdir(manifest)
    os.rename(manifest + ".aside", manifest)
    old.recover_all()
    assert (old.published(), old.known()) == ([NEW] * 3, [2] * 3)
    old.check_tidy()


def test_of_a_commit_whose_answer_is_lost_it_is_told_what_was_decided(old, monkeypatch):
    """Whether it is still prepared nobody can say: here it is committed already."""
    results = old.prepare_all()
    base = old.sites["h1"].base
    commit = HeldTransaction.commit

    def lost(self):
        commit(self)
        os.rename(base, base + ".away")
        raise ConnectionResetError("torn")

    monkeypatch.setattr(HeldTransaction, "commit", lost)
    error = refused("DSG-UNFINISHED", lambda: old.finish("h1", txn_id=results[0].txn_id))
    assert "did not answer" in error.message
    assert error.unchanged.startswith("It is decided that the transaction commits")
    monkeypatch.undo()
    os.rename(base + ".away", base)
    old.recover_all()
    assert (old.published(), old.known()) == ([NEW] * 3, [2] * 3)
    old.check_tidy()


def test_what_fails_when_all_is_done_is_told_as_committed(old):
    """What cannot be tidied up is another fleet's, whose record is damaged."""
    results = old.prepare_all()
    damaged = os.path.join(old.src, ".dsg", "fleet", "another")
    os.mkdir(damaged)
    Path(damaged, "decision").write_text("damaged")
    error = refused("DSG-UNFINISHED", lambda: old.finish("h1", txn_id=results[0].txn_id))
    assert "is damaged" in error.message
    assert (old.published()[0], old.snapshots()[0], old.known()[0]) == (NEW, 2, 2)
    shutil.rmtree(damaged)
    old.finish_all()
    old.check_tidy()


@pytest.mark.parametrize(
    ("decided", "said"),
    [
        (COMMIT, "It is decided that the transaction commits"),
        (ROLLBACK, "Nothing is published there"),
    ],
)
def test_a_host_that_cannot_be_asked_tells_what_was_decided(old, decided, said):
    results = old.prepare_all()
    old.finish("h2", decided, txn_id=results[1].txn_id)
    base = old.sites["h1"].base
    os.rename(base, base + ".away")
    with pytest.raises(DsgError) as caught:
        old.finish("h1", txn_id=results[0].txn_id)
    assert caught.value.unchanged.startswith(said)
    assert "dsg.storage.recover" in caught.value.next_step
    os.rename(base + ".away", base)
    old.recover_all()
    assert old.published() == [OLD if decided == ROLLBACK else NEW] * 3
    old.check_tidy()


@pytest.mark.parametrize("later", [COMMIT, ROLLBACK])
def test_a_decision_that_cannot_be_written_is_told_as_none(old, later):
    results = old.prepare_all()
    in_the_way = os.path.join(record_of(old).root, "decision.new")
    os.mkdir(in_the_way)
    error = refused("DSG-SYSTEM", lambda: old.finish("h1", txn_id=results[0].txn_id))
    assert error.unchanged.startswith("Nothing is decided yet: if another host commits")
    assert error.next_step.endswith("Then run `dsg.storage.recover`.")
    assert record_of(old).decision() == ""
    os.rmdir(in_the_way)
    old.finish("h2", later)
    old.recover_all()
    assert old.published() == [OLD if later == ROLLBACK else NEW] * 3
    old.check_tidy()


def test_a_decision_for_those_that_are_not_recorded_as_prepared_is_rollback(old):
    results = old.prepare_all()
    assert decide(old.src, FLEET, COMMIT, [results[0].txn_id, "another"]) == ROLLBACK
    assert decide(old.src, "never-was", COMMIT) == ROLLBACK
    old.finish_all(ROLLBACK)
    assert fleets(WorkingCopy(old.src)) == []


def test_many_prepare_and_finish_at_once(tmp_path):
    """Each in a process of its own, all at the same time: one scans, nobody waits for another's end."""
    many = Fleet(str(tmp_path), hosts=8)
    for turn in range(5):
        many.edit({f"d{n // 10}/f{n}": f"{n} {turn}" for n in range(100)})
        at_once([lambda h=host: many.prepare(h) for host in many.sites])
        phase = (COMMIT, ROLLBACK)[turn % 2]
        at_once([lambda h=host, p=phase: many.finish(h, p) for host in many.sites])
        assert many.published() == [read(many.src) if turn % 2 == 0 else many.published()[0]] * 8
        assert fleets(WorkingCopy(many.src)) == []
    assert many.snapshots() == [3] * 8
    many.check_tidy()


def at_once(works: list[Callable[[], object]]) -> None:
    """Do all of them at the same time; each must succeed."""
    children = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException as exc:
                print(repr(exc), exc, file=sys.stderr)
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(works)
