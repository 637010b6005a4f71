# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of an agent that are longer than any frame may be: nothing of what it found is lost."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from _core.errors import DsgError
from _core.sync.verify import verify_repository
from _core.transport.ask import ask
from _core.transport.connect import repository_at
from _core.transport.frames import MAX_FRAME

from tests.integration.support import read
from tests.transport.remote_site import SshSite

FILES = 3000
DEPTH = 15
LONG = "\x01" * 250


@pytest.fixture
def littered(site: SshSite) -> SshSite:
    """A published tree with files of somebody else, in paths of 4000 bytes of which each is six in JSON."""
    site.sync(site.copy("ann", {"f": "f"}))
    fds = [os.open(site.live, os.O_RDONLY)]
    for _unused in range(DEPTH):
        os.mkdir(LONG, dir_fd=fds[-1])
        fds.append(os.open(LONG, os.O_RDONLY, dir_fd=fds[-1]))
    for number in range(FILES):
        name = f"{LONG[:200]}{number}"
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=fds[-1]))
    for fd in fds:
        os.close(fd)
    return site


def test_every_finding_of_a_verification_arrives(littered: SshSite) -> None:
    """As many as there are: whoever has to mend a tree needs them all, and the connection lives on."""
    site = littered
    there = verify_repository(site.name, site.backend)
    assert len(json.dumps(there.problems)) > MAX_FRAME, "it would fit into a frame"
    assert there.counts == {"added": FILES}
    here = verify_repository(site.name, site.backend, site.destination)
    assert here == there
    src = site.copy("ann", {"f": "newer"})
    before = read(src)
    assert site.refused("DSG-DRIFT", src).host == site.destination.name
    assert read(src) == before
    shutil.rmtree(os.path.join(site.live, LONG))
    site.sync(src)
    assert verify_repository(site.name, site.backend, site.destination).sound


def test_a_connection_goes_on_behind_a_long_answer(littered: SshSite) -> None:
    """What is asked next gets an answer of its own, and the lock is held all the time."""
    site = littered
    with repository_at(site.destination, site.backend, site.name) as held, held.lock(10.0):
        found = ask(held, "verify")
        assert len(found["problems"]) == FILES
        assert len(json.dumps(found)) > MAX_FRAME
        assert held.snapshots() == [1]
        assert held.recover() == []
        with pytest.raises(DsgError) as caught, site.repository.lock(0):
            pass
        assert caught.value.code == "DSG-LOCKED"
