# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two clients at once on one repository, as real processes: nothing is lost, every number is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager

import pytest
from _core.backends.directory.repository import DirectoryRepository
from _core.errors import ConflictError, DsgError, LockedError, RepositoryError
from _core.sync.engine import run
from _core.sync.request import SyncResult
from _core.sync.status import inspect

from tests.integration.children import Child, at_once, in_child
from tests.integration.support import Site, make, put, read, refused, site

__all__ = ["site"]

ROUNDS = 20


def summary(result: SyncResult) -> dict[str, object]:
    return {
        "operation": result.operation,
        "changed": result.changed,
        "snapshot": result.snapshot,
        "txn_id": result.txn_id,
        "steps": {step.path: step.action for step in result.plan.steps},
        "published": result.plan.changes_remote,
    }


def syncing(site: Site, src: str, **options) -> Callable[[], dict[str, object]]:
    return lambda: summary(run(site.request(src, **options)))


def check_linear(site: Site, published: list[dict[str, object]]) -> None:
    """Every snapshot number was given out once, and the history has them all, in one line."""
    numbers = [result["snapshot"] for result in published]
    assert len(set(numbers)) == len(numbers)
    newest = site.manifest().header.snapshot
    assert sorted(numbers) == list(range(1, newest + 1))
    assert site.repository.chain_problems() == []
    by_number = {result["snapshot"]: result["txn_id"] for result in published}
    for number in range(1, newest + 1):
        path = os.path.join(site.live, ".dsg", "history", f"s{number}.jsonl")
        with open(path) as stream:
            assert f'"txn":"{by_number[number]}"' in stream.readline()
    site.check_sound()


@pytest.mark.parametrize("timeout", [30.0, 0.0])
def test_two_clients_that_change_different_things(site, timeout):
    """They wait for each other and plan anew; without patience they are told and try again."""
    ann, bob = site.copy("ann", {"common": "c"}), site.copy("bob")
    published = [summary(site.sync(ann))]
    site.sync(bob)
    expected = {"common": "c"}
    told_locked = 0
    for number in range(ROUNDS):
        for name, src in (("ann", ann), ("bob", bob)):
            made = {f"{name}/{number}": f"{name} made {number}", f"{name}/latest": f"{number}"}
            make(src, made)
            expected.update(made)
        waiting = [ann, bob]
        while waiting:
            outcomes = at_once(*(syncing(site, src, lock_timeout=timeout) for src in waiting))
            again = []
            for src, outcome in zip(waiting, outcomes):
                if isinstance(outcome, LockedError):
                    assert timeout == 0.0
                    told_locked += 1
                    again.append(src)
                    continue
                assert isinstance(outcome, dict), outcome
                assert outcome["published"]
                published.append(outcome)
            assert len(again) < len(waiting), "somebody always gets through"
            waiting = again
        assert read(site.live) == expected
    check_linear(site, published)
    site.sync(ann)
    site.sync(bob)
    assert read(ann) == read(bob) == expected
    assert site.cache(ann) == site.cache(bob) == site.remote()


def test_two_clients_that_change_the_same_file(site):
    """One wins; the other is told of the conflict, decides, and both lines of work are kept."""
    ann, bob = site.copy("ann", {"log": ""}), site.copy("bob")
    published = [summary(site.sync(ann))]
    site.sync(bob)
    written: list[str] = []
    for number in range(ROUNDS):
        for name, src in (("ann", ann), ("bob", bob)):
            put(src, "log", read(src)["log"] + f"{name} {number}\n")
            written.append(f"{name} {number}")
        outcomes = at_once(syncing(site, ann), syncing(site, bob))
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["ConflictError", "dict"], outcomes
        lost, src = (0, ann) if isinstance(outcomes[0], ConflictError) else (1, bob)
        published.append(outcomes[1 - lost])
        mine = read(src)["log"].splitlines()[-1]
        result = run(site.request(src, conflict="remote"))
        assert read(src) == read(site.live)
        assert result.backup
        put(src, "log", read(src)["log"] + mine + "\n")
        published.append(summary(run(site.request(src))))
        site.sync(bob if src == ann else ann)
    assert sorted(read(site.live)["log"].splitlines()) == sorted(written)
    assert read(ann) == read(bob) == read(site.live)
    check_linear(site, published)


def test_two_first_publications_at_once(site):
    """One creates the repository, the other joins it; with operation init it is told."""
    for number in range(8):
        one = Site(site.root, f"auto{number}")
        sources = [one.copy(f"{who}{number}", {who: who}) for who in ("ann", "bob")]
        outcomes = at_once(*(syncing(one, src) for src in sources))
        assert sorted(o["operation"] for o in outcomes) == ["init", "sync"], outcomes
        assert read(one.live) == {"ann": "ann", "bob": "bob"}
        assert sorted(o["snapshot"] for o in outcomes) == [1, 2]
        assert one.repository.chain_problems() == []

        other = Site(site.root, f"init{number}")
        outcomes = at_once(*(syncing(other, src, operation="init") for src in sources))
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["RepositoryError", "dict"], outcomes
        (error,) = [o for o in outcomes if isinstance(o, RepositoryError)]
        assert "exists already" in error.message
        assert other.manifest().header.snapshot == 1


def test_two_runs_on_one_working_copy(site):
    ann = site.copy("ann", {"f": "0"})
    site.sync(ann)
    for number in range(8):
        put(ann, "f", f"changed {number}")
        outcomes = at_once(syncing(site, ann), syncing(site, ann))
        assert sorted(outcome["changed"] for outcome in outcomes) == [False, True], outcomes
        assert site.manifest().header.snapshot == number + 2
    site.check_sound()
    site.check_tidy(ann)


def test_pulls_while_somebody_publishes(site):
    """Whoever pulls gets one snapshot, never a mixture of two."""

    def version(number: int) -> dict[str, str]:
        return dict.fromkeys(("a", "b", "d/c", f"only/{number}"), f"{number}")

    ann, bob = site.copy("ann", version(0)), site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    for number in range(1, ROUNDS):
        put(ann, "only", None)
        make(ann, version(number))
        pull = syncing(site, bob, direction="pull")
        outcomes = at_once(syncing(site, ann), pull)
        assert all(isinstance(outcome, dict) for outcome in outcomes), outcomes
        assert read(bob) in (version(number - 1), version(number))
        site.sync(bob)
        assert read(bob) == version(number)


# --- the same, step by step ---


@contextmanager
def before_the_lock(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch):
    """Do something when the next sync has planned and goes for the repository's lock."""
    real = DirectoryRepository.lock
    done = []

    def lock(self, timeout, *, shared=False):
        if not done:
            done.append(True)
            in_child(work)
        return real(self, timeout, shared=shared)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryRepository, "lock", lock)
        yield
    assert done, "nobody asked for the lock"


def behind(site: Site) -> tuple[str, str]:
    ann = site.copy("ann", {"f": "f", "g": "g", "gone": "x"})
    bob = site.copy("bob")
    site.sync(ann)
    site.sync(bob)
    return ann, bob


def test_a_plan_made_before_the_other_s_commit_takes_it_into_account(site, monkeypatch):
    ann, bob = behind(site)
    make(ann, {"f": "from ann", "new": "n", "gone": None})
    put(bob, "g", "from bob")
    with before_the_lock(syncing(site, ann), monkeypatch):
        result = run(site.request(bob))
    assert summary(result)["steps"] == {
        "f": "download",
        "g": "upload",
        "gone": "delete_local",
        "new": "download",
    }
    assert result.snapshot == 3
    assert read(site.live) == read(bob) == {"f": "from ann", "g": "from bob", "new": "n"}
    site.check_sound()


def test_a_conflict_that_came_up_meanwhile_changes_nothing(site, monkeypatch):
    ann, bob = behind(site)
    put(ann, "f", "from ann")
    make(bob, {"f": "from bob", "g": "from bob"})
    before = read(bob)
    with (
        before_the_lock(syncing(site, ann), monkeypatch),
        pytest.raises(ConflictError) as caught,
    ):
        run(site.request(bob))
    assert caught.value.details[0].startswith("f ")
    assert read(bob) == before
    assert read(site.live) == {"f": "from ann", "g": "g", "gone": "x"}
    site.check_tidy(bob)


def test_deletions_that_came_up_meanwhile_count(site, monkeypatch):
    ann, bob = behind(site)
    for path in ("f", "gone"):
        put(ann, path, None)
    put(bob, "g", "from bob")
    with before_the_lock(syncing(site, ann), monkeypatch), pytest.raises(DsgError) as caught:
        run(site.request(bob, max_delete=1))
    assert caught.value.code == "DSG-MAX-DELETE"
    assert read(bob) == {"f": "f", "g": "from bob", "gone": "x"}


def test_a_repository_that_came_into_being_meanwhile_is_joined(site, monkeypatch):
    ann, bob = site.copy("ann", {"a": "a", "same": "s"}), site.copy("bob", {"b": "b", "same": "s"})
    with before_the_lock(syncing(site, ann), monkeypatch):
        result = run(site.request(bob))
    assert result.operation == "sync"
    assert read(bob) == read(site.live) == {"a": "a", "b": "b", "same": "s"}


def test_whoever_finds_the_repository_held_is_told_or_waits(site):
    ann, bob = behind(site)
    put(ann, "f", "from ann")
    put(bob, "g", "from bob")
    asked, answer = os.pipe(), os.pipe()

    def slow() -> dict[str, object]:
        real = os.link

        def link(*args, **options):
            os.write(asked[1], b"!")
            os.read(answer[0], 1)
            os.link = real
            real(*args, **options)

        os.link = link
        return syncing(site, ann)()

    child = Child(slow)
    child.go()
    os.read(asked[0], 1)  # ann holds the repository now, and stages
    with pytest.raises(LockedError) as caught:
        run(site.request(bob, lock_timeout=0.0))
    assert f"pid {child.pid}, " in caught.value.message
    assert caught.value.object == site.repository.location
    waiting = Child(syncing(site, bob, lock_timeout=60.0))
    waiting.go()
    os.write(answer[1], b"!")
    assert child.outcome()[1]["snapshot"] == 2
    assert waiting.outcome()[1]["snapshot"] == 3
    assert read(site.live) == {"f": "from ann", "g": "from bob", "gone": "x"}
    for end in (*asked, *answer):
        os.close(end)


def test_a_dead_client_holds_nothing(site):
    ann, bob = behind(site)
    put(ann, "f", "from ann")
    put(bob, "g", "from bob")

    def die() -> None:
        os.link = lambda *args, **options: os._exit(9)
        run(site.request(ann))

    child = Child(die)
    child.go()
    child.outcome()
    assert len(site.layout.staged()) == 1
    result = run(site.request(bob, lock_timeout=0.0))
    assert len(result.recovered) == 1
    assert result.snapshot == 2
    site.sync(ann)
    site.check_sound()


def test_a_dry_run_while_somebody_publishes_sees_one_snapshot(site, monkeypatch):
    """Header and manifest are read one after the other: both must be of one snapshot."""
    ann, bob = behind(site)
    make(ann, {"f": "from ann", "new": "n", "gone": None})
    expected = {"f": "download", "gone": "delete_local", "new": "download"}
    for look in (
        lambda: run(site.request(bob, check=True)).plan,
        lambda: inspect(site.request(bob)).plan,
    ):
        published = []
        put(bob, "touch", "x")  # else digests alone tell that nothing is to be done
        put(ann, "round", f"{look}")
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryRepository, "manifest", _publishing(site, ann, published))
            plan = look()
        assert published
        steps = {step.path: step.action for step in plan.steps}
        assert steps == {**expected, "touch": "upload", "round": "download"}


def _publishing(site, who, published):
    """Return a ``manifest`` that is read right behind somebody's publication."""
    real = DirectoryRepository.manifest

    def manifest(self, known=None):
        if not published:
            published.append(True)
            in_child(syncing(site, who))
        return real(self, known)

    return manifest


def test_a_repository_replaced_while_it_is_looked_at_is_no_newer_snapshot(site, monkeypatch):
    ann, bob = behind(site)
    put(bob, "touch", "x")
    eve = Site(os.path.join(site.root, "elsewhere"))
    eve.sync(eve.copy("eve", {"evil": "x"}))
    real = DirectoryRepository.manifest

    def manifest(self, known=None):
        if os.path.exists(eve.live):
            os.rename(site.live, site.live + ".away")
            os.rename(eve.live, site.live)
        return real(self, known)

    monkeypatch.setattr(DirectoryRepository, "manifest", manifest)
    with pytest.raises(DsgError) as caught:
        run(site.request(bob))
    assert caught.value.code in ("DSG-DRIFT", "DSG-REPOSITORY")
    assert "another repository" in caught.value.message
    assert read(bob) == {"f": "f", "g": "g", "gone": "x", "touch": "x"}
    assert read(ann)


def test_one_client_s_error_does_not_stop_the_other(site):
    ann, bob = behind(site)
    put(ann, "f", "from ann")
    os.symlink("../outside", os.path.join(bob, "bad"))
    outcomes = at_once(syncing(site, ann), syncing(site, bob))
    assert outcomes[0]["snapshot"] == 2
    assert outcomes[1].code == "DSG-PATH"
    refused(site, "DSG-PATH", syncing(site, bob))
