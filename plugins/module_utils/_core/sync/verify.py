# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Re-hash a published tree and check its chain of manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..backends.base import Repository
from ..errors import RepositoryError, from_oserror
from ..manifest.compare import Difference, compare_trees
from ..transport.connect import repository_at
from ..transport.destination import Destination


@dataclass
class Verification:
    """What was found; ``snapshot`` … ``bytes`` are the manifest's own figures."""

    snapshot: int
    digest: str
    files: int
    bytes: int
    difference: Difference = field(default_factory=Difference)
    chain_problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether tree, manifest and history agree."""
        return not (self.difference or self.chain_problems)


def verify_repository(
    repository: str, backend: Mapping[str, object], destination: Destination | None = None
) -> Verification:
    """Re-hash every published file of the newest snapshot; changes nothing."""
    try:
        with repository_at(destination, backend, repository) as held:
            return _verify(held)
    except OSError as exc:
        raise from_oserror(exc, "verifying") from exc


def _verify(held: Repository) -> Verification:
    if held.head() is None:
        raise RepositoryError(
            "the repository does not exist",
            object=held.name,
            next_step="Correct repository or backend.",
        )
    manifest = held.manifest()
    header = manifest.header
    return Verification(
        snapshot=header.snapshot,
        digest=header.digest,
        files=header.files,
        bytes=header.bytes,
        difference=compare_trees(manifest.entries, held.rehashed()),
        chain_problems=held.chain_problems(),
    )
