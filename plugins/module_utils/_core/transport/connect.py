# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a destination to a repository: where the work is done here, or asked of a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..backends.base import Repository
from ..backends.registry import check_backend, open_repository
from .channel import Channel
from .destination import Destination
from .errors import NoClientError
from .openssh import OpenSsh
from .remote import RemoteRepository


@contextmanager
def repository_at(
    destination: Destination | None, backend: Mapping[str, object], name: str
) -> Iterator[Repository]:
    """Give the repository for the block: on this host (None), or on another one.

    A connection is begun at once and awaited with the first question; it ends with the block.
    """
    if destination is None:
        yield open_repository(backend, name)
        return
    destination.check()
    check_backend(backend)
    remote = RemoteRepository(destination, backend, name, connect)
    try:
        yield remote
    finally:
        remote.close()


def destination_of(repository: Repository) -> Destination | None:
    """Return how the repository's host is reached, None for this one."""
    return repository.destination if isinstance(repository, RemoteRepository) else None


def connect(destination: Destination) -> Channel:
    """Start the agent's command on the host; by OpenSSH's client, unless it is absent or no help."""
    if destination.password is None:
        try:
            return OpenSsh(destination)
        except NoClientError:
            pass
    from .paramiko_channel import ParamikoChannel  # an optional package

    return ParamikoChannel(destination)
