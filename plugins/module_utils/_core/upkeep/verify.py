# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Published trees read in full and checked against their manifests, and the manifests' chain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..backends.base import LocalRepository
from ..errors import ArgumentError, ManifestError, RepositoryError
from .verification import Verification, pinned

NEWEST, ALL = "newest", "all"

_NUMBER = re.compile(r"s?([1-9][0-9]{0,9})", re.ASCII)


def verify(
    repository: LocalRepository, *, snapshots: Sequence[str] = (NEWEST,), limit: int = 0
) -> dict[str, Any]:
    """Read the published tree and the chosen snapshots' trees in full; changes nothing.

    ``snapshots`` holds ``newest`` (the published tree, which is read in any case), ``all`` (every one
    that is kept) or numbers. The answer has

    - ``sound``: whether all of it is as it was published;
    - ``snapshot``, ``digest``, ``files``, ``bytes``: what the published tree's manifest says;
    - ``trees``: one for each tree, in the order of their numbers, with ``snapshot``, ``live`` (the
      published tree itself), ``sound``, ``checked`` (whether there was a manifest to compare it with),
      ``gone`` (it was removed meanwhile, which is no damage), ``files`` and ``bytes`` by its manifest,
      ``read_bytes``, and ``problems``, their number;
    - ``counts``: the number of problems of each kind;
    - ``problems``, up to ``limit`` (0: all): ``snapshot``, ``live``, ``path``, ``what`` (missing, added,
      content, mode, type, target, time, unreadable, manifest, history, snapshot) and ``detail``.

    What cannot be read is a problem like any other. Raises :class:`RepositoryError` where there is no
    repository or a snapshot is not kept, and :class:`ArgumentError`.
    """
    numbers = chosen(snapshots)
    with pinned(_root(repository)) as root:
        return Verification(repository, root, numbers).run().answer(limit)


def chosen(snapshots: Sequence[str]) -> set[int] | None:
    """Return the numbers that are asked for, None for all."""
    words = [str(word).strip() for word in snapshots]
    if ALL in words:
        return None
    numbers = set()
    for word in words:
        number = _NUMBER.fullmatch(word)
        if number:
            numbers.add(int(number[1]))
        elif word != NEWEST:
            raise ArgumentError("snapshots takes newest, all, or numbers", object=word)
    return numbers


def _root(repository: LocalRepository) -> str:
    try:
        if repository.head() is None:
            raise RepositoryError(
                "the repository does not exist",
                object=repository.name,
                next_step="Correct repository or backend.",
            )
    except (ManifestError, OSError):
        pass  # told as a problem of the tree, if there is one
    return repository.tree()
