# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts inside a working copy: a rename does not get past them, so nothing that needs one may begin."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest
from _core.client.transaction import ClientTransaction
from _core.errors import Unfinished
from _core.posix import mounted
from _core.sync.engine import run
from _core.sync.undo_names import undo_names

from tests.integration.support import EMPTY, Link, Site, make, put, read, refused, site

__all__ = ["site"]

Mount = Callable[..., str]


@pytest.fixture
def mount(site: Site) -> Iterator[Mount]:
    """Mount something at a path that is there: a tmpfs, or a part of the file system that is there."""
    points: list[str] = []

    def do(point: str, *, bind: bool, source: str = "") -> str:
        kind = ["--bind", source or point] if bind else ["-t", "tmpfs", "none"]
        subprocess.run(["mount", *kind, point], check=True)
        points.append(point)
        return point

    yield do
    for point in reversed(points):
        subprocess.run(["umount", "--lazy", point], check=False)


BOTH = pytest.mark.parametrize("bind", [False, True])


def published(site: Site, mount: Mount, bind: bool, tree: dict[str, object]) -> tuple[str, str]:
    """Return ann and bob with that tree, where ann has ``data`` on a mount of its own."""
    ann, bob = site.copy("ann", {"data": EMPTY}), site.copy("bob", {"f": "f"})
    mount(os.path.join(ann, "data"), bind=bind)
    make(ann, tree)
    site.sync(bob)
    site.sync(ann, direction="push")
    site.sync(bob)
    site.sync(ann)
    return ann, bob


HELD = {"f": "f", "data/old": "old", "data/d/deep": "deep"}


@BOTH
@pytest.mark.parametrize(
    "changes",
    [
        {"data/new": "new"},
        {"data/n/e/w": "new"},
        {"data/old": "another"},
        {"data/old": None},
        {"data/d": None},
        {"data/d/deep": Link("../old")},
        {"data/empty": EMPTY},
    ],
)
def test_what_arrives_on_a_mount_is_refused_before_anything_begins(site, mount, bind, changes):
    ann, bob = published(site, mount, bind, HELD)
    make(bob, {**changes, "f": "changed"})
    put(ann, "mine", "mine")
    site.sync(bob)
    for options in ({}, {"check": True}, {"direction": "pull"}):
        error = site.refused("DSG-WORKING-COPY", ann, **options)
        assert error.object == os.path.join(ann, "data")
        assert "mount" in error.message
        listed = [path for path in changes if path != "data/d"] or ["data/d/deep"]
        assert error.details == [f"{path!r}: beneath 'data'" for path in listed]
    site.check_tidy(ann)
    site.sync(ann, ignore=("data",))
    assert read(ann) == {**HELD, "f": "changed", "mine": "mine"}
    site.sync(ann, direction="push")
    assert read(site.live)["mine"] == "mine"


@BOTH
def test_what_lies_on_a_mount_is_published_all_the_same(site, mount, bind):
    ann, bob = published(site, mount, bind, HELD)
    make(ann, {"data/old": "newer", "data/d": None, "data/more": "more"})
    make(bob, {"f": "changed", "g/h": "h"})
    site.sync(bob)
    site.sync(ann)
    site.sync(bob)
    expected = {"f": "changed", "g/h": "h", "data/old": "newer", "data/more": "more"}
    assert read(bob) == expected


@BOTH
def test_a_clone_onto_a_mount_that_waits_for_it(site, mount, bind):
    ann = site.copy("ann", {"data/f": "f", "g": "g"})
    site.sync(ann)
    new = site.copy("new", {"data": EMPTY})
    mount(os.path.join(new, "data"), bind=bind)
    site.refused("DSG-WORKING-COPY", new, direction="pull", check=True)
    error = site.refused("DSG-WORKING-COPY", new, direction="pull")
    assert error.object == os.path.join(new, "data")


@BOTH
@pytest.mark.parametrize("change", ["another", None])
def test_a_file_that_is_a_mount_point(site, mount, bind, change):
    ann, bob = site.copy("ann", {"f": "f", "g": "g"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    point = source = os.path.join(ann, "f")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if not bind:
            source = shutil.copy2(point, elsewhere)
        mount(point, bind=True, source=source)
        put(bob, "f", change)
        site.sync(bob)
        error = site.refused("DSG-WORKING-COPY", ann)
    assert error.object == point
    assert error.details == ["'f': is a mount point"]


@BOTH
@pytest.mark.parametrize("change", [None, "a file"])
def test_an_empty_directory_that_is_a_mount_point(site, mount, bind, change):
    ann, bob = site.copy("ann", {"d": EMPTY, "g": "g"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    mount(os.path.join(ann, "d"), bind=bind)
    put(bob, "d", change)
    site.sync(bob)
    assert site.refused("DSG-WORKING-COPY", ann).object == os.path.join(ann, "d")


@BOTH
def test_a_mount_elsewhere_is_in_nobodys_way(site, mount, bind):
    ann, bob = published(site, mount, bind, HELD)
    beside = site.copy("anna", {"f": "f"})
    mount(beside, bind=bind)
    make(bob, {"f": "changed", "data2/f": "f"})
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == {**HELD, "f": "changed", "data2/f": "f"}


@BOTH
def test_metadata_on_a_mount_of_their_own(site, mount, bind):
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    os.mkdir(os.path.join(ann, ".dsg"))
    mount(os.path.join(ann, ".dsg"), bind=bind)
    site.sync(ann)
    site.sync(bob)
    put(bob, "f", "changed")
    site.sync(bob)
    assert site.refused("DSG-WORKING-COPY", ann).object == os.path.join(ann, ".dsg")


@BOTH
@pytest.mark.parametrize("part", ["staging", "backup"])
def test_a_part_of_the_metadata_on_a_mount_of_its_own(site, mount, bind, part):
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "f", "changed")
    site.sync(bob)
    point = os.path.join(ann, ".dsg", part)
    os.makedirs(point, exist_ok=True)
    mount(point, bind=bind)
    for check in (True, False):
        error = site.refused("DSG-WORKING-COPY", ann, check=check)
        assert error.object == point
        assert error.details == [f"'f': '.dsg/{part}' is on another mount"]


def test_metadata_behind_a_link_to_another_file_system(site):
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "f", "changed")
    site.sync(bob)
    metadata = os.path.join(ann, ".dsg")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != os.stat(ann).st_dev
        os.symlink(shutil.move(metadata, os.path.join(elsewhere, "dsg")), metadata)
        assert site.refused("DSG-WORKING-COPY", ann).object == metadata
    assert read(ann) == {"f": "f"}


@BOTH
def test_a_mount_point_is_not_renamed_but_what_lies_on_it_is(site, mount, bind):
    ann = site.copy("ann", {"f": "f", "a:b": EMPTY, "data": EMPTY})
    mount(os.path.join(ann, "data"), bind=bind)
    make(ann, {"data/c:d": "c"})
    point = mount(os.path.join(ann, "a:b"), bind=bind)
    put(ann, "a:b/e", "e")
    error = site.refused("DSG-WORKING-COPY", ann, names="normalise")
    assert error.object == point
    subprocess.run(["umount", point], check=True)
    site.sync(ann, names="normalise")
    assert "data/c_d" in read(ann)


@BOTH
def test_a_link_on_a_mount_that_would_follow_a_renaming(site, mount, bind):
    ann = site.copy("ann", {"a:b": "x", "data": EMPTY})
    mount(os.path.join(ann, "data"), bind=bind)
    put(ann, "data/link", Link("../a:b"))
    error = site.refused("DSG-WORKING-COPY", ann, names="normalise")
    assert error.object == os.path.join(ann, "data")
    assert error.details == ["'data/link': beneath 'data'"]


@BOTH
def test_names_are_not_put_back_past_a_mount(site, mount, bind):
    ann = site.copy("ann", {"a:b": "x", "data/link": Link("../a:b")})
    site.sync(ann, names="normalise")
    os.rename(os.path.join(ann, "data"), os.path.join(site.root, "away"))
    os.mkdir(os.path.join(ann, "data"))
    mount(os.path.join(ann, "data"), bind=True, source=os.path.join(site.root, "away"))
    request = site.request(ann)
    error = refused(site, "DSG-WORKING-COPY", lambda: undo_names(request))
    assert error.object == os.path.join(ann, "data")
    check = request._replace(check=True)
    assert refused(site, "DSG-WORKING-COPY", lambda: undo_names(check)).details == error.details


def test_a_file_system_that_is_no_mount_is_told_by_its_directories(site, mount, monkeypatch):
    """As a btrfs subvolume is."""
    ann, bob = published(site, mount, False, HELD)
    make(bob, {"data/n/new": "new", "f": "changed"})
    site.sync(bob)
    monkeypatch.setattr(mounted, "below", lambda path: [])
    error = site.refused("DSG-WORKING-COPY", ann)
    assert error.object == os.path.join(ann, "data")
    assert error.details == ["'data/n/new': beneath 'data'"]


def test_a_root_that_is_reached_through_a_link(site, mount):
    ann, bob = published(site, mount, True, HELD)
    put(bob, "data/new", "new")
    site.sync(bob)
    link = os.path.join(site.root, "link")
    os.symlink(ann, link)
    assert site.refused("DSG-WORKING-COPY", link).object == os.path.join(link, "data")


def test_mounts_are_only_asked_for_by_who_changes_the_working_copy(site, monkeypatch):
    ann, bob = site.copy("ann", {"f": "f"}), site.copy("bob")
    site.sync(ann)
    asked = []
    real = mounted.below
    monkeypatch.setattr(mounted, "below", lambda path: [asked.append(path), *real(path)][1:])
    put(ann, "f", "g")
    run(site.request(ann))
    assert not run(site.request(ann)).changed
    assert asked == []
    run(site.request(bob))
    assert asked == [bob]


@BOTH
def test_a_mount_that_comes_later_is_named_and_waited_for(site, mount, bind, monkeypatch):
    ann, bob = site.copy("ann", {"data/f": "f"}), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    put(bob, "data/new", "new")
    site.sync(bob)
    real = ClientTransaction.commit

    def commit(self, journal):
        mount(os.path.join(ann, "data"), bind=bind)
        return real(self, journal)

    monkeypatch.setattr(ClientTransaction, "commit", commit)
    with pytest.raises(Unfinished, match="EXDEV") as caught:
        run(site.request(ann))
    assert caught.value.object == os.path.join(ann, "data/new")
    monkeypatch.undo()
    with pytest.raises(Unfinished, match="EXDEV") as caught:
        site.recover(ann)
    assert caught.value.object == os.path.join(ann, "data/new")
    subprocess.run(["umount", os.path.join(ann, "data")], check=True)
    site.recover(ann)
    assert read(ann) == read(bob) == {"data/f": "f", "data/new": "new"}


@pytest.mark.parametrize("target", ["b/x", "data"])
def test_a_link_that_becomes_a_directory_is_not_followed(site, mount, target):
    """It may lead to itself, or to where something is mounted: what comes does not go there."""
    tree = {**HELD, "data/x/y": "y", "b": Link(target)}
    ann, bob = published(site, mount, False, tree)
    make(bob, {"b": None, "b/x/f": "f"})
    site.sync(bob)
    site.sync(ann)
    assert read(ann) == {**HELD, "data/x/y": "y", "b/x/f": "f"}
