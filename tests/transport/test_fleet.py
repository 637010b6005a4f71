# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of mixed kinds: one repository at hand, two behind a real sshd."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _core.client.fleet import COMMIT, PREPARING, ROLLBACK, FleetRecord
from _core.client.working_copy import WorkingCopy
from _core.errors import DsgError
from _core.sync.request import WITHDRAW
from _core.sync.status import inspect
from _core.transport.remote_transaction import RemoteTransaction

from tests.integration import test_fleet as local
from tests.integration.children import in_child
from tests.integration.fleets import FLEET, Fleet
from tests.integration.support import Site, read
from tests.tools.sshd import Sshd, sshd
from tests.transport.cuts import Boundaries, cut_link, switch_off
from tests.transport.remote_site import SshSite, destination_of


@pytest.fixture
def fleet(tmp_path, shared):
    """Three hosts that hold nothing yet."""

    def make_site(host: str, place: str) -> Site:
        return Site(place) if host == "h1" else SshSite(place, shared._replace(label=host))

    made = Fleet(str(tmp_path), make_site=make_site)
    made.edit(local.OLD)
    return made


@pytest.fixture
def old(fleet):
    """Three hosts at s1, and an edited working copy."""
    for host in fleet.sites:
        fleet.full(host)
    fleet.edit(local.EDIT)
    return fleet


def test_first_publication(fleet):
    local.test_first_publication(fleet)


def test_a_later_publication_and_its_repetition(old):
    local.test_a_later_publication_and_its_repetition(old)


def test_rollback(old):
    local.test_rollback(old)


def test_a_tree_that_changed_meanwhile(old):
    local.test_a_tree_that_changed_meanwhile(old)


@pytest.mark.parametrize("by", ["recover", "the next sync"])
def test_a_coordinator_that_died_behind_its_decision(old, by):
    local.test_a_coordinator_that_died_behind_its_decision(old, by)


def test_a_coordinator_that_died_before_it_decided(old):
    in_child(lambda: old.prepare_all(coordinator=0) and None)
    assert old.published() == [local.OLD] * 3
    assert old.recover_all()
    assert old.published() == [local.OLD] * 3
    old.check_tidy()


def _kill_agent(site: Site) -> None:
    """Kill the agent that holds the repository's lock: its channel ends with it."""
    with open(site.layout.lock, encoding="ascii") as note:
        os.kill(int(note.read().split()[1]), signal.SIGKILL)


@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_agent_that_dies_at_the_hold(old, when, monkeypatch):
    """Nobody can tell then whether the host holds the transaction; the record knows of it."""
    _die_at_the_hold(old, when, monkeypatch)
    assert old.finish("h1", ROLLBACK).txn_id
    old.recover_all()
    assert old.published() == [local.OLD] * 3
    old.check_tidy()
    results = old.prepare_all(fleet="again")
    for host, result in zip(old.sites, results):
        old.finish(host, COMMIT, fleet="again", txn_id=result.txn_id)
    assert old.published() == [local.NEW] * 3
    old.check_tidy()


@pytest.mark.parametrize("by", ["recover", "withdraw"])
@pytest.mark.parametrize("when", ["before", "behind"])
def test_others_publish_without_a_host_whose_agent_dies_at_the_hold(old, when, by, monkeypatch):
    """It is told that it takes no part; then nobody publishes there later what it may hold."""
    _die_at_the_hold(old, when, monkeypatch)
    if by == "withdraw":
        old.finish("h2", WITHDRAW)
    assert old.finish("h1", COMMIT).changed
    done = old.recover_all()
    assert old.published() == [local.NEW, local.OLD, local.OLD]
    assert by == "withdraw" or any("was not prepared to the end" in line for line in done), done
    old.check_tidy()


def _die_at_the_hold(old: Fleet, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have h1 prepared, and the agent of h2 killed while it is."""
    hold = RemoteTransaction.hold

    def deadly(transaction: RemoteTransaction, note: str) -> None:
        if when == "behind":
            hold(transaction, note)
        _kill_agent(old.sites["h2"])
        hold(transaction, note)  # finds no agent any more

    old.prepare("h1")
    monkeypatch.setattr(RemoteTransaction, "hold", deadly)
    with pytest.raises(DsgError) as caught:
        old.prepare("h2")
    assert caught.value.code == "DSG-CONNECTION", caught.value
    monkeypatch.undo()
    record = FleetRecord(WorkingCopy(old.src), FLEET)
    (part,) = [one for one in record.participants() if one.host == "h2"]
    assert part.state == PREPARING
    assert len(old.sites["h2"].repository.held()) == (1 if when == "behind" else 0)


def test_an_agent_that_dies_behind_its_commit(old, monkeypatch):
    """The host has published; the next one who asks hears so."""
    from _core.transport.remote_transaction import RemotePrepared

    commit = RemotePrepared.commit

    def deadly(prepared: RemotePrepared) -> None:
        commit(prepared)
        _kill_agent(old.sites["h3"])
        prepared.finish()
        commit(prepared)  # finds no agent any more

    results = old.prepare_all()
    monkeypatch.setattr(RemotePrepared, "commit", deadly)
    with pytest.raises(DsgError):
        old.finish("h3", COMMIT, txn_id=results[2].txn_id)
    monkeypatch.undo()
    old.recover_all()
    assert old.published() == [local.NEW] * 3
    assert old.known() == [2] * 3
    old.check_tidy()


# --- a link that is lost, at any moment


class Torn:
    """A fleet of which ``h2`` is behind a link that is lost, once in each turn."""

    def __init__(self, root: Path, server: Sshd) -> None:
        destination = destination_of(server, label="h2")

        def make_site(host: str, place: str) -> Site:
            return SshSite(place, destination) if host == "h2" else Site(place)

        self.fleet = Fleet(str(root), make_site=make_site)
        self.fleet.edit({"f": "0", "d/g": "g" * 100_000})
        for host in self.fleet.sites:
            self.fleet.full(host)
        self.turn = 0
        self.ends: Counter[str] = Counter()

    def publish(self) -> list[str]:
        """Go a playbook's way through the phases; return what was told of ``h2``."""
        fleet, name = self.fleet, f"turn-{self.turn}"
        prepared, told = {}, []
        for host in fleet.sites:
            try:
                prepared[host] = fleet.prepare(host, fleet=name).txn_id
            except DsgError as exc:
                told.append(f"{host}: {exc.code}")
        phase = COMMIT if len(prepared) == len(fleet.sites) else ROLLBACK
        for host, txn_id in prepared.items():
            try:
                fleet.finish(host, phase, fleet=name, txn_id=txn_id)
            except DsgError as exc:
                told.append(f"{host}: {exc.code}")
        self.ends[phase] += 1
        return told

    def once(self, boundaries: Boundaries) -> list[str]:
        """Publish another tree; whatever happens to it, recovery makes one state of it."""
        fleet = self.fleet
        self.turn += 1
        old = read(str(fleet.sites["h1"].live))
        fleet.edit({"f": str(self.turn), f"n{self.turn}": "new"})
        before = self.ends[COMMIT]
        with boundaries.watched():
            told = self.publish()
        new = self.ends[COMMIT] > before
        fleet.recover_all()
        wanted = read(fleet.src) if new else old
        assert fleet.published() == [wanted] * 3, told
        fleet.check_tidy()
        return told


@pytest.mark.parametrize(
    "step", [pytest.param(4, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("strike", [cut_link, switch_off])
def test_a_link_that_is_lost(tmp_path, strike: Callable[[Sshd], None], step):
    """While one of three hosts prepares, holds or commits: the others hear of it as by a playbook."""
    with sshd(tmp_path / "ssh") as server:
        torn = Torn(tmp_path, server)
        calm = Boundaries()
        assert torn.once(calm) == []
        for point in range(0, calm.count, step):
            told = torn.once(Boundaries(point, lambda: strike(server)))
            allowed = {"h2: DSG-CONNECTION", "h2: DSG-CONNECT", "h2: DSG-UNFINISHED"}
            assert set(told) <= allowed, (point, told)
        assert torn.ends[ROLLBACK] and torn.ends[COMMIT] > 1, torn.ends
        assert torn.once(Boundaries()) == []


# --- clocks


@contextmanager
def another_clock(folder: Path, clock: str) -> Iterator[Sshd]:
    """Run a server whose commands have another time of day; their files have the right one."""
    found = subprocess.run(
        ["faketime", "-f", clock, "printenv", "LD_PRELOAD"], check=True, stdout=subprocess.PIPE
    )
    library = found.stdout.decode().strip()
    extra = [f'SetEnv LD_PRELOAD={library} "FAKETIME={clock}" NO_FAKE_STAT=1']
    with sshd(folder, extra) as server:
        yield server


@pytest.mark.parametrize("clock", ["-400d", "+400d"])
def test_hosts_whose_clocks_are_far_apart(tmp_path, shared, clock):
    """Nothing is decided by comparing the times of two hosts: neither who is first, nor who is gone."""
    with another_clock(tmp_path / "ssh", clock) as server:
        ways = {"h2": destination_of(server, label="h2"), "h3": shared._replace(label="h3")}

        def make_site(host: str, place: str) -> Site:
            return SshSite(place, ways[host]) if host in ways else Site(place)

        fleet = Fleet(str(tmp_path), make_site=make_site)
        fleet.edit(local.OLD)
        for turn, tree in enumerate(({}, local.EDIT), 1):
            fleet.edit(tree)
            results = fleet.prepare_all()
            since = [site.repository.held()[0].since for site in fleet.sites.values()]
            years = [int(moment[:4]) for moment in since]
            assert years[0] == years[2] != years[1], "the clock was not off"
            assert any(since[1] in line for line in inspect(fleet.request("h2")).open_transactions)
            for host, result in zip(fleet.sites, results):
                assert fleet.finish(host, COMMIT, txn_id=result.txn_id).changed
            assert fleet.snapshots() == fleet.known() == [turn] * 3
            fleet.check_tidy()
        assert fleet.published() == [local.NEW] * 3
        fleet.edit({"f": "newer"})
        in_child(lambda: fleet.prepare_all(coordinator=0) and None)
        assert fleet.recover_all()
        assert fleet.published() == [local.NEW] * 3
        fleet.check_tidy()
        results = fleet.prepare_all()
        assert fleet.decide(COMMIT, results) == COMMIT
        fleet.finish("h2")
        assert fleet.recover_all()
        assert fleet.published() == [{**local.NEW, "f": "newer"}] * 3
        fleet.check_tidy()
        assert [fleet.full(host).changed for host in fleet.sites] == [False] * 3
