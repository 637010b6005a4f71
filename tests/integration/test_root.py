# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root in a base directory that somebody else can change: it reads, and is refused what would write."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _core.errors import DsgError
from _core.posix import mounted
from _core.posix.syscalls import rename_exchange
from _core.sync.engine import run
from _core.sync.fetch import FetchRequest, fetch
from _core.sync.phases import run as run_phase
from _core.sync.recovery import preview, recover
from _core.sync.request import PREPARE
from _core.sync.status import Status, inspect
from _core.sync.verify import verify_repository
from _core.upkeep import mounting
from _core.upkeep.log import log
from _core.upkeep.prune import prune
from _core.upkeep.restore import RestoreRequest, restore
from _core.upkeep.retention import Keep

from tests.integration.children import become, in_child
from tests.integration.playbooks import Ground
from tests.integration.support import Site, picture, put, read, refused
from tests.tools.collection import InstalledCollection
from tests.unit.trees import content

OWNER = 65534
NAME = "nobody"
TREE = {"a": "a", "d/b": "bb", "d/c": "ccc"}
AT_CWD = -100


@pytest.fixture
def place() -> Iterator[str]:
    """A directory that other users can reach, as pytest's own are closed to them."""
    root = tempfile.mkdtemp(prefix="dsg-test-")
    os.chmod(root, 0o755)
    yield root
    shutil.rmtree(root)


def give(root: str, uid: int = OWNER) -> None:
    """Let a tree belong to a user."""
    for directory, _unused, names in os.walk(root):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.lchown(path, uid, uid)


def as_owner(work: Callable[[], Any]) -> Any:
    """Do it as the user whom the base directory belongs to."""
    return in_child(work, before=become(OWNER))


@pytest.fixture
def theirs(place: str) -> Site:
    """A base directory of a user, who has published s1 and s2 from ``bob``."""
    site = Site(place)
    bob = site.copy("bob", TREE)
    give(site.base)
    give(bob)
    as_owner(lambda: run(site.request(bob)).snapshot)
    put(bob, "a", "second")
    give(bob)
    as_owner(lambda: run(site.request(bob)).snapshot)
    return site


# --- in a user's base directory ---


def refused_as_root(site: Site, work: Callable[[bool], object]) -> DsgError:
    """Do in check mode, and then without, what has to be refused and to change nothing."""
    for check in (True, False):
        error = refused(site, "DSG-RIGHTS", lambda check=check: work(check))
        assert (error.object, error.changed) == (site.base, False)
        assert f"--become-user {NAME}" in error.next_step
    return error


def test_a_first_publication(place: str) -> None:
    site = Site(place)
    ann = site.copy("ann", TREE)
    give(site.base)
    request = site.request(ann, operation="init")
    error = refused_as_root(site, lambda check: run(request._replace(check=check)))
    assert f"belongs to {NAME}" in error.message
    give(ann)
    assert as_owner(lambda: run(request).snapshot) == 1
    site.check_sound()


def test_a_publication_and_then_the_owners(theirs: Site) -> None:
    ann = theirs.copy("ann")
    theirs.sync(ann)
    put(ann, "a", "third")
    request = theirs.request(ann)
    refused_as_root(theirs, lambda check: run(request._replace(check=check)))
    give(ann)
    assert as_owner(lambda: run(request).snapshot) == 3
    theirs.check_sound()


def test_a_part_in_a_fleet(theirs: Site) -> None:
    ann = theirs.copy("ann")
    theirs.sync(ann)
    put(ann, "a", "third")
    before = picture(theirs.base)
    request = theirs.request(ann, phase=PREPARE, fleet="20260101T000000Z-f1", host="h1")
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            run_phase(request._replace(check=check))
        assert caught.value.code == "DSG-RIGHTS"
    assert picture(theirs.base) == before


def test_a_decision_upon_what_the_owner_has_prepared(theirs: Site) -> None:
    bob = theirs.copy("bob")
    put(bob, "a", "third")
    give(bob)
    codecs.lookup("ascii")  # the owner may not be able to read where this Python has it from
    part = theirs.request(bob, fleet="20260101T000000Z-f1", host="h1")
    txn_id = as_owner(lambda: run_phase(part._replace(phase=PREPARE)).txn_id)

    def abandoned(check: bool) -> object:
        work = preview if check else recover
        return work("", theirs.name, theirs.backend, abandon=txn_id)

    refused_as_root(theirs, abandoned)
    before = picture(theirs.base)
    with pytest.raises(DsgError) as caught:
        run_phase(part._replace(phase="commit", txn_id=txn_id))
    assert (caught.value.code, caught.value.object) == ("DSG-RIGHTS", theirs.base)
    assert picture(theirs.base) == before
    give(bob)
    assert "committed" in " ".join(as_owner(lambda: theirs.recover(bob)))
    assert read(theirs.live)["a"] == "third"


def test_a_snapshot_that_comes_back_or_goes(theirs: Site) -> None:
    repository = theirs.repository
    refused_as_root(theirs, lambda check: restore(repository, RestoreRequest(1, check=check)))
    refused_as_root(theirs, lambda check: prune(repository, Keep(last=1), check=check))
    as_owner(lambda: prune(repository, Keep(last=1)).removed)
    assert repository.snapshots() == [2]


def test_a_recovery_that_has_something_to_do(theirs: Site) -> None:
    assert theirs.recover() == preview("", theirs.name, theirs.backend) == []
    os.mkdir(theirs.layout.stage("dead-1"))
    give(theirs.layout.container)
    refused_as_root(
        theirs,
        lambda check: (preview if check else recover)("", theirs.name, theirs.backend),
    )
    assert as_owner(theirs.recover) == ["undid transaction dead-1: removed its work area"]


def test_root_reads_what_is_a_users(theirs: Site) -> None:
    """Without the lock, as any other reader: it would have to be made there, or held."""
    before = picture(theirs.base)
    ann = theirs.copy("ann")
    assert theirs.sync(ann, operation="clone").snapshot == 2
    assert not theirs.sync(ann).changed
    assert not theirs.sync(ann, checksum=True).changed
    assert theirs.recover(ann) == []
    status = inspect(theirs.request(ann), drift=True, history=True)
    assert (status.in_sync, status.drift, status.unknown) == (True, [], [])
    (missing,) = status.missing_rights
    assert (missing["object"], f"--become-user {NAME}" in missing["next_step"]) == (
        theirs.base,
        True,
    )
    assert verify_repository(theirs.name, theirs.backend, snapshots=["all"]).sound
    assert [one["snapshot"] for one in log(theirs.repository)["steps"]] == [2, 1]
    old = os.path.join(theirs.root, "old")
    fetch(FetchRequest(theirs.name, theirs.backend, old, snapshot=1))
    assert read(old) == TREE
    assert picture(theirs.base) == before
    os.unlink(theirs.layout.lock)
    bare = picture(theirs.base)
    fetch(FetchRequest(theirs.name, theirs.backend, old, snapshot=2, force=True))
    assert read(old) == read(theirs.live)
    assert picture(theirs.base) == bare
    assert not os.path.lexists(theirs.layout.lock)


def test_a_snapshot_is_mounted_and_never_what_the_owner_has_put_in_its_place(theirs: Site) -> None:
    point = theirs.copy("point")
    assert mounting.mount(theirs.repository, 1, point).changed
    try:
        assert read(point) == TREE
    finally:
        mounting.unmount(theirs.repository, point)
    os.rename(theirs.layout.snapshots, theirs.copy("elsewhere"))
    os.symlink(theirs.copy("elsewhere"), theirs.layout.snapshots)
    os.lchown(theirs.layout.snapshots, OWNER, OWNER)
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            mounting.mount(theirs.repository, 1, point, check=check)
        assert (caught.value.code, caught.value.object) == ("DSG-ARGUMENT", theirs.layout.snapshots)
        assert not mounted.is_mountpoint(point)


def test_the_owner_is_told_of_no_missing_right(theirs: Site) -> None:
    status: Status = as_owner(lambda: inspect(theirs.request("")))
    assert (status.missing_rights, status.unknown) == ([], [])


# --- in a base directory of root that others can change ---


def widened(path: str, mode: int, gid: int = OWNER) -> None:
    os.chown(path, 0, gid)
    os.chmod(path, mode)


@pytest.mark.parametrize("which", ["base", "container"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_others_who_may_write_there(place: str, which: str, mode: int) -> None:
    site = Site(place)
    ann = site.copy("ann", TREE)
    path = site.base if which == "base" else site.layout.container
    widened(path, mode)
    for check in (True, False):
        error = refused(site, "DSG-RIGHTS", lambda check=check: run(site.request(ann, check=check)))
        assert (error.object, f"mode {mode:04o}" in error.message) == (path, True)
        assert f"chmod go-w {path}" in error.next_step
    os.chmod(path, mode & ~0o022 & 0o777)
    assert site.sync(ann).snapshot == 1


def test_roots_own_group_is_root(place: str) -> None:
    site = Site(place)
    widened(site.base, 0o775, gid=0)
    assert site.sync(site.copy("ann", TREE)).snapshot == 1


@pytest.mark.parametrize("kind", ["another user's", "a link"])
def test_a_work_area_that_is_not_roots(place: str, kind: str) -> None:
    site = Site(place)
    ann = site.copy("ann", TREE)
    if kind == "a link":
        os.rename(site.layout.container, site.copy("elsewhere"))
        os.symlink(site.copy("elsewhere"), site.layout.container)
    else:
        os.chown(site.layout.container, OWNER, OWNER)
    error = refused(site, "DSG-RIGHTS", lambda: run(site.request(ann)))
    assert error.object == site.layout.container
    assert "dsg.storage.repository" in error.next_step


# --- somebody who waits for the work area of a transaction ---


def exchanging(victim: str, what: str = r".*\.stage\.[^/]*") -> Callable[[], None]:
    """Return what puts a link to ``victim`` into the place of a new directory, right behind its making.

    It is the first one whose path, as it is made, matches ``what``: the work area of a transaction.
    """
    real = os.mkdir
    done: list[str] = []

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real(path, mode, dir_fd=dir_fd)
        if not done and re.fullmatch(what, str(path)):
            done.append(str(path))
            os.symlink(victim, f"{path}.link", dir_fd=dir_fd)
            at = AT_CWD if dir_fd is None else dir_fd
            rename_exchange(f"{path}.link", at, str(path), at)

    def install() -> None:
        os.mkdir = mkdir

    return install


def led(place: str) -> tuple[str, os.stat_result]:
    """Return a directory of root that others may enter, and how it is."""
    victim = os.path.join(place, "victim")
    os.mkdir(victim, 0o755)
    put(victim, "roots", "untouched")
    return victim, os.stat(victim)


def test_root_is_refused_before_anybody_can_lead_it_elsewhere(theirs: Site) -> None:
    ann = theirs.copy("ann")
    theirs.sync(ann)
    put(ann, "a", "third")
    victim, before = led(theirs.root)
    with pytest.raises(DsgError) as caught:
        in_child(lambda: run(theirs.request(ann)), before=exchanging(victim))
    assert (os.stat(victim), read(victim)) == (before, {"roots": "untouched"})
    assert caught.value.code == "DSG-RIGHTS"


def test_the_owner_gains_nothing_by_leading_a_run_of_their_own_elsewhere(theirs: Site) -> None:
    bob = theirs.copy("bob")
    put(bob, "a", "third")
    give(bob)
    victim, before = led(theirs.root)

    def attack() -> None:
        become(OWNER)()
        exchanging(victim)()

    with pytest.raises(DsgError) as caught:
        in_child(lambda: run(theirs.request(bob)), before=attack)
    assert caught.value.code == "DSG-SYSTEM"
    assert (os.stat(victim), read(victim)) == (before, {"roots": "untouched"})


def test_whom_a_published_directory_was_given_to_leads_root_nowhere(place: str) -> None:
    """An administrator has opened a tree to somebody, who so owns the next work area as well."""
    site = Site(place)
    ann = site.copy("ann", TREE)
    site.sync(ann)
    put(ann, "a", "second")
    victim, before = led(place)
    records = exchanging(victim, r"(.*/)?\.dsg")
    with pytest.raises(DsgError) as caught:
        in_child(lambda: run(site.request(ann)), before=records)
    assert caught.value.code == "DSG-SYSTEM"
    assert (os.stat(victim), read(victim)) == (before, {"roots": "untouched"})
    assert site.sync(ann).snapshot == 2
    site.check_sound()


# --- what the role and the playbooks do ---


@pytest.fixture
def ground(place: str, installed_collection: InstalledCollection) -> Ground:
    made = Ground(Path(place), installed_collection)
    made.define({**made.definition, "owner": str(OWNER)})
    return made


def seen(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


@pytest.mark.parametrize("what", ["a link", "a file", "a marker that is a link"])
def test_provisioning_does_not_follow_what_is_no_work_area(ground: Ground, what: str) -> None:
    ground.play("provision").succeeded()
    victim = ground.root / "victim"
    victim.mkdir(0o755)
    work_area = ground.base / ".dsg"
    wrong, kind = work_area, "directory"
    if what == "a marker that is a link":
        wrong, kind = work_area / "format.json", "regular file"
    wrong.rename(ground.base / "aside")
    if what == "a file":
        wrong.touch()
    else:
        wrong.symlink_to(victim)
    ground.base.chmod(0o700)  # what would be put right first, if anything was
    before = picture(ground.root)
    for options in (["--check"], []):
        play = ground.play("provision", *options)
        assert (play.result.rc, play.changed()) == (2, 0)
        assert (
            f"{wrong} is no {kind}, but a link or something else. Nothing was changed" in play.said
        )
        assert seen(victim) == (0o755, 0, 0)
    assert picture(ground.root) == before


def test_root_provisions_for_an_owner_who_publishes(ground: Ground) -> None:
    group = os.stat(ground.root).st_gid
    announced = ground.play("provision", "--check").succeeded()
    assert ground.play("provision").succeeded().changed() == announced.changed() == 3
    work_area = ground.base / ".dsg"
    owned = [ground.base, work_area, work_area / "format.json"]
    assert [seen(path) for path in owned] == [
        (0o755, OWNER, group),
        (0o700, OWNER, group),
        (0o600, OWNER, group),
    ]
    assert ground.play("provision").succeeded().changed() == 0
    for options in (["--check"], []):
        failed = ground.play("init", *options).failed("DSG-RIGHTS")
        assert f"--become-user {NAME}" in failed["error"]["next_step"]
    assert not ground.live.exists()
    places = {
        "ansible_remote_tmp": str(ground.root / "tmp"),
        "ansible_python_interpreter": "/usr/bin/python3",  # which the owner may run as well
    }
    ground.define({**ground.definition, "owner": str(OWNER)}, **places)
    (ground.root / "tmp").mkdir()
    for path in (ground.root / "tmp", ground.ann):
        give(str(path))
    as_told = ("--become", "--become-user", NAME)
    assert ground.play("init", *as_told).succeeded().changed() == 1
    assert content(ground.live) == content(ground.ann)
    assert ground.live.stat().st_uid == OWNER
