# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepared transactions that wait for a decision: what every backend keeps of them."""

from __future__ import annotations

import os

import pytest
from _core.errors import DsgError, HeldError
from _core.sync.engine import run

from tests.contract.driver import publish, recover_twice, sound, txn_of
from tests.contract.trees import ONE, TWO, remake
from tests.integration.children import in_child
from tests.integration.support import AnySite, put, read

NOTE = "fleet 7 of ann@control:/home/ann/tree"

FIRST, LATER = pytest.param(1, id="first"), pytest.param(2, id="later")


def hold(site: AnySite, source: str, number: int) -> None:
    """Have a process that ends prepare and hold transaction ``number``."""
    if number > 1:
        publish(site.repository, source, 1)
        remake(source, TWO)

    def prepare() -> None:
        repository = site.repository
        with repository.lock(0):
            publish(repository, source, number, until="prepare").transaction.hold(NOTE)

    in_child(prepare)


def before(number: int) -> object:
    return ONE if number > 1 else None


def published(site: AnySite) -> object:
    return read(site.live) if os.path.lexists(site.live) else None


@pytest.mark.parametrize("number", [FIRST, LATER])
def test_it_outlives_its_process_and_every_recovery(site, source, number):
    hold(site, source, number)
    (held,) = site.repository.held()
    assert (held.txn_id, held.note, held.base) == (txn_of(number), NOTE, number - 1)
    assert held.since.endswith("Z")
    assert NOTE in str(held)
    assert txn_of(number) in str(held)
    pictured = site.held()
    assert site.repository.unfinished() == []
    assert site.repository.open_transactions() == [str(held)]
    with site.repository.lock(0):
        for _unused in range(2):
            assert site.repository.recover() == []
    assert site.held() == pictured
    assert site.repository.held() == [held]
    assert published(site) == before(number)
    assert not site.repository.committed(txn_of(number), number - 1)


@pytest.mark.parametrize("number", [FIRST, LATER])
def test_it_is_committed_by_another_process(site, source, number):
    hold(site, source, number)
    with site.repository.lock(0):
        prepared = site.repository.resume(txn_of(number))
        assert prepared is not None
        prepared.commit()
        assert published(site) == (TWO if number > 1 else ONE)
        assert site.repository.committed(txn_of(number), number - 1)
        assert site.repository.resume(txn_of(number)) is None, "before it is finished, too"
        assert site.repository.held() == []
        assert prepared.finish() == []
        assert site.repository.recover() == []
        assert site.repository.resume(txn_of(number)) is None
    assert site.repository.snapshots() == list(range(1, number + 1))
    assert site.repository.committed(txn_of(number), number - 1)
    assert site.staged() == []
    sound(site)
    put(source, "f", "three")
    publish(site.repository, source, number + 1)
    sound(site)
    site.check_held(number + 1)


@pytest.mark.parametrize("number", [FIRST, LATER])
def test_a_commit_that_was_not_finished_is_finished_by_any_recovery(site, source, number):
    hold(site, source, number)

    def commit() -> None:
        with site.repository.lock(0):
            site.repository.resume(txn_of(number)).commit()

    in_child(commit)
    assert site.repository.held() == []
    announced = site.repository.unfinished()
    assert announced
    recover_twice(site, expected=len(announced))
    assert published(site) == (TWO if number > 1 else ONE)
    assert site.repository.committed(txn_of(number), number - 1)
    site.check_held(number)
    sound(site)


@pytest.mark.parametrize("number", [FIRST, LATER])
def test_it_is_rolled_back_by_another_process(site, source, number):
    hold(site, source, number)
    with site.repository.lock(0):
        site.repository.resume(txn_of(number)).rollback()
        assert site.repository.resume(txn_of(number)) is None
        assert site.repository.recover() == []
    assert not site.repository.committed(txn_of(number), number - 1)
    assert site.repository.held() == []
    assert site.staged() == []
    assert published(site) == before(number)
    publish(site.repository, source, number + 2)
    sound(site)


@pytest.mark.parametrize("number", [FIRST, LATER])
def test_nothing_else_is_published_meanwhile(site, source, number):
    hold(site, source, number)
    base = site.repository.manifest() if number > 1 else None
    with pytest.raises(HeldError, match=NOTE), site.repository.lock(0):
        site.repository.begin(txn_of(9), base)
    pictured = site.picture()
    other = site.copy("other", {"f": "other"})
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            run(site.request(other, check=check, conflict="local"))
        assert caught.value.code == "DSG-HELD", caught.value
        assert txn_of(number) in caught.value.message
    assert {**site.picture(), "other": {}} == {**pictured, "other": {}}
    site.check_tidy(other)


def test_readers_go_on_while_it_is_held(site, source):
    hold(site, source, 2)
    bob = site.copy("bob")
    assert site.sync(bob).operation == "clone"
    assert read(bob) == ONE
    assert not site.sync(bob).changed
    assert len(site.repository.held()) == 1


def test_what_never_was_held_is_not_resumed(site, source):
    with site.repository.lock(0):
        assert site.repository.resume(txn_of(1)) is None
        publish(site.repository, source, 1, until="prepare")
        assert site.repository.resume(txn_of(1)) is None
        assert site.repository.held() == []
    recover_twice(site, expected=1)


def test_a_write_behind_our_back_stops_its_commit_and_not_its_rollback(site, source):
    hold(site, source, 2)
    with site.opened() as live:
        put(live, "intruder", "x")
    with site.repository.lock(0):
        with pytest.raises(DsgError) as caught:
            site.repository.resume(txn_of(2)).commit()
        assert caught.value.code == "DSG-DRIFT"
        assert len(site.repository.held()) == 1, "it can be committed once that is put back"
        assert not site.repository.committed(txn_of(2), 1)
        site.repository.resume(txn_of(2)).rollback()
    assert site.repository.held() == []
    assert site.staged() == []


def test_a_note_is_one_line(site, source):
    change = publish(site.repository, source, 1, until="prepare")
    with pytest.raises(DsgError):
        change.transaction.hold("two\nlines")
    change.transaction.rollback()
