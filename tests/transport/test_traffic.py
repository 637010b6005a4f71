# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What travels: no manifest where nothing changed, else what changed of it, and the agent once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from _core.sync.engine import run
from _core.transport.package import package

from tests.integration.support import make, put
from tests.tools.sshd import Sshd
from tests.transport.counting import counted
from tests.transport.remote_site import SshSite, destination_of, multiplexed
from tests.transport.test_faults import tmp_path as reachable
from tests.transport.world import World, world

__all__ = ["reachable"]

ENTRIES = 5000
LITTLE = 10_000
"""Bytes: far less than an agent or a manifest, and enough for a few calls and their answers."""


@pytest.fixture(scope="module")
def large(server: Sshd, tmp_path_factory: pytest.TempPathFactory) -> tuple[SshSite, str]:
    """A published tree of many entries, and its working copy: every test leaves them in sync."""
    reached = destination_of(server, options=multiplexed(server))
    site = SshSite(str(tmp_path_factory.mktemp("large")), reached)
    src = site.copy("ann", {f"d{n % 50}/{n}": str(n) for n in range(ENTRIES)})
    run(site.request(src))
    return site, src


def manifest_of(site: SshSite) -> bytes:
    return Path(site.live, ".dsg", "manifest.jsonl").read_bytes()


def compressed(site: SshSite) -> int:
    """Return how long the published manifest is on its way."""
    size = len(zlib.compress(manifest_of(site), 1))
    assert size > 20 * LITTLE
    return size


@pytest.mark.parametrize("check", [False, True])
def test_where_nothing_changed_no_manifest_is_asked_for(large, check):
    site, src = large
    assert compressed(site)
    with counted() as traffic:
        assert not run(site.request(src, check=check)).changed
    assert traffic.sent + traffic.received < LITTLE
    assert traffic.connections == 1
    assert "manifest" not in traffic.verbs
    assert "head" in traffic.verbs, "calls are seen"


def test_of_a_change_the_difference_is_sent(large):
    site, src = large
    whole = compressed(site)
    make(src, {"d1/1": "changed", "new": "n", "d2/2": None})
    with counted() as traffic:
        assert len(run(site.request(src)).plan.steps) == 3
    assert traffic.sent + traffic.received < whole / 10


def test_who_is_behind_by_a_few_gets_what_changed_since(large):
    site, ann = large
    bob = site.copy("bob")
    run(site.request(bob))
    for number in range(3):
        make(ann, {f"d{number + 3}/{number + 3}": "changed", f"new{number}": "n"})
        run(site.request(ann))
    with counted() as traffic:
        assert len(run(site.request(bob)).plan.steps) == 6
    assert "manifest" in traffic.verbs
    assert traffic.sent + traffic.received < compressed(site) / 10


def test_a_whole_manifest_is_compressed(large):
    site, _ann = large
    with counted() as traffic:
        run(site.request(site.copy("new"), check=True))
    assert "manifest" in traffic.verbs
    assert traffic.received < compressed(site) + LITTLE
    assert compressed(site) < len(manifest_of(site)) * 0.6


def test_no_file_is_waited_for(site):
    """However many are published, the other side is waited for as often."""
    turns = []
    for count in (10, 2000):
        one = site.beside(f"of{count}")
        src = one.copy(f"ann{count}", {"a": "a"})
        run(one.request(src))
        make(src, {f"d{n % 7}/{n}": str(n) for n in range(count)})
        with counted() as traffic:
            assert run(one.request(src)).plan.counts()["upload"] == count
        turns.append(traffic.turns)
    assert turns[0] >= 3, "turns are seen"
    assert abs(turns[1] - turns[0]) <= 2, turns


# --- once per version, once per run ---


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as running:
        yield running


def accepted(server: Sshd) -> int:
    """Return how many logins the server has let in."""
    return (server.folder / "log").read_text(encoding="utf-8").count("Accepted ")


def test_the_agent_travels_once_and_one_login_is_enough(host, reachable):
    site = host.site("plain", reachable)
    src = site.copy("ann", {"a": "a"})
    agent = len(package().content())
    assert agent > 10 * LITTLE
    for number, (sent_least, sent_most) in enumerate([(agent, agent + LITTLE), (0, LITTLE)]):
        put(src, "a", str(number))
        before = accepted(host.server)
        with counted() as traffic:
            run(site.request(src))
        assert sent_least <= traffic.sent < sent_most
        assert (traffic.connections, accepted(host.server) - before) == (1, 1)
    for options in ({}, {"check": True}, {"checksum": True}):
        before = accepted(host.server)
        run(site.request(src, **options))
        assert accepted(host.server) - before == 1
