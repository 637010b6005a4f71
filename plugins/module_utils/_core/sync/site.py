# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a request to the repository that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..backends.base import Repository
from ..transport.connect import repository_at
from .request import SyncRequest


@contextmanager
def repository_of(request: SyncRequest) -> Iterator[Repository]:
    """Give the repository for the block, on whatever host it is."""
    with repository_at(request.destination, request.backend, request.repository) as repository:
        yield repository
