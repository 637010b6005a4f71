# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of any snapshot, brought from another host over a real sshd."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from _core.errors import DsgError, LockedError
from _core.sync.engine import run
from _core.sync.fetch import FetchRequest, FetchResult, fetch
from _core.upkeep.prune import prune
from _core.upkeep.retention import Keep

from tests.integration.children import Killed, in_child
from tests.integration.support import EMPTY, Link, Script, Tree, make, put, read
from tests.transport.remote_site import SshSite

FIRST: Tree = {
    "a": "a",
    "big": "x" * 3_000_000,
    "d/s": Script("s"),
    "d/l": Link("../a"),
    "e": EMPTY,
}


@pytest.fixture
def old(site: SshSite) -> SshSite:
    """A repository over there whose first snapshot is not what is published."""
    src = make(os.path.join(site.root, "wc"), FIRST)
    run(site.request(src))
    put(src, "a", "other")
    put(src, "big", None)
    run(site.request(src))
    return site


def bring(site: SshSite, dest: str, **options: Any) -> FetchResult:
    return fetch(
        FetchRequest(
            site.name, site.backend, dest, destination=site.destination, lock_timeout=0, **options
        )
    )


def test_a_snapshot_is_brought_over(old: SshSite, tmp_path: Path) -> None:
    held = old.held()
    out = str(tmp_path / "out")
    announced = bring(old, out, snapshot=1, check=True)
    assert announced.changed
    assert not os.path.exists(out)
    assert bring(old, out, snapshot=1).entries == announced.entries
    assert read(out) == FIRST
    entry = next(one for one in announced.entries if one.path == "d/s")
    found = os.stat(os.path.join(out, "d/s"))
    assert (found.st_mtime_ns, found.st_mode & 0o777) == (entry.mtime_ns, entry.mode)
    assert not bring(old, out, snapshot=1).changed
    some = str(tmp_path / "some")
    assert bring(old, some, snapshot=1, paths=["d", "b*"]).snapshot == 1
    assert read(some) == {k: v for k, v in FIRST.items() if k.startswith(("d/", "b"))}
    newest = str(tmp_path / "newest")
    assert bring(old, newest, paths=["a"]).snapshot == 2
    assert read(newest) == {"a": "other"}
    assert old.held() == held


@pytest.mark.parametrize("content", ["X", None])
def test_what_is_damaged_over_there_leaves_nothing_here(
    old: SshSite, tmp_path: Path, content: str | None
) -> None:
    place = os.path.join(old.kept(1), "big")
    before = os.stat(place)
    if content is None:
        os.unlink(place)
    else:
        with open(place, "r+") as stream:
            stream.write(content)
        os.utime(place, ns=(before.st_mtime_ns, before.st_mtime_ns))
    out = tmp_path / "out"
    with pytest.raises(DsgError) as caught:
        bring(old, str(out), snapshot=1)
    error = caught.value
    assert (error.code, error.object) == ("DSG-DRIFT", "big")
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir() if "fetch" in path.name] == []
    assert bring(old, str(out), snapshot=1, paths=["a", "d"]).changed


def test_what_is_not_there_is_told(old: SshSite, tmp_path: Path) -> None:
    for options, code in (
        ({"snapshot": 9}, "DSG-REPOSITORY"),
        ({"snapshot": 1, "paths": ["nothing"]}, "DSG-ARGUMENT"),
    ):
        with pytest.raises(DsgError) as caught:
            bring(old, str(tmp_path / "out"), **options)
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()
    prune(old.repository, Keep(last=1))
    with pytest.raises(DsgError) as caught:
        bring(old, str(tmp_path / "out"), snapshot=1)
    assert caught.value.code == "DSG-REPOSITORY"
    assert "s2" in caught.value.message
    with pytest.raises(DsgError) as caught:
        fetch(FetchRequest("absent", old.backend, str(tmp_path / "x"), destination=old.destination))
    assert caught.value.code == "DSG-REPOSITORY"


def test_who_prunes_waits_for_who_fetches(old: SshSite, tmp_path: Path) -> None:
    """The snapshot is held by a shared lock over there until all of it is here."""
    with old.repository.lock(0), pytest.raises(LockedError):
        bring(old, str(tmp_path / "out"), snapshot=1)
    with old.repository.lock(0, shared=True):
        assert bring(old, str(tmp_path / "out"), snapshot=1).changed


def test_what_a_killed_fetch_left_is_used_up_by_the_next(old: SshSite, tmp_path: Path) -> None:
    out = str(tmp_path / "out")

    def die() -> None:
        import _core.sync.fetch as fetching

        fetching._arrange = lambda *_unused: os.kill(os.getpid(), signal.SIGKILL)
        bring(old, out, snapshot=1)

    with pytest.raises(Killed):
        in_child(die)
    assert (tmp_path / ".out.dsg-fetch" / "files").is_dir()
    assert not os.path.exists(out)
    assert bring(old, out, snapshot=1).changed
    assert read(out) == FIRST
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]
