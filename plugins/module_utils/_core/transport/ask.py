# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs that are done where the repository is."""

from __future__ import annotations

from typing import Any, cast

from ..backends.base import LocalRepository, Repository
from .remote import RemoteRepository


def ask(repository: Repository, job: str, **arguments: object) -> Any:
    """Have a job done (see :mod:`..upkeep.jobs`); return its answer, plain data."""
    if isinstance(repository, RemoteRepository):
        return repository.ask(job, arguments)
    from ..upkeep import jobs  # costs its import only where it is used

    return jobs.run(cast(LocalRepository, repository), job, arguments)
