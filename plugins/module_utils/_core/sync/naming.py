# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the names of a working copy, by the policy of a run."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..errors import PathError, capped
from ..manifest.ignore import Ignore
from ..manifest.paths import check_links, check_paths, show
from ..manifest.portable import Names, normalise, unchanged
from ..manifest.scan import Scan
from ..plan.policy import ANY, PORTABLE


def names_of(
    scan: Scan | None, policy: str, ignore: Ignore, is_published: Callable[[str], bool]
) -> Names:
    """Return what is to be renamed in the tree that was scanned; nothing with the policy ``any``.

    Raises :class:`PathError` for names that break a rule and cannot be made to keep it, and with the
    policy ``portable`` for all that would have to be renamed.
    """
    if scan is None or policy == ANY:
        return unchanged()
    paths, links = scan.paths(), scan.links()
    names = normalise(
        paths, links, established=is_published, refused=_Taken(scan.root, ignore).is_taken
    )
    if policy == PORTABLE and names:
        raise _not_portable(names)
    check_paths([names.moved.get(path, path) for path in paths])
    links = {names.moved.get(path, path): target for path, target in links.items()}
    links.update({one.path: one.new for one in names.retargets})
    check_links(links.items())
    if not names:
        scan.vouch_for_names()
    return names


class _Taken:
    """New names that something has already which is no entry, or that the ignore patterns match."""

    def __init__(self, root: str, ignore: Ignore) -> None:
        self._root = root
        self._ignore = ignore

    def is_taken(self, path: str, new: str) -> bool:
        old = os.path.join(self._root, path)
        beside = os.path.join(os.path.dirname(old), os.path.basename(new))
        is_directory = os.path.isdir(old) and not os.path.islink(old)
        return os.path.lexists(beside) or self._ignore.covers(new, is_directory)


def _not_portable(names: Names) -> PathError:
    details = [f"{show(old)}: would be {show(new)}" for old, new in names.renames]
    number = "One name is" if len(names.renames) == 1 else f"{len(names.renames)} names are"
    return PathError(
        f"{number} not portable",
        details=capped(details),
        next_step=(
            "Rename them, or ignore them; or let the sync do it with `names: normalise`, which "
            "`--check --diff` shows before."
        ),
    )
