# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is peculiar to repositories that are directories: hard links, and places."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager

import pytest
from _core.errors import DsgError
from _core.posix import mounted
from _core.sync.fetch import FetchRequest, fetch
from _core.upkeep.prune import prune
from _core.upkeep.restore import RestoreRequest, restore
from _core.upkeep.retention import Keep

from tests.contract.driver import publish, recover_twice, sound, txn_of
from tests.contract.trees import ONE, remake
from tests.integration.children import become, in_child
from tests.integration.support import Site, make, provision, put, read


def test_what_is_unchanged_shares_its_bytes_and_what_changed_does_not(site, source):
    publish(site.repository, source, 1)
    old = {path: os.lstat(os.path.join(site.live, path)) for path in ("same", "f", "d/g", "l")}
    put(source, "f", "two")
    os.chmod(os.path.join(source, "d/g"), 0o600)
    publish(site.repository, source, 2)
    live = {path: os.lstat(os.path.join(site.live, path)) for path in old}
    kept = {path: os.lstat(os.path.join(site.layout.snapshot(1), path)) for path in old}
    for path in old:
        assert kept[path].st_ino == old[path].st_ino
    assert live["same"].st_ino == old["same"].st_ino
    assert live["same"].st_nlink == 2
    assert live["l"].st_ino == old["l"].st_ino
    assert live["f"].st_ino != old["f"].st_ino
    assert live["d/g"].st_ino != old["d/g"].st_ino, "a new mode must not reach the snapshot"
    assert stat.S_IMODE(kept["d/g"].st_mode) == 0o644
    assert stat.S_IMODE(live["d/g"].st_mode) == 0o600


def test_directories_keep_their_owner_and_mode_from_snapshot_to_snapshot(site, source):
    """An administrator opens a tree to a group once, not after every sync."""
    publish(site.repository, source, 1)
    os.chmod(site.live, 0o2750)
    os.chown(os.path.join(site.live, "d"), 65534, 65534)
    os.chmod(os.path.join(site.live, "d"), 0o700)
    put(source, "f", "two")
    put(source, "d/h", "new")
    publish(site.repository, source, 2)
    assert stat.S_IMODE(os.stat(site.live).st_mode) == 0o2750
    found = os.stat(os.path.join(site.live, "d"))
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o700, 65534, 65534)


def test_a_file_with_as_many_links_as_the_file_system_allows(site, source, monkeypatch):
    publish(site.repository, source, 1)
    full = os.path.join(site.live, "same")
    if not exhaust_links(full, str(site.root)):  # XFS has 2**31: let the call fail as it would
        real = os.link

        def link(source_name, *args, **options):
            if source_name == "same":
                raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source_name)
            real(source_name, *args, **options)

        monkeypatch.setattr(os, "link", link)
    put(source, "f", "two")
    publish(site.repository, source, 2)
    assert (
        os.stat(os.path.join(site.live, "same")).st_ino
        != os.stat(os.path.join(site.layout.snapshot(1), "same")).st_ino
    )
    assert read(site.live)["same"] == "s"
    sound(site)


def exhaust_links(path: str, place: str) -> bool:
    """Make links until the file system refuses; tell whether it does below 2**16 links."""
    many = os.path.join(place, "links")
    os.mkdir(many)
    if os.pathconf(path, "PC_LINK_MAX") > 2**20:
        return False
    try:
        for number in range(2**16):
            os.link(path, os.path.join(many, str(number)))
    except OSError as exc:
        assert exc.errno == errno.EMLINK
        return True
    return False


def test_history_that_cannot_be_linked_any_more_is_copied(site, source, monkeypatch):
    publish(site.repository, source, 1)
    real = os.link

    def link(source_name, *args, **options):
        if source_name.endswith("s1.jsonl"):
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source_name)
        real(source_name, *args, **options)

    monkeypatch.setattr(os, "link", link)
    put(source, "f", "two")
    publish(site.repository, source, 2)
    assert site.repository.chain_problems() == []


def test_recovery_of_a_removal_that_was_interrupted(site, source):
    publish(site.repository, source, 1)
    put(source, "f", "two")
    publish(site.repository, source, 2, until="prepare")
    stage = site.layout.stage(txn_of(2))
    for name in ("f", "d/g"):
        os.unlink(os.path.join(stage, name))
    shutil.rmtree(os.path.join(stage, ".dsg"))
    recover_twice(site, expected=1)
    assert read(site.live) == ONE


def test_a_base_that_is_a_link_or_lies_deep(ground):
    real = os.path.join(str(ground), "a", "real", "place")
    os.makedirs(real)
    site = Site(real)
    os.symlink(site.base, os.path.join(str(ground), "by-link"))
    ann = make(os.path.join(str(ground), "ann"), ONE)
    site.sync(ann)
    through = Site(real)
    through.backend = {"type": "directory", "base": os.path.join(str(ground), "by-link")}
    assert not os.path.exists(os.path.join(str(ground), "new"))
    bob = os.path.join(str(ground), "bob")
    through.sync(bob)
    assert read(bob) == ONE


def test_provisioning_is_needed_on_every_ground(ground):
    base = provision(os.path.join(str(ground), "base"))
    assert sorted(os.listdir(os.path.join(base, ".dsg"))) == ["format.json"]


def test_recovery_stops_where_the_published_manifest_cannot_be_read(site, source):
    """It might be the very transaction's: removing its old tree could lose a snapshot."""
    publish(site.repository, source, 1)
    put(source, "f", "two")
    publish(site.repository, source, 2, until="commit")
    with site.opened() as live, open(os.path.join(live, ".dsg", "manifest.jsonl"), "r+b") as stream:
        stream.write(b"x")
    before = site.held()
    with site.repository.lock(0), pytest.raises(DsgError) as caught:
        site.repository.recover()
    assert caught.value.code == "DSG-MANIFEST"
    assert site.held() == before


# --- snapshots ---


def three(site):
    """Publish three snapshots."""
    source = site.copy("source")
    for number, text in enumerate(("one", "two", "three"), 1):
        publish(site.repository, remake(source, {**ONE, "f": text}), number)
    return site


def test_what_is_restored_costs_links_and_no_space(local_site):
    three(local_site)
    restore(local_site.repository, RestoreRequest(1))
    first = os.lstat(os.path.join(local_site.layout.snapshot(1), "f"))
    assert os.lstat(os.path.join(local_site.live, "f")).st_ino == first.st_ino
    sound(local_site)


def test_a_damaged_snapshot_is_not_restored_nor_fetched(local_site):
    """Really damaged: the bytes are others, all else is as it was."""
    three(local_site)
    place = os.path.join(local_site.layout.snapshot(1), "f")
    before = os.lstat(place)
    with open(place, "r+b") as stream:
        stream.write(b"ON")
    os.utime(place, ns=(before.st_mtime_ns, before.st_mtime_ns))
    held = local_site.held()
    out = os.path.join(local_site.root, "out")
    request = FetchRequest(local_site.name, local_site.backend, out, snapshot=1)
    for work in (
        lambda: restore(local_site.repository, RestoreRequest(1, check=True)),
        lambda: restore(local_site.repository, RestoreRequest(1)),
        lambda: restore(local_site.repository, RestoreRequest(1, ["f"])),
        lambda: fetch(request),
    ):
        with pytest.raises(DsgError) as caught:
            work()
        assert caught.value.code == "DSG-DRIFT"
        assert "f" in str(caught.value)
        assert local_site.held() == held
        assert sorted(os.listdir(local_site.root)) == ["base", "source"]
    assert fetch(request._replace(paths=["d"])).changed
    os.unlink(place)
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            restore(local_site.repository, RestoreRequest(1, check=check))
        assert caught.value.code == "DSG-DRIFT"


def test_another_snapshot_in_the_place_of_one_is_seen(local_site):
    three(local_site)
    shutil.copytree(local_site.layout.snapshot(2), local_site.layout.snapshot(9), symlinks=True)
    os.rename(local_site.layout.snapshot(1), local_site.layout.snapshot(7))
    os.rename(local_site.layout.snapshot(9), local_site.layout.snapshot(1))
    with pytest.raises(DsgError) as caught:
        restore(local_site.repository, RestoreRequest(1))
    assert caught.value.code == "DSG-MANIFEST"
    fates = prune(local_site.repository, Keep(last=1)).fates
    assert [(fate.name, fate.action) for fate in fates] == [
        ("s2", "removed"),
        ("s3", "kept"),
        ("s1", "foreign"),
        ("s7", "foreign"),
    ]


def test_a_snapshot_of_another_history_is_not_ours(local_site):
    """Its number, name and form are right; it is the chain that does not have it."""
    three(local_site)
    theirs = Site(make(os.path.join(local_site.root, "elsewhere"), {}), local_site.name)
    publish(theirs.repository, make(theirs.copy("source"), {**ONE, "f": "never here"}), 1)
    shutil.rmtree(local_site.layout.snapshot(1))
    shutil.copytree(theirs.live, local_site.layout.snapshot(1), symlinks=True)
    fates = {fate.name: fate.action for fate in prune(local_site.repository, Keep(last=1)).fates}
    assert fates == {"s2": "removed", "s3": "kept", "s1": "foreign"}
    assert read(local_site.layout.snapshot(1))["f"] == "never here"


def test_nothing_is_pruned_that_is_not_ours(local_site):
    three(local_site)
    folder = local_site.layout.snapshots
    for name in ("s8", "s08", "notes", "s1.old"):
        make(os.path.join(folder, name), {"theirs": "t"})
    put(folder, "s9", "a file")
    os.symlink("s2", os.path.join(folder, "s10"))
    done = prune(local_site.repository, Keep(last=1))
    assert done.removed == ["s1", "s2"]
    foreign = ["notes", "s08", "s1.old", "s10", "s8", "s9"]
    assert [fate.name for fate in done.fates if fate.action == "foreign"] == foreign
    assert sorted(os.listdir(folder)) == foreign


def test_nothing_is_pruned_where_a_snapshot_cannot_be_read(local_site):
    three(local_site)
    path = os.path.join(local_site.layout.snapshot(1), ".dsg", "manifest.jsonl")
    with open(path, "r+b") as stream:
        stream.write(b"x")
    held = local_site.held()
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            prune(local_site.repository, Keep(last=1), check=check)
        assert caught.value.code == "DSG-MANIFEST"
        assert local_site.held() == held


def test_a_directory_within_a_snapshot_that_is_mounted_elsewhere_keeps_it(local_site):
    three(local_site)
    place = make(os.path.join(local_site.root, "inner"), {})
    source = os.path.join(local_site.layout.snapshot(1), "d")
    subprocess.run(["mount", "--bind", source, place], check=True)
    try:
        assert prune(local_site.repository, Keep(last=1)).removed == ["s2"]
        assert os.listdir(place) == ["g"]
    finally:
        subprocess.run(["umount", place], check=True)
    place = os.path.join(local_site.layout.snapshot(1), "d")
    theirs = make(os.path.join(local_site.root, "theirs"), {"precious": "p"})
    subprocess.run(["mount", "--bind", theirs, place], check=True)
    try:
        assert prune(local_site.repository, Keep(last=1)).removed == []
        assert os.listdir(theirs) == ["precious"]
    finally:
        subprocess.run(["umount", place], check=True)
    assert prune(local_site.repository, Keep(last=1)).removed == ["s1"]


@contextmanager
def elsewhere(*mounting):
    """Run the arguments of a mount in a namespace that stays; give a process of it."""
    script = 'mount "$@" && echo mounted && exec sleep 1000'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *mounting]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as container:
        try:
            assert container.stdout is not None
            assert container.stdout.read(1)
            yield container.pid
        finally:
            container.kill()


def test_a_snapshot_that_a_container_has_mounted_is_kept(local_site):
    """A mount in another namespace is one, too; it is named with a process that sees it."""
    three(local_site)
    repository = local_site.repository
    with elsewhere("--bind", local_site.layout.snapshot(1), "/mnt") as pid:
        (user,) = repository.snapshot_users()
        assert (user.number, user.holder.place, user.holder.pid) == (1, "/mnt", pid)
        seen = in_child(mounted.everywhere, before=become(65534))
        assert ("/mnt", pid) in [(one.mount.point, one.pid) for one in seen], "for everybody to see"
        for check in (True, False):
            done = prune(repository, Keep(last=1), check=check)
            assert done.removed == ["s2"]
            assert f"it is mounted at /mnt (seen by pid {pid}" in str(done.fates[0])
    assert prune(repository, Keep(last=1)).removed == ["s1"]


@pytest.mark.parametrize("end", ["\r", "\v", "\x1c", "\x85", "\u2028"])
def test_any_name_of_a_mount_elsewhere_can_be_read(local_site, end):
    """Any user can mount in a namespace of their own, at names that others would end a line at."""
    three(local_site)
    place = os.path.join(local_site.root, f"a{end}b - tmpfs")
    os.mkdir(place)
    with elsewhere("-t", "tmpfs", f"c{end}d", place) as pid:
        found = [one for one in mounted.everywhere() if one.mount.point == place]
        assert [(one.pid, one.mount.kind) for one in found] == [(pid, "tmpfs")]
        assert prune(local_site.repository, Keep(last=1)).removed == ["s1", "s2"]


def test_a_service_that_was_restricted_to_the_tree_keeps_no_snapshot(local_site):
    """Its mount of the published tree upon itself goes with the tree, and out of its sight."""
    site = local_site
    source = make(site.copy("source"), ONE)
    publish(site.repository, source, 1)
    with elsewhere("--bind", site.live, site.live):
        publish(site.repository, remake(source, {**ONE, "f": "2"}), 2)
        assert site.repository.snapshot_users() == []
        assert prune(site.repository, Keep(last=1)).removed == ["s1"]


def test_the_rest_of_a_removal_goes_with_any_recovery(local_site):
    three(local_site)
    os.rename(local_site.layout.snapshot(1), local_site.layout.doomed(1))
    shutil.rmtree(os.path.join(local_site.layout.doomed(1), ".dsg"))
    assert prune(local_site.repository, Keep(last=1), check=True).recovered
    recover_twice(local_site, expected=1)
    assert local_site.repository.snapshots() == [2, 3]
    assert not os.path.exists(local_site.layout.doomed(1))
    with pytest.raises(DsgError):
        Site(str(local_site.root), f"{local_site.name}.doomed.s1")


def test_a_job_for_what_is_no_repository_leaves_nothing_behind(local_ground):
    """A lock file stays for good: the next who looks would take it for a repository's."""
    site = Site(str(local_ground), "absent")
    beside = Site(str(local_ground), "foreign")
    make(beside.live, {"f": "not ours"})
    before = everything(site.base)
    for one in (site, beside):
        for check in (False, True):
            for job in (
                lambda one=one, check=check: prune(one.repository, Keep(last=1), check=check),
                lambda one=one, check=check: restore(
                    one.repository, RestoreRequest(1, check=check)
                ),
            ):
                with pytest.raises(DsgError) as caught:
                    job()
                assert caught.value.code == "DSG-REPOSITORY"
                assert everything(site.base) == before


def everything(root):
    """Return every path below a directory, lock files as well."""
    return sorted(
        os.path.join(place, name)
        for place, folders, files in os.walk(root)
        for name in [*folders, *files]
    )
