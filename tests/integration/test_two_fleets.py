# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two control nodes that publish to the same hosts at once: one state everywhere, and nobody waits."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import pytest
from _core.client.fleet import COMMIT, ROLLBACK, fleets
from _core.client.working_copy import WorkingCopy
from _core.errors import DsgError

from tests.integration.children import at_once
from tests.integration.fleets import Fleet
from tests.integration.support import put, read

ROUNDS = 20
CLEAR = {"DSG-HELD", "DSG-LOCKED", "DSG-BEHIND", "DSG-CONFLICT"}
"""What the one is told who came second: wait, or fetch what is newer."""


@pytest.fixture
def nodes(tmp_path: Path) -> list[Fleet]:
    """Ann's and Bob's working copies of the tree that three hosts publish."""
    ann, bob = Fleet(str(tmp_path)), Fleet(str(tmp_path))
    bob.src = os.path.join(bob.root, "bob")
    os.mkdir(bob.src)
    ann.edit({"f": "f", "d/g": "g"})
    for node in (ann, bob):
        for host in node.sites:
            node.full(host)
    return [ann, bob]


class Fared(NamedTuple):
    """What became of one node's turn: what it was told, and how many hosts it had prepared."""

    told: list[str]
    prepared: int


def publish(
    node: Fleet, name: str, hosts: Sequence[str], meet: Barrier | None = None, behind: int = 0
) -> Callable[[], Fared]:
    """Return a playbook's way through the phases on hosts in an order.

    When ``behind`` of the hosts were asked, the other node is waited for, which is to be as far.
    """

    def work() -> Fared:
        told, prepared = [], {}
        for number, host in enumerate(hosts):
            if meet is not None and number == behind:
                meet.wait(60.0)
            try:
                result = node.prepare(host, fleet=name, coordinator=os.getpid(), lock_timeout=2.0)
            except DsgError as exc:
                assert exc.next_step, exc
                told.append(exc.code)
            else:
                prepared[host] = result.txn_id
        phase = ROLLBACK if told else COMMIT
        for host, txn_id in prepared.items():
            assert node.finish(host, phase, fleet=name, txn_id=txn_id).txn_id == txn_id
        node.finish(hosts[0], phase, fleet=name)  # the record may be left, with nobody in it
        return Fared(told, len(prepared))

    return work


def catch_up(node: Fleet) -> None:
    """Fetch what others published, from every host: their records are to be known, too."""
    for host in node.sites:
        node.full(host, direction="pull")


def check_one_state(nodes: list[Fleet]) -> None:
    """All hosts publish the same tree, in as many steps, and hold nothing."""
    for node in nodes:
        assert fleets(WorkingCopy(node.src)) == []
        assert all(tree == node.published()[0] for tree in node.published())
        assert len(set(node.snapshots())) == 1, node.snapshots()
        node.check_tidy()


def test_two_control_nodes_at_once(nodes: list[Fleet]) -> None:
    """The orders of the hosts differ, as they may between inventories: who has some, lacks others."""
    chance = random.Random(17)
    hosts = list(nodes[0].sites)
    gone_back = 0
    for turn in range(ROUNDS):
        works = []
        before = nodes[0].snapshots()[0]
        meet = multiprocessing.get_context("fork").Barrier(2)
        for number, node in enumerate(nodes):
            put(node.src, f"by-{number}", str(turn))
            order = hosts[:: (1, -1)[number]] if turn % 2 else chance.sample(hosts, len(hosts))
            works.append(publish(node, f"turn-{turn}-{number}", order, meet, behind=turn % 3))
        fared = at_once(*works)
        assert all(isinstance(one, Fared) for one in fared), fared
        assert {code for one in fared for code in one.told} <= CLEAR, fared
        gone_back += sum(one.prepared for one in fared if one.told)
        check_one_state(nodes)
        assert nodes[0].snapshots()[0] == before + [one.told for one in fared].count([]), fared
        for node in nodes:
            catch_up(node)
    assert gone_back > 0, "they never met"
    for number, node in enumerate(nodes):
        catch_up(node)
        put(node.src, f"by-{number}", "at last")
        assert publish(node, f"last-{number}", hosts)().told == []
    catch_up(nodes[0])
    check_one_state(nodes)
    assert nodes[0].published() == [read(nodes[0].src)] * 3
    assert read(nodes[0].src) == read(nodes[1].src)


@pytest.mark.parametrize("first", [0, 1])
def test_each_holds_a_host_that_the_other_one_wants(nodes: list[Fleet], first: int) -> None:
    """No waiting in a circle: each is refused at once, goes back, and the next one gets through."""
    put(nodes[0].src, "f", "from ann")
    put(nodes[1].src, "d/g", "from bob")
    old = nodes[0].published()
    for node, (one, other) in zip(nodes, (("h1", "h3"), ("h3", "h1"))):
        node.prepare(one, fleet=f"of-{one}")
        assert node.sites[other].repository.held() == [] or node is nodes[1]
    for node, other, name in ((nodes[0], "h3", "of-h1"), (nodes[1], "h1", "of-h3")):
        with pytest.raises(DsgError) as caught:
            node.prepare(other, fleet=name)
        assert caught.value.code == "DSG-HELD"
        assert "held since" in str(caught.value)
    for node, one in ((nodes[0], "h1"), (nodes[1], "h3")):
        node.finish(one, ROLLBACK, fleet=f"of-{one}")
    assert nodes[0].published() == old
    check_one_state(nodes)
    assert publish(nodes[first], "again", ["h1", "h2", "h3"])().told == []
    check_one_state(nodes)
    assert nodes[0].published() == [read(nodes[first].src)] * 3
