# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine promises of a repository at hand, it keeps for one on another host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from _core.sync.status import inspect
from _core.sync.undo_names import undo_names
from _core.sync.verify import verify_repository
from _core.transport.destination import Destination
from hypothesis import settings
from hypothesis.stateful import initialize

from tests.integration import (
    test_engine,
    test_model,
    test_states,
    test_two_clients,
    test_went_back,
)
from tests.integration.support import Link, make, put, read
from tests.transport.remote_site import SshSite


@pytest.fixture(autouse=True)
def fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_two_clients, "ROUNDS", 2)


@pytest.mark.parametrize(("exists", "copy"), test_engine.OPERATIONS)
def test_which_operation_a_run_is(site, exists, copy):
    test_engine.test_which_operation_a_run_is(site, exists, copy, 0)


def test_the_report_of_a_run(site):
    test_engine.test_the_report_of_a_run(site)


@pytest.mark.parametrize(("kinds", "direction"), [("kinds", "both"), ("modes", "pull")])
def test_the_fifteen_states(site, kinds, direction):
    test_states.test_states_without_conflict(site, direction, kinds)


@pytest.mark.parametrize(("choice", "kinds"), [("local", "files"), ("remote", "other kinds")])
def test_conflicts(site, choice, kinds):
    test_states.test_a_choice_for_the_run_takes_effect(site, choice, "both", kinds)


@pytest.mark.parametrize("timeout", [30.0, 0.0])
def test_two_clients_that_change_different_things(site, timeout):
    test_two_clients.test_two_clients_that_change_different_things(site, timeout)


def test_two_clients_that_change_the_same_file(site):
    test_two_clients.test_two_clients_that_change_the_same_file(site)


def test_two_runs_on_one_working_copy(site):
    test_two_clients.test_two_runs_on_one_working_copy(site)


def test_pulls_while_somebody_publishes(site):
    test_two_clients.test_pulls_while_somebody_publishes(site)


def test_status_and_verification_ask_the_host(site):
    ann = site.copy("ann", {"a": "a", "d/b": "b"})
    request = site.request(ann)
    assert not inspect(request).repository_exists
    site.sync(ann)
    put(ann, "a", "changed")
    status = inspect(request)
    assert (status.snapshot, status.last_sync, status.snapshots) == (1, 1, [1])
    assert status.plan.counts()["upload"] == 1
    assert verify_repository(site.name, site.backend, site.destination).sound
    with open(os.path.join(site.live, "d/b"), "r+") as stream:
        stream.write("x")
    assert not verify_repository(site.name, site.backend, site.destination).sound


def test_a_host_is_a_part_of_what_a_working_copy_knows(site):
    """The same path on another host is another repository."""
    ann = site.copy("ann", {"a": "a"})
    site.sync(ann)
    elsewhere = SshSite(site.root, site.destination._replace(label="store2"))
    assert elsewhere.key != site.key
    assert elsewhere.cache(ann) == {}
    site.refused("DSG-REPOSITORY", ann, operation="init", destination=elsewhere.destination)


@pytest.mark.parametrize("by", [1, 3])
def test_a_history_that_overtook_what_is_known_is_refused(site, by):
    test_went_back.test_a_history_that_overtook_what_is_known_is_refused(site, by)


@pytest.mark.parametrize("partly", [False, True])
def test_who_is_behind_a_pruned_history_catches_up(site, partly):
    test_went_back.test_who_is_behind_catches_up(site, 3, pruned=True, partly=partly)


def test_a_damaged_history_is_told_as_it_is_here(site):
    test_went_back.test_where_no_record_tells_it_is_refused(site)


def test_a_history_is_only_asked_who_is_behind_by_several(site, monkeypatch):
    test_went_back.test_a_history_is_only_asked_who_is_behind_by_several(site, monkeypatch)


def test_only_what_changed_since_travels(site):
    """Of a manifest that is known up to some snapshots, the steps since then make the newest."""
    ann, bob = site.copy("ann", {f"d/{n}": str(n) for n in range(50)}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    for number in range(5):
        make(ann, {f"d/{number}": "new", f"more/{number}": "m", f"d/{number + 10}": None})
        site.sync(ann)
    put(bob, "mine", "b")
    assert site.sync(bob).snapshot == 7
    assert read(bob) == read(site.live)
    site.check_sound()


def test_names_are_made_portable_on_both_sides(site):
    """The host gets the new names, of small files, large ones that differ in a part, and links."""
    large = "x" * (3 << 20)
    ann = site.copy("ann", {"d:/large": large, "d:/k?": "k", "l": Link("d:/k?")})
    site.sync(ann, names="normalise")
    wanted = {"d_/large": large, "d_/k_": "k", "l": Link("d_/k_")}
    assert read(ann) == read(site.live) == wanted
    os.rename(os.path.join(ann, "d_"), os.path.join(ann, "d:"))
    with open(os.path.join(ann, "d:/large"), "r+", encoding="ascii") as stream:
        stream.write("changed")
    put(ann, "l", Link("d:/k_"))
    done = site.sync(ann, names="normalise")
    assert (done.plan.counts()["upload"], done.snapshot) == (1, 2)
    assert read(ann) == read(site.live) == {**wanted, "d_/large": "changed" + large[7:]}
    assert len(undo_names(site.request(ann)).names.renames) == 1
    site.check_sound()


_reached: list[Destination] = []


@pytest.fixture(autouse=True)
def reached(shared: Destination) -> Iterator[None]:
    _reached.append(shared)
    yield
    _reached.clear()


class Model(test_model.Model):
    """Random edits, clients and crashes of the client, whose agent outlives it for a moment."""

    @initialize()
    def set_up(self) -> None:
        self.site = SshSite(
            tempfile.mkdtemp(prefix="dsg-model-", dir=test_model.MEMORY), _reached[0]
        )
        self.known = dict.fromkeys(("ann", "bob", "cyd"))
        self.remote = None
        self.snapshots = []


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=6, stateful_step_count=12, deadline=None, derandomize=True, database=None
)
