# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd on loopback, and a repository behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _core.transport.destination import Destination

from tests.tools.sshd import Sshd, sshd
from tests.transport.remote_site import SshSite, destination_of, multiplexed


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for tests that leave it as it is."""
    with sshd(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def server_at(server: Sshd) -> Destination:
    """How to reach the server by a connection of one's own."""
    return destination_of(server)


@pytest.fixture
def shared(server: Sshd) -> Destination:
    """How to reach the server by connections that share one."""
    return destination_of(server, options=multiplexed(server))


@pytest.fixture
def site(tmp_path: Path, shared: Destination) -> SshSite:
    """A provisioned repository behind the server, and room for working copies."""
    return SshSite(str(tmp_path), shared)
