# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done where the repository is, by name: on this host, or by the agent of another one.

A job is a function of a repository and of plain data that returns plain data (what JSON can hold).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..backends.base import LocalRepository
from ..errors import ArgumentError

Job = Callable[..., Any]


# A job is imported when it is asked for, by a statement: what packs modules for hosts reads those.
def _log() -> Job:
    from .log import log

    return log


def _blame() -> Job:
    from .blame import blame

    return blame


def _versions() -> Job:
    from .blame import versions

    return versions


def _verify() -> Job:
    from .verify import verify

    return verify


def _standing() -> Job:
    from .standing import standing

    return standing


JOBS: dict[str, Callable[[], Job]] = {
    "log": _log,
    "blame": _blame,
    "versions": _versions,
    "verify": _verify,
    "standing": _standing,
}


def run(repository: LocalRepository, job: str, arguments: Mapping[str, Any]) -> Any:
    """Do a job; the answer is plain data."""
    load = JOBS.get(job)
    if load is None:
        raise ArgumentError(f"there is no job {job!r}")
    return load()(repository, **arguments)
