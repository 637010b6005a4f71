# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the names of a working copy, by the policy of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..errors import PathError, capped
from ..manifest.ignore import FILE_NAME, Ignore
from ..manifest.paths import check_links, check_paths, show
from ..manifest.portable import Names, normalise, unchanged
from ..manifest.scan import Scan
from ..plan.policy import ANY, PORTABLE


def names_of(
    scan: Scan | None, policy: str, ignore: Ignore, is_published: Callable[[str], bool]
) -> Names:
    """Return what is to be renamed in the tree that was scanned; nothing with the policy ``any``.

    Raises :class:`PathError` for names that break a rule and cannot be made to keep it, with the policy
    ``portable`` for all that would have to be renamed, and for what is ignored under one name only.
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
    if names:
        _Sides(scan.root, ignore, names).check()
    else:
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


class _Sides:
    """On which side of the ignore patterns everything is, before and behind a renaming.

    What is ignored moves along with its directory. Under a name that no pattern matches the next sync
    would publish it; and what a pattern matches only then would vanish from what is published.
    """

    def __init__(self, root: str, ignore: Ignore, names: Names) -> None:
        self._root = root
        self._ignore = ignore
        self._names = names

    def check(self) -> None:
        """Raise :class:`PathError` for whatever changes sides."""
        found = list(self._findings())
        if not found:
            return
        number = "One path is" if len(found) == 1 else f"{len(found)} paths are"
        raise PathError(
            f"names cannot be made portable: {number} ignored under one name, and not under the other",
            details=capped(found),
            next_step=(
                f"Add a pattern for each new name to `{FILE_NAME}` or `ignore` (with `!` for what must "
                "not be ignored), and leave the present ones; or rename the directories yourself."
            ),
        )

    def _findings(self) -> Iterator[str]:
        for old, new in self._names.renames:
            if FILE_NAME in (old, new):
                yield f"{show(old)}: would be {show(new)}, and {FILE_NAME} says what is ignored"
        if not self._ignore:
            return
        for old, new in self._names.renames:
            # What lies deeper is come across on the way from the topmost one.
            if old.rpartition("/")[0] not in self._names.moved and self._is_directory(old):
                yield from self._below(old, new)

    def _is_directory(self, path: str) -> bool:
        full = os.path.join(self._root, path)
        return os.path.isdir(full) and not os.path.islink(full)

    def _below(self, top: str, new_top: str) -> Iterator[str]:
        waiting = [(top, new_top)]
        while waiting:
            directory, new_directory = waiting.pop()
            with os.scandir(os.path.join(self._root, directory)) as listed:
                children = sorted((one.name, one.is_dir(follow_symlinks=False)) for one in listed)
            for name, is_dir in children:
                old = f"{directory}/{name}"
                new = self._names.moved.get(old, f"{new_directory}/{name}")
                before, behind = self._ignore.covers(old, is_dir), self._ignore.covers(new, is_dir)
                if before != behind:
                    yield self._finding(old if before else new, is_dir, old, new)
                elif is_dir and not before:  # all that an ignored directory holds is ignored
                    waiting.append((old, new))

    def _finding(self, ignored: str, is_dir: bool, old: str, new: str) -> str:
        pattern = show(self._ignore.reason(ignored, is_dir))
        if ignored == old:
            return f"{show(old)}: ignored by {pattern}, and would not be as {show(new)}"
        return f"{show(old)}: not ignored, and would be by {pattern} as {show(new)}"


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
