# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of mixed kinds: one repository at hand, two behind a real sshd."""

from __future__ import annotations

import os
import signal

import pytest
from _core.client.fleet import COMMIT, PREPARING, ROLLBACK, FleetRecord
from _core.client.working_copy import WorkingCopy
from _core.errors import DsgError
from _core.transport.remote_transaction import RemoteTransaction

from tests.integration import test_fleet as local
from tests.integration.children import in_child
from tests.integration.fleets import FLEET, Fleet
from tests.integration.support import Site
from tests.transport.remote_site import SshSite


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
    assert old.finish("h1", ROLLBACK).txn_id
    old.recover_all()
    assert old.published() == [local.OLD] * 3
    old.check_tidy()
    results = old.prepare_all(fleet="again")
    for host, result in zip(old.sites, results):
        old.finish(host, COMMIT, fleet="again", txn_id=result.txn_id)
    assert old.published() == [local.NEW] * 3
    old.check_tidy()


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
