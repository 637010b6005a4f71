# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed behind the commit, and recovered where other inode numbers are, or names cannot be exchanged.

A working copy that is put back from a backup has other numbers than its journal; so has one on a file
system that numbers inodes at every mount. Whatever recovery makes of it: what is published stays.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _core.client.transaction import ClientTransaction
from _core.sync.engine import run
from _core.sync.undo_names import undo_names

from tests.integration.children import ANY_FLAG, Killed, die_at, in_child, without_renameat2
from tests.integration.support import EMPTY, Link, Node, Site, make, put, read

BEFORE: dict[str, Node] = {
    "same": "same",
    "changed": "before",
    "gone": "gone",
    "clash": "before",
    "clash-gone": "before",
    "link": Link("same"),
    "to-dir": "a file",
    "to-file/inside": "in a directory",
    "d/e/gone": "alone in its directory",
}
PUBLISHED: dict[str, Node | None] = {
    "changed": "changed by ann",
    "gone": None,
    "clash": "changed by ann, too",
    "clash-gone": None,
    "link": Link("changed"),
    "to-dir": None,
    "to-dir/inside": "was a file",
    "to-file": "was a directory",
    "d/e/gone": None,
    "new/in/directories": "new",
    "empty": EMPTY,
}
MINE: dict[str, Node] = {"clash": "of bob", "clash-gone": "of bob, and not published"}
FINAL = {path: node for path, node in {**BEFORE, **PUBLISHED}.items() if node is not None}
FINAL.pop("to-file/inside")
FINAL["d/e"] = EMPTY


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A base directory and room for working copies, with room beside it."""
    (tmp_path / "site").mkdir()
    return Site(str(tmp_path / "site"))


def prepared(site: Site) -> str:
    """Return a working copy that is to be brought up to date."""
    ann, bob = site.copy("ann", BEFORE), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    make(ann, PUBLISHED)
    site.sync(ann)
    make(bob, MINE)
    return bob


def dying(number: int) -> Callable[[], None]:
    """Return what lets a child be killed at its n-th changing call behind the commit."""

    def before() -> None:
        commit = ClientTransaction.commit

        def deadly(self: ClientTransaction, journal: object) -> object:
            die_at(number)()
            return commit(self, journal)  # type: ignore[arg-type]

        ClientTransaction.commit = deadly  # type: ignore[assignment,method-assign]

    return before


def renumber(root: str) -> None:
    """Give all that is below a path other inode numbers, and keep times, modes and hard links."""
    subprocess.run(["cp", "-a", root, f"{root} copy"], check=True)
    subprocess.run(["rm", "-rf", root], check=True)
    os.rename(f"{root} copy", root)


def every_death(site: Site, attempt: Callable[[Callable[[], None]], None]) -> int:
    """Make an attempt, killed at each call behind the commit, until none is left; return their number."""
    kept = f"{site.root}.kept"
    subprocess.run(["cp", "-a", site.root, kept], check=True)
    number = 0
    while True:
        try:
            attempt(dying(number))
            return number
        except Killed:
            number += 1
        subprocess.run(["rm", "-rf", site.root], check=True)
        subprocess.run(["cp", "-a", kept, site.root], check=True)


@pytest.mark.parametrize(
    ("direction", "in_steps"), [("pull", False), ("pull", True), ("both", False)]
)
def test_what_is_published_stays_as_committed(site: Site, direction: str, in_steps: bool) -> None:
    """In steps nobody publishes: that needs an exchange."""
    bob = prepared(site)
    if direction == "both":
        put(bob, "own", "bob's own")
    expected = {**FINAL, "own": "bob's own"} if direction == "both" else FINAL
    options = {"direction": direction, "conflict": "remote"}
    lacking = without_renameat2(ANY_FLAG) if in_steps else lambda: None

    def attempt(dies: Callable[[], None]) -> None:
        def before() -> None:
            lacking()
            dies()

        try:
            in_child(lambda: run(site.request(bob, **options)), before=before)
        except Killed:
            renumber(bob)
            in_child(lambda: site.recover(bob), before=lacking)
            in_child(lambda: run(site.request(bob, **options)), before=lacking)
            check()
            raise

    def check() -> None:
        assert read(site.live) == read(bob) == expected
        run(site.request(bob, conflict="local"))
        assert read(site.live) == read(bob) == expected, "nothing more is published, nor taken back"
        site.check_tidy(bob)
        site.check_sound()
        kept: dict[str, Node] = {}
        for one in site.backups(bob):
            kept.update(one)
        assert MINE.items() <= kept.items(), "what lost a conflict is kept"
        assert kept.items() <= {**BEFORE, **MINE}.items(), "and nothing that is published"

    assert every_death(site, attempt) > 40


def test_names_that_are_put_back(site: Site) -> None:
    """Whatever became of the names: the next sync makes of them what is published already."""
    ann = site.copy("ann", {"a:b": "x", "d:/e:": "y", "data/link": Link("../a:b")})
    site.sync(ann, names="normalise")
    committed = read(site.live)

    def attempt(dies: Callable[[], None]) -> None:
        try:
            in_child(lambda: undo_names(site.request(ann)), before=dies)
        except Killed:
            renumber(ann)
            site.recover(ann)
            run(site.request(ann, names="normalise"))
            assert read(site.live) == read(ann) == committed
            site.check_tidy(ann)
            site.check_sound()
            raise

    assert every_death(site, attempt) > 5


def test_an_index_with_other_inode_numbers_costs_a_look_at_the_files(site: Site) -> None:
    ann = site.copy("ann", BEFORE)
    site.sync(ann)
    renumber(ann)
    assert not site.sync(ann).changed
    put(ann, "same", "SAME")
    assert [step.path for step in site.sync(ann).plan.steps] == ["same"]
