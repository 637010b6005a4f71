# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chained history of a published tree, read backwards from its manifest.

The manifest's ``id`` says which step is the newest, each step's ``parent`` which one was before it: so
no step can be missing or be another one without its being noticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..backends import published
from ..backends.base import LocalRepository
from ..errors import ManifestError, RepositoryError, from_oserror
from ..manifest import delta
from ..manifest.delta import Step
from ..manifest.header import Header


def newest_header(repository: LocalRepository) -> Header:
    """Return the header of what is published; :class:`RepositoryError` where nothing is."""
    header = repository.head()
    if header is None:
        raise RepositoryError(
            "the repository does not exist",
            object=repository.name,
            next_step="Correct repository or backend.",
        )
    return header


class History:
    """The steps of the tree at ``root``, whose manifest has the header ``newest``.

    Reading raises :class:`ManifestError` that names the step that is missing, damaged or not of this
    chain, as soon as it is met; what was yielded before is sound.
    """

    def __init__(self, root: str, newest: Header) -> None:
        self.root = root
        self.newest = newest

    def headers(self) -> Iterator[Header]:
        """Yield the headers alone, the newest first; what they announce is not looked at."""
        expected = self.newest.id
        for number in range(self.newest.snapshot, 0, -1):
            try:
                header = published.read_history_header(self.root, number)
            except (ManifestError, OSError) as exc:
                raise self._broken(number, _reason(exc)) from exc
            yield self._linked(header, number, expected)
            expected = header.parent

    def steps(self) -> Iterator[Step]:
        """Yield whole steps, the newest first."""
        expected = self.newest.id
        for number in range(self.newest.snapshot, 0, -1):
            try:
                step = read_step(self.root, number)
            except ManifestError as exc:
                raise self._broken(number, exc.message) from exc
            self._linked(step.header, number, expected)
            yield step
            expected = step.header.parent

    def _linked(self, header: Header, number: int, expected: str) -> Header:
        if header.snapshot != number:
            raise self._broken(number, f"the record is of s{header.snapshot}")
        if header.id != expected:
            is_newest = number == self.newest.snapshot
            child = "the manifest tells of" if is_newest else f"s{number + 1} continues"
            raise self._broken(number, f"the record is not the one that {child}")
        return header

    def _broken(self, number: int, problem: str) -> ManifestError:
        return ManifestError(
            f"the history is broken at s{number}: {problem}",
            object=published.history_path(self.root, number),
            next_step=f"Restore this file from a backup or from a snapshot later than s{number - 1} "
            "that is kept; `dsg.storage.verify` names everything that is damaged.",
        )


def read_step(root: str, number: int) -> Step:
    """Read one step by itself; :class:`ManifestError` where it is missing, damaged or unreadable."""
    path = published.history_path(root, number)
    try:
        return delta.read_step(published.read_history(root, number), path)
    except OSError as exc:
        raise ManifestError(_reason(exc), object=path) from exc


def _reason(exc: ManifestError | OSError) -> str:
    return (
        exc.message if isinstance(exc, ManifestError) else from_oserror(exc, "reading it").message
    )
