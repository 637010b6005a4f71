# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What fails behind the commit point: the transaction happened, and is told so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from _core.backends.directory.held import HeldTransaction
from _core.backends.directory.transaction import DirectoryTransaction
from _core.errors import RepositoryError, Unfinished
from _core.sync.engine import run
from _core.upkeep.restore import RestoreRequest, restore

from tests.integration.fleets import Fleet
from tests.integration.support import Site, make, read, site

__all__ = ["site"]

FAILURES = [
    OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)),  # where a process cannot be started
    RepositoryError("zfs promote failed", object="tank/x"),
]


@pytest.fixture(params=FAILURES, ids=lambda failure: type(failure).__name__)
def failure(request: pytest.FixtureRequest) -> Exception:
    """What tidying up meets."""
    found: Exception = request.param
    return found


def spoil(patch: pytest.MonkeyPatch, kind: type, failure: Exception) -> None:
    """Have every tidying up of that kind of transaction fail."""

    def finish(_self: object) -> list[str]:
        raise failure

    patch.setattr(kind, "finish", finish)


def test_sync_is_done_and_recovery_tidies_up(site: Site, failure: Exception) -> None:
    src = site.copy("ann", {"f": "1"})
    site.sync(src)
    make(src, {"f": "2"})
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, DirectoryTransaction, failure)
        result = site.sync(src)
    assert (result.changed, result.snapshot) == (True, 2)
    assert any("tidying up has to wait" in line for line in result.pending_cleanup)
    assert read(site.live) == {"f": "2"}
    site.recover(src)
    assert site.staged() == []
    assert [one.number for one in site.repository.shelf().stored] == [1, 2]


def test_restore_is_done(site: Site, failure: Exception) -> None:
    src = site.copy("ann", {"f": "1"})
    site.sync(src)
    make(src, {"f": "2"})
    site.sync(src)
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, DirectoryTransaction, failure)
        result = restore(site.repository, RestoreRequest(1))
    assert result.snapshot == 3
    assert any("tidying up has to wait" in line for line in result.pending_cleanup)
    assert read(site.live) == {"f": "1"}


def test_fleet_is_done_on_every_host(tmp_path: Path, failure: Exception) -> None:
    fleet = Fleet(str(tmp_path))
    fleet.edit({"f": "1"})
    results = fleet.prepare_all()
    fleet.decide("commit", results)
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, HeldTransaction, failure)
        done = fleet.finish_all()
    assert all("tidying up has to wait" in str(one.pending_cleanup + one.recovered) for one in done)
    assert fleet.published() == [{"f": "1"}] * 3
    fleet.recover_all()
    fleet.check_tidy()


def test_commit_that_fails_when_it_happened_says_so(site: Site) -> None:
    """What is not tidying up, though: the answer is lost in the middle of the commit itself."""
    src = site.copy("ann", {"f": "1"})
    site.sync(src)
    make(src, {"f": "2"})
    commit = DirectoryTransaction.commit

    def lost(self: DirectoryTransaction) -> None:
        commit(self)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Unfinished) as told:
        patch.setattr(DirectoryTransaction, "commit", lost)
        run(site.request(src))
    assert "committed, then failed" in told.value.message
    site.recover(src)
    assert site.sync(src).snapshot == 2
    assert read(site.live) == {"f": "2"}
