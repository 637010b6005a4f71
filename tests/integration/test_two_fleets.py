# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two control nodes that publish to the same hosts at once: one state everywhere, and nobody waits."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

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


def publish(node: Fleet, name: str, hosts: Sequence[str]) -> Callable[[], list[str]]:
    """Return a playbook's way through the phases on hosts in an order; it returns the errors."""

    def work() -> list[str]:
        coordinator = os.getpid()
        told, prepared = [], {}
        for host in hosts:
            try:
                result = node.prepare(host, fleet=name, coordinator=coordinator, lock_timeout=2.0)
            except DsgError as exc:
                assert exc.next_step, exc
                told.append(exc.code)
            else:
                prepared[host] = result.txn_id
        phase = ROLLBACK if told else COMMIT
        for host, txn_id in prepared.items():
            assert node.finish(host, phase, fleet=name, txn_id=txn_id).txn_id == txn_id
        node.finish(hosts[0], phase, fleet=name)  # the record may be left, with nobody in it
        return told

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
    fared: Counter[str] = Counter()
    for turn in range(ROUNDS):
        works = []
        before = nodes[0].snapshots()[0]
        for number, node in enumerate(nodes):
            put(node.src, f"by-{number}", str(turn))
            order = hosts[:: (1, -1)[number]] if turn % 2 else chance.sample(hosts, len(hosts))
            works.append(publish(node, f"turn-{turn}-{number}", order))
        told = at_once(*works)
        for one in told:
            assert isinstance(one, list), one
            assert set(one) <= CLEAR, one
            fared["lost" if one else "won"] += 1
        check_one_state(nodes)
        assert nodes[0].snapshots()[0] == before + told.count([]), told
        for node in nodes:
            catch_up(node)
    assert fared["lost"] > 0, "they never met"
    for number, node in enumerate(nodes):
        catch_up(node)
        put(node.src, f"by-{number}", "at last")
        assert publish(node, f"last-{number}", hosts)() == []
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
    assert publish(nodes[first], "again", ["h1", "h2", "h3"])() == []
    check_one_state(nodes)
    assert nodes[0].published() == [read(nodes[first].src)] * 3
