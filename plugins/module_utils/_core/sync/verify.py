# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Re-hash published trees and check their chain of manifests, wherever the repository is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import from_oserror
from ..transport.ask import ask
from ..transport.connect import repository_at
from ..transport.destination import Destination


class Verification(NamedTuple):
    """What was found, as :func:`..upkeep.verify.verify` tells it."""

    sound: bool
    snapshot: int
    digest: str
    files: int
    bytes: int
    trees: list[dict[str, Any]]
    counts: dict[str, int]
    problems: list[dict[str, Any]]


def verify_repository(
    repository: str,
    backend: Mapping[str, object],
    destination: Destination | None = None,
    snapshots: Sequence[str] = ("newest",),
) -> Verification:
    """Re-hash every file of the published tree and of the chosen snapshots; changes nothing."""
    try:
        with repository_at(destination, backend, repository) as held:
            return Verification(**ask(held, "verify", snapshots=list(snapshots)))
    except OSError as exc:
        raise from_oserror(exc, "verifying") from exc
