# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What prune says and does where something is odd: clocks, foreign snapshots, removals that fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from _core.backends.base import Removal
from _core.errors import DsgError, SystemCallError
from _core.manifest import codec
from _core.upkeep.prune import KEPT, WAITS, PruneResult, prune
from _core.upkeep.retention import Keep

from tests.contract.driver import publish, txn_of
from tests.integration.support import Site, make, put, site

__all__ = ["site"]

LAST = Keep(last=1)


def fill(site: Site, count: int = 3, text: str = "edit") -> Site:
    source = make(site.copy("source"), {"f": "0"})
    for number in range(1, count + 1):
        put(source, "f", f"{text} {number}")
        publish(site.repository, source, number)
    return site


def fates(result: PruneResult) -> dict[str, str]:
    return {fate.name: fate.action for fate in result.fates}


def refused(site: Site, keep: Keep = LAST) -> DsgError:
    """Prune what has to be refused, in a dry run as well; nothing may change."""
    before = site.held()
    for check in (True, False):
        with pytest.raises(DsgError) as caught:
            prune(site.repository, keep, check=check)
        assert site.held() == before
    assert caught.value.unchanged == "No snapshot was removed."
    assert not caught.value.changed
    return caught.value


# --- clocks ---


@pytest.mark.parametrize(
    ("days", "removed"),
    [
        ([-60, -20, -1], ["s1"]),
        ([-900, -820, -800], ["s1"]),  # it counts back from the newest, however long ago that was
        ([-60, -20, 3650], ["s1"]),  # ... but not from a time that has not come yet
    ],
)
def test_age_is_judged_by_the_newest_and_the_present(
    site: Site, monkeypatch: pytest.MonkeyPatch, days: list[int], removed: list[str]
) -> None:
    real = codec.build

    def dated(*arguments: Any, **header: Any) -> codec.Manifest:
        time = datetime.now(timezone.utc) + timedelta(days=days[header["snapshot"] - 1])
        header["created_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return real(*arguments, **header)

    monkeypatch.setattr(codec, "build", dated)
    assert prune(fill(site).repository, Keep(within="30d")).removed == removed


# --- what is not sound, or not ours ---


def test_a_damaged_step_stops_it_even_where_its_snapshot_is_gone(site: Site) -> None:
    assert prune(fill(site).repository, Keep(last=2)).removed == ["s1"]
    path = os.path.join(site.live, ".dsg", "history", "s1.jsonl")
    with open(path, "r+b") as stream:
        stream.write(b"x")
    error = refused(site)
    assert error.code == "DSG-MANIFEST"
    assert any("s1" in line for line in error.details)


def test_without_the_newest_snapshot_nothing_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On OpenZFS somebody may destroy it: what is published would be the only copy of it."""
    shelf = fill(site).repository.shelf()
    less = shelf._replace(stored=[one for one in shelf.stored if one.number != 3])
    monkeypatch.setattr(site.repository, "shelf", lambda: less)
    assert refused(site).code == "DSG-DRIFT"


def test_what_is_not_ours_takes_no_place_of_a_rule(site: Site) -> None:
    fill(site)
    theirs = Site(make(os.path.join(site.root, "elsewhere"), {}), site.name)
    fill(theirs, text="never here")
    shutil.rmtree(site.layout.snapshot(2))
    shutil.copytree(theirs.layout.snapshot(2), site.layout.snapshot(2), symlinks=True)
    foreign = fates(prune(site.repository, Keep(last=2), check=True))
    assert foreign == {"s1": "kept", "s3": "kept", "s2": "foreign"}


def test_a_snapshot_that_is_ahead_of_the_history_is_not_ours(site: Site) -> None:
    """One of another history, of our name: ours has no step of that number."""
    fill(site, 2)
    theirs = fill(Site(make(os.path.join(site.root, "elsewhere"), {}), site.name), 4)
    shutil.copytree(theirs.live, site.layout.snapshot(4), symlinks=True)
    assert fates(prune(site.repository, LAST)) == {"s1": "removed", "s2": "kept", "s4": "foreign"}
    assert os.path.isdir(site.layout.snapshot(4))


# --- what is in use, and removals that fail ---


def use(site: Site, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Have the shelf say that somebody uses these snapshots."""
    real = site.repository.shelf

    def used() -> Any:
        shelf = real()
        stored = [
            one._replace(in_use="it is held by bob") if one.number in numbers else one
            for one in shelf.stored
        ]
        return shelf._replace(stored=stored)

    monkeypatch.setattr(site.repository, "shelf", used)


def test_who_uses_a_snapshot_is_only_told_where_it_is_to_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(fill(site), monkeypatch, 1, 2)
    for check in (True, False):
        done = prune(site.repository, Keep(last=2), check=check)
        assert (fates(done)["s1"], fates(done)["s2"]) == (WAITS, KEPT)
        assert done.fates[0].reasons == ["it is held by bob"]
        assert not done.changed
    assert done.pending_cleanup == ["s1 is to be removed: it is held by bob"]


def removing(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: Callable[[int], Removal | None]
) -> None:
    """Have removals answered for, or (None) carried out."""
    real = site.repository.remove_snapshot
    monkeypatch.setattr(
        site.repository, "remove_snapshot", lambda number: answer(number) or real(number)
    )


@pytest.mark.parametrize("gone", [True, False])
def test_a_removal_that_is_put_off_is_told_as_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    removing(
        fill(site), monkeypatch, lambda number: Removal(gone, "a clone") if number == 1 else None
    )
    done = prune(site.repository, LAST)
    assert done.removed == (["s1", "s2"] if gone else ["s2"])
    assert fates(done) == {"s1": "waits", "s2": "removed", "s3": "kept"}
    assert done.fates[0].reasons == done.pending_cleanup == ["a clone"]


def test_a_removal_that_fails_tells_what_is_gone_already(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise SystemCallError("input/output error", object="s2")

    removing(fill(site), monkeypatch, fail)
    with pytest.raises(DsgError) as caught:
        prune(site.repository, LAST)
    assert caught.value.unchanged == "s1 removed; all else is unchanged."
    assert caught.value.changed
    assert site.repository.snapshots() == [2, 3]


def test_an_error_that_knows_better_is_left_its_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise SystemCallError("input/output error", object="s1", unchanged="Nobody knows.")

    removing(fill(site), monkeypatch, fail)
    with pytest.raises(DsgError, match=r"Nobody knows\.") as caught:
        prune(site.repository, LAST)
    assert not caught.value.changed


def test_a_recovery_is_a_change_of_its_own(site: Site) -> None:
    os.mkdir(fill(site).layout.stage(txn_of(9)))
    for check in (True, False):
        done = prune(site.repository, Keep(last=3), check=check)
        assert (done.changed, done.removed, len(done.recovered)) == (True, [], 1)
    assert not prune(site.repository, Keep(last=3)).changed
