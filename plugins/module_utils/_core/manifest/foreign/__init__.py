# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests in the forms of other tools, so that others can verify with what they have.

No foreign form carries everything. What a form leaves out is never dropped in silence:
:func:`unexpressed` names the entries, ``Form.fields`` the fields of files that it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Callable, NamedTuple

from ..entry import DIRECTORY, FILE, LINK, Entry
from . import bagit, mtree, sha256sum
from .partial import ALL_FIELDS, Differences, Partial, compare

__all__ = [
    "ALL_FIELDS",
    "FORMATS",
    "FORMS",
    "Differences",
    "Form",
    "Partial",
    "compare",
    "unexpressed",
]

FORMATS = ("native", "sha256sum", "mtree", "bagit")
"""Every form that a manifest can be written in."""


class Form(NamedTuple):
    """One foreign form.

    ``kinds`` are the kinds of entries, and ``fields`` the fields of files, that it can carry.
    ``dump`` yields the bytes for entries that are sorted by path and hashed. ``parse`` reads a
    binary file, called by a name in errors, and raises :class:`ManifestError` for malformed input.
    For BagIt they write and read the payload manifest alone; :mod:`.bag_write` and
    :mod:`.bag_read` are for whole bags.
    """

    kinds: frozenset[str]
    fields: frozenset[str]
    dump: Callable[[Iterable[Entry]], Iterator[bytes]]
    parse: Callable[[BinaryIO, str], Partial]


FORMS = {
    "sha256sum": Form(frozenset((FILE,)), sha256sum.FIELDS, sha256sum.dump, sha256sum.parse),
    "mtree": Form(frozenset((FILE, LINK, DIRECTORY)), mtree.FIELDS, mtree.dump, mtree.parse),
    "bagit": Form(frozenset((FILE,)), bagit.FIELDS, bagit.dump, bagit.parse),
}


def unexpressed(form: str, entries: Iterable[Entry]) -> list[str]:
    """Return the paths of links and empty directories that ``form`` has no words for."""
    if form not in FORMS:
        return []
    kinds = FORMS[form].kinds
    return [entry.path for entry in entries if entry.kind not in kinds]
