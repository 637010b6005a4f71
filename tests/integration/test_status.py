# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository of the directory backend stands: real processes, mounts, locks and users."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from _core.sync.status import Status, inspect

from tests.integration.children import become, in_child
from tests.integration.support import Site, site

__all__ = ["site"]
NOBODY = 65534


def published(site: Site) -> str:
    """Publish twice; return the working copy."""
    src = site.copy("ann", {"a": "a", "sub/b": "b" * 5000, "sub/c": "c"})
    site.sync(src)
    with open(os.path.join(src, "sub/b"), "w", encoding="utf-8") as stream:
        stream.write("B" * 9000)
    site.sync(src)
    return src


def look(site: Site, src: str = "", **options: Any) -> Status:
    """Look, and see that nothing changes."""
    before = site.picture()
    found = inspect(site.request(src), **options)
    assert site.picture() == before
    return found


@contextmanager
def sleeping_in(directory: str) -> Iterator[int]:
    """Have a process in a directory for the block; give its number."""
    with subprocess.Popen(["sleep", "1000"], cwd=directory) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def holding(site: Site) -> Iterator[int]:
    """Have a process work on the repository for the block; give its number."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with site.repository.lock(5.0):
            os.write(writing, b"x")
            signal.pause()
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_sound_repository_has_nothing_to_tell(site: Site) -> None:
    found = look(site, published(site), drift=True, history=True)
    assert found.in_sync
    assert found.drift == []
    assert found.snapshots == [1, 2]
    assert found.states() == {}
    for what in (found.unfinished, found.open_transactions, found.running, found.cleanups):
        assert what == []
    assert found.snapshot_users == found.missing_rights == found.unknown == []


def test_states_are_counted(site: Site) -> None:
    src = published(site)
    other = site.copy("bob", {})
    site.sync(other)
    for name, text in (("a", "ann"), ("new", "ann")):
        with open(os.path.join(src, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    os.unlink(os.path.join(other, "sub/c"))
    with open(os.path.join(other, "a"), "w", encoding="utf-8") as stream:
        stream.write("bobs")
    site.sync(other)
    assert look(site, src).states() == {"100": 1, "110 L=C": 1, "111 all differ": 1}


def test_drift_is_told_on_request_only(site: Site) -> None:
    src = published(site)
    with open(os.path.join(site.live, "a"), "a", encoding="utf-8") as stream:
        stream.write("behind our back")
    assert look(site, src).drift is None
    assert look(site, src, drift=True).drift == ["a: has 16 bytes instead of 1"]


def test_history_is_what_only_older_snapshots_have(site: Site) -> None:
    src = published(site)
    assert (look(site, src).space or {})["history"] is None
    found = (look(site, src, history=True).space or {})["history"]
    alone = [os.path.join(site.kept(1), path) for path in ("sub/b", ".dsg/manifest.jsonl")]
    folders = [name for name, _unused, _files in os.walk(site.kept(1))]
    assert found == sum(os.lstat(path).st_blocks * 512 for path in (*alone, *folders))


def test_space_is_what_the_system_says(site: Site) -> None:
    space = look(site, published(site)).space or {}
    seen = os.statvfs(site.base)
    assert space["size"] == seen.f_blocks * seen.f_frsize
    assert 0 < space["free"] <= space["size"]
    assert (space["quota"], space["pool"], space["health"]) == (None, "", "")


def test_a_work_area_is_told_with_the_process_in_it(site: Site) -> None:
    src = published(site)
    os.makedirs(os.path.join(site.layout.stage("dead-1"), "sub"))
    with sleeping_in(os.path.join(site.layout.stage("dead-1"), "sub")) as pid:
        (cleanup,) = look(site, src).cleanups
    assert cleanup["object"] == site.layout.stage("dead-1")
    (holder,) = cleanup["holders"]
    assert (holder["kind"], holder["pid"], holder["command"]) == ("process", pid, "sleep")
    assert holder["place"].endswith("docs.stage.dead-1/sub".replace("docs", site.name))
    assert cleanup["next_step"].startswith("Run `dsg.storage.recover`"), "it is not in the way"
    assert site.recover(src)
    assert look(site, src).cleanups == []


def test_a_run_that_is_under_way_is_told(site: Site) -> None:
    src = published(site)
    os.mkdir(site.layout.stage("dead-1"))
    with holding(site) as pid:
        found = look(site, src)
        assert [one["pid"] for one in found.running] == [pid]
        (cleanup,) = found.cleanups
        assert cleanup["next_step"].startswith(f"Wait until pid {pid} ")
    assert look(site, src).running == []


def test_a_mount_in_the_way_is_told(site: Site) -> None:
    src = published(site)
    inner = os.path.join(site.layout.stage("dead-1"), "there")
    os.makedirs(inner)
    point = site.copy("point", {})
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    subprocess.run(["mount", "--bind", site.kept(1), point], check=True)
    try:
        found = look(site, src)
    finally:
        subprocess.run(["umount", inner], check=True)
        subprocess.run(["umount", point], check=True)
    (cleanup,) = found.cleanups
    assert [(h["kind"], h["place"]) for h in cleanup["holders"]] == [("mount", inner)]
    assert cleanup["next_step"].startswith(f"Unmount {inner}, then run")
    (user,) = found.snapshot_users
    assert (user["snapshot"], user["kind"], user["place"]) == (1, "mount", point)


def test_what_cannot_be_read_hides_nothing_else(site: Site) -> None:
    src = published(site)
    with open(os.path.join(site.live, ".dsg", "manifest.jsonl"), "r+b") as stream:
        stream.seek(-20, os.SEEK_END)
        stream.write(b"x")
    found = look(site, "", drift=True)
    assert found.snapshot == 2
    assert [(one["part"], one["code"]) for one in found.unknown] == [("drift", "DSG-MANIFEST")]
    assert found.space
    assert src


@pytest.fixture
def open_site() -> Iterator[Site]:
    """A site that another user can reach: pytest's own directories are closed to others."""
    root = tempfile.mkdtemp(prefix="dsg-test-")
    os.chmod(root, 0o755)
    yield Site(root)
    shutil.rmtree(root)


def test_rights_that_are_missing_are_told_with_the_role_that_grants_them(open_site: Site) -> None:
    site = open_site
    published(site)
    status: Status = in_child(lambda: inspect(site.request("")), before=become(NOBODY))
    told = {one["object"]: one for one in status.missing_rights}
    assert told.keys() == {site.base, site.layout.container, site.live}
    assert "dsg.storage.repository" in told[site.base]["next_step"]
    assert "belongs to root" in told[site.live]["message"]
    assert status.snapshot == 2
    assert {one["part"] for one in status.unknown} >= {"unfinished", "cleanups"}


def test_a_read_only_file_system_is_told(site: Site) -> None:
    src = published(site)
    subprocess.run(["mount", "--bind", site.base, site.base], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", site.base], check=True)
        (missing,) = inspect(site.request(src)).missing_rights
    finally:
        subprocess.run(["umount", site.base], check=True)
    assert missing["message"] == "the file system is mounted read-only"


@pytest.mark.parametrize("compared", [True, False])
def test_before_the_first_publication_there_is_space_and_nothing_else(
    site: Site, compared: bool
) -> None:
    src = site.copy("ann", {"a": "a"}) if compared else ""
    found = look(site, src, drift=True, history=True)
    assert not found.repository_exists
    assert found.drift is None
    assert (found.space or {})["free"] > 0
    assert found.unknown == []
