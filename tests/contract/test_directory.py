# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is peculiar to repositories that are directories: hard links, and places."""

from __future__ import annotations

import errno
import os
import shutil
import stat

import pytest
from _core.errors import DsgError

from tests.contract.driver import publish, recover_twice, sound, txn_of
from tests.contract.trees import ONE
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
