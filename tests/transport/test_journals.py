# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal whose transaction another run decides, over a real sshd: asked, waited for, or told of."""

from __future__ import annotations

import json
import os

import pytest
from _core.sync.engine import run
from _core.sync.recovery import preview, recover
from _core.sync.status import inspect

from tests.integration.children import at_once
from tests.integration.support import read, refused
from tests.integration.test_bad_input import crashed
from tests.transport.remote_site import SshSite


@pytest.fixture
def elsewhere(site: SshSite) -> SshSite:
    """Another host for all that a working copy knows, with a repository of its own."""
    return SshSite(site.root, site.destination._replace(label="store2"), "other")


def test_what_is_written_down_of_a_host_is_its_name(site):
    bob = crashed(site)
    with open(os.path.join(bob, ".dsg", "journal"), encoding="utf-8") as stream:
        head = json.loads(stream.readline())
    assert head["host"] == site.destination.name
    known = ("format", "txn_id", "decision", "repository", "backend", "key", "snapshot", "host")
    assert set(head) == set(known)


def test_another_repository_on_the_same_host_decides(site):
    """It is reached as the present run reaches the host."""
    bob = crashed(site)
    other = site.beside("other")
    assert any("is to be finished" in line for line in inspect(other.request(bob)).unfinished)
    recovered = run(other.request(bob)).recovered
    assert any("finished transaction" in line for line in recovered)
    assert read(bob) == read(site.live) == read(other.live)
    site.check_tidy(bob)


@pytest.mark.parametrize("local", [False, True], ids=["another host", "this host"])
def test_another_host_is_not_reached_but_named(site, elsewhere, local):
    bob = crashed(site)
    request = elsewhere.request(bob, **({"destination": None} if local else {}))
    for check in (True, False):
        error = refused(
            site, "DSG-WORKING-COPY", lambda check=check: run(request._replace(check=check))
        )
        assert "host 'store1' decides it" in error.message
        assert "dsg.storage.recover" in error.next_step and "'store1'" in error.next_step
    place = (bob, elsewhere.name, elsewhere.backend)
    for found in (
        inspect(request).unfinished,
        preview(*place, destination=request.destination),
    ):
        assert any("host 'store1' decides it" in line for line in found)
    refused(
        site,
        "DSG-WORKING-COPY",
        lambda: recover(*place, lock_timeout=0.0, destination=request.destination),
    )
    site.recover(bob)
    run(request)
    assert read(bob) == read(site.live) == read(elsewhere.live)
    site.check_tidy(bob)


def test_hosts_that_are_recovered_together_wait_for_the_one_that_decides(site, elsewhere):
    bob = crashed(site)
    place = (bob, elsewhere.name, elsewhere.backend)
    found = at_once(
        lambda: recover(*place, lock_timeout=30.0, destination=elsewhere.destination),
        lambda: site.recover(bob),
    )
    assert all(isinstance(done, list) for done in found), found
    assert any("finished transaction" in line for line in found[0] + found[1])
    assert read(bob) == read(site.live)
    site.check_tidy(bob)
