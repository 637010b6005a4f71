# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that are made portable: announced, published and renamed as one, and put back."""

from __future__ import annotations

import os

import pytest
from _core.client.working_copy import WorkingCopy
from _core.manifest.portable import Rename
from _core.plan.policy import NORMALISE
from _core.sync.engine import run
from _core.sync.status import inspect
from _core.sync.undo_names import undo_names

from tests.integration.support import (
    EMPTY,
    Link,
    Script,
    Site,
    Tree,
    make,
    put,
    read,
    refused,
    site,
)

__all__ = ["site"]

BEFORE: Tree = {
    "plain": "stays",
    "Readme": "one",
    "README": "another",
    "aux.txt": "a device",
    "a:b/c?/d.": "deep",
    "a:b/run": Script("x"),
    "a:b/hollow ": EMPTY,
    "cafe\u0301": "decomposed",
    "latin\udce9": "no UTF-8",
    "link": Link("a:b/c?/d."),
    "a:b/up": Link("../cafe\u0301"),
    "through": Link("via/run"),
    "via": Link("a:b"),
}
AFTER: Tree = {
    "plain": "stays",
    "Readme-2": "one",
    "README": "another",
    "aux_.txt": "a device",
    "a_b/c_/d": "deep",
    "a_b/run": Script("x"),
    "a_b/hollow": EMPTY,
    "caf\u00e9": "decomposed",
    "latin_": "no UTF-8",
    "link": Link("a_b/c_/d"),
    "a_b/up": Link("../caf\u00e9"),
    "through": Link("via/run"),
    "via": Link("a_b"),
}


def undo(site: Site, src: str) -> list[Rename]:
    """Say what would be put back, then put it back."""
    request = site.request(src)
    before = site.picture()
    announced = undo_names(request._replace(check=True))
    assert site.picture() == before
    done = undo_names(request)
    assert (done.names, done.changed) == (announced.names, announced.changed)
    return list(done.names.renames)


def test_both_sides_get_the_new_names(site: Site) -> None:
    src = site.copy("wc", BEFORE)
    done = site.sync(src, names=NORMALISE)
    assert read(src) == read(site.live) == AFTER
    assert len(done.names.renames) == 8 and len(done.names.retargets) == 3
    site.check_sound()
    site.check_tidy(src)
    assert not site.sync(src, names=NORMALISE).changed
    assert not site.sync(src).changed
    assert {entry.user for entry in site.remote().values() if entry.kind == "file"} == {"wc"}


def test_names_are_put_back_here_alone(site: Site) -> None:
    src = site.copy("wc", BEFORE)
    site.sync(src, names=NORMALISE)
    assert len(undo(site, src)) == 8
    assert read(src) == BEFORE
    assert read(site.live) == AFTER
    site.check_tidy(src)
    assert undo(site, src) == []
    # What is published is what would be published: only the working copy has to be renamed anew.
    again = site.sync(src, names=NORMALISE)
    assert (again.snapshot, len(again.names.renames)) == (1, 8)
    assert read(src) == AFTER


def test_the_strict_policy_lists_what_would_be_renamed(site: Site) -> None:
    src = site.copy("wc", {"fine": "1", "aux": "2", "a:": "3"})
    error = site.refused("DSG-PATH", src, names="portable")
    assert error.details == ["'a:': would be 'a_'", "'aux': would be 'aux_'"]
    put(src, "aux", None)
    put(src, "a:", None)
    assert site.sync(src, names="portable").changed


def test_what_cannot_be_helped_is_refused_as_ever(site: Site) -> None:
    src = site.copy("wc", {"a:": "1", "away": Link("../../etc/passwd"), "sub/.dsg": "2"})
    error = site.refused("DSG-PATH", src, names=NORMALISE)
    assert error.details == ["'sub/.dsg': '.dsg' is reserved and never content"]
    put(src, "sub", None)
    error = site.refused("DSG-PATH", src, names=NORMALISE)
    assert error.details == ["'away' -> '../../etc/passwd': the link leaves the tree"]
    assert site.refused("DSG-ARGUMENT", src, names=NORMALISE, direction="push")
    assert site.refused("DSG-ARGUMENT", src, names="nice")


def test_published_names_are_replaced_and_keep_their_users(site: Site) -> None:
    """Names that Linux has no trouble with were published before: they are renamed there as well."""
    alice = site.copy("alice", {"aux": "1", "d:/x": "2", "d:/y": "3", "l": Link("d:/x")})
    site.sync(alice)
    bob = site.copy("bob")
    site.sync(bob)
    done = site.sync(bob, names=NORMALISE, max_delete="0")
    assert done.snapshot == 2
    wanted: Tree = {"aux_": "1", "d_/x": "2", "d_/y": "3", "l": Link("d_/x")}
    assert read(bob) == read(site.live) == wanted
    assert {e.user for e in site.remote().values() if e.kind == "file"} == {"alice"}
    site.sync(alice)
    assert read(alice) == wanted
    site.check_sound()


def test_changes_of_the_other_side_arrive_under_the_new_names(site: Site) -> None:
    alice = site.copy("alice", {"d_/x": "1", "d_/y": "2", "d_/l": Link("x"), "k": "k"})
    site.sync(alice)
    bob = site.copy("bob")
    site.sync(bob)
    put(alice, "d_/x", "changed by alice")
    put(alice, "d_/y", None)
    put(alice, "d_/new", "of alice")
    site.sync(alice)
    os.rename(os.path.join(bob, "d_"), os.path.join(bob, "d:"))
    put(bob, "d:/mine", "of bob")
    site.sync(bob, names=NORMALISE)
    wanted: Tree = {
        "d_/x": "changed by alice",
        "d_/new": "of alice",
        "d_/mine": "of bob",
        "d_/l": Link("x"),
        "k": "k",
    }
    assert read(bob) == read(site.live) == wanted
    site.check_sound()


def test_a_conflict_stops_it_with_nothing_renamed(site: Site) -> None:
    alice = site.copy("alice", {"x_": "of alice", "k": "k"})
    site.sync(alice)
    bob = site.copy("bob", {"x:": "of bob", "k": "k"})
    error = site.refused("DSG-CONFLICT", bob, names=NORMALISE)
    assert error.details[0].startswith("x_ (")
    done = site.sync(bob, names=NORMALISE, conflict="remote")
    assert read(bob) == {"x_": "of alice", "k": "k"}
    assert read(done.backup) == {"x_": "of bob"}


def test_pull_renames_here_and_publishes_nothing(site: Site) -> None:
    src = site.copy("wc", {"k": "k"})
    site.sync(src)
    make(src, {"a:": "1"})
    site.sync(src, names=NORMALISE, direction="pull")
    assert read(src) == {"k": "k", "a_": "1"}
    assert read(site.live) == {"k": "k"}
    assert site.sync(src, names=NORMALISE).snapshot == 2


def test_ignored_files_are_in_nobodys_way(site: Site) -> None:
    """They keep their names, move along with their directories, and no new name is one of theirs."""
    src = site.copy("wc", {"a:": "1", "a_": "ignored", "d:/k": "2", "d:/x:": "ignored too"})
    ignore = ["/a_", "x:"]
    site.sync(src, names=NORMALISE, ignore=ignore)
    assert read(src) == {"a_-2": "1", "a_": "ignored", "d_/k": "2", "d_/x:": "ignored too"}
    assert read(site.live) == {"a_-2": "1", "d_/k": "2"}
    src = site.copy("other", {"b:": "1", "k": "2"})
    assert site.beside("other").sync(src, names=NORMALISE, ignore=["b_"]).names.renames == [
        ("b:", "b_-2")
    ]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_ignored_is_published_by_a_new_name(site: Site, check: bool) -> None:
    """It moves along with its directory, and a pattern that has the directory's name matches no more."""
    patterns = "/r: 1/drafts/\n/r: 1/sub:/*.key\n/a:/only\n"
    tree: Tree = {
        ".dsgignore": patterns,
        "a:/only": "ignored, and alone there",
        "k:/left": "ignored by any name",
        "r: 1/drafts/secret": "ignored",
        "r: 1/page": "1",
        "r: 1/sub:/a.key": "ignored",
        "r: 1/sub:/page": "2",
    }
    src = site.copy("wc", tree)
    error = site.refused("DSG-PATH", src, names=NORMALISE, check=check, ignore=["left"])
    assert error.details == [
        "'a:/only': ignored by '/a:/only', and would not be as 'a_/only'",
        "'r: 1/drafts': ignored by '/r: 1/drafts/', and would not be as 'r_ 1/drafts'",
        "'r: 1/sub:/a.key': ignored by '/r: 1/sub:/*.key', and would not be as 'r_ 1/sub_/a.key'",
    ]
    assert ".dsgignore" in error.next_step
    put(src, ".dsgignore", patterns + patterns.replace(":", "_"))
    for _once_more in range(2):
        site.sync(src, names=NORMALISE, ignore=["left"])
        assert sorted(site.remote()) == [".dsgignore", "r_ 1/page", "r_ 1/sub_/page"]


def test_nothing_published_is_ignored_by_a_new_name(site: Site) -> None:
    """It would be deleted there, as everything that is ignored from some day on."""
    src = site.copy("wc", {"b:/page": "1", "b:/deep/page": "2", "k": "k"})
    error = site.refused("DSG-PATH", src, names=NORMALISE, ignore=["/b?/deep", "!/b:/deep"])
    assert error.details == ["'b:/deep': not ignored, and would be by '/b?/deep' as 'b_/deep'"]


def test_the_ignore_file_keeps_its_name(site: Site) -> None:
    src = site.copy("wc", {".DSGIGNORE": "", ".dsgignore": "secret", "secret": "ignored"})
    error = site.refused("DSG-PATH", src, names=NORMALISE)
    assert error.details == [
        "'.dsgignore': would be '.dsgignore-2', and .dsgignore says what is ignored"
    ]
    src = site.copy("other", {".dsgignore.": "k", "k": "k"})
    site.refused("DSG-PATH", src, names=NORMALISE)


def test_what_is_not_renamed_is_not_read_again(site: Site) -> None:
    """The index of the old names serves the next scan under the new ones."""
    src = site.copy("wc", {"d:/sub/a": "1", "d:/sub/b": "2", "e/c": "3", "x:": "4"})
    for name in ("d:/sub/a", "d:/sub/b", "e/c", "x:"):
        os.utime(os.path.join(src, name), (1_600_000_000, 1_600_000_000))
    site.sync(src, names=NORMALISE)
    put(src, "new", "5")
    done = site.sync(src, names=NORMALISE)
    assert (done.snapshot, done.plan.counts()["upload"]) == (2, 1)
    site.check_sound()


def test_bad_names_stay_refused_behind_a_renaming(site: Site) -> None:
    """The index does not make a later run believe that it has seen a name and found it good."""
    src = site.copy("wc", {"d/tab\there": "1", "d/k": "2"})
    site.sync(src, names=NORMALISE)
    undo(site, src)
    site.refused("DSG-PATH", src)
    assert inspect(site.request(src, names=NORMALISE)).plan.steps == []
    site.refused("DSG-PATH", src)


def test_old_names_that_are_taken(site: Site) -> None:
    src = site.copy("wc", {"a:/x:": "1", "b:": "2", "l": Link("b:"), "gone:": "3"})
    site.sync(src, names=NORMALISE)
    put(src, "gone_", None)
    put(src, "a_/x:", "in the way")
    error = refused(site, "DSG-PATH", lambda: undo_names(site.request(src)))
    assert error.details == ["'a:/x:'"]
    put(src, "a_/x:", None)
    put(src, "l", Link("elsewhere"))
    assert undo(site, src) == [("a_/x_", "a:/x:"), ("b_", "b:"), ("a_", "a:")]
    assert read(src) == {"a:/x:": "1", "b:": "2", "l": Link("elsewhere")}


def test_another_kind_under_a_new_name_is_left_alone(site: Site) -> None:
    """A file that was saved anew is its user's file as ever; a directory was never renamed there."""
    src = site.copy(
        "wc",
        {
            "a:": "1",
            "b:": "2",
            "c:/x": "3",
            "d:": Link("k"),
            "e:": EMPTY,
            "k": "k",
            "to a": Link("a:"),
            "to b": Link("b:"),
        },
    )
    site.sync(src, names=NORMALISE)
    put(src, "a_", "saved by an editor, which makes a file anew")
    make(src, {"b_": None, "b_/new": "another", "c_": "another", "d_": "another"})
    assert undo(site, src) == [("e_", "e:"), ("a_", "a:")]
    assert read(src) == {
        "a:": "saved by an editor, which makes a file anew",
        "b_/new": "another",
        "c_": "another",
        "d_": "another",
        "e:": EMPTY,
        "k": "k",
        "to a": Link("a:"),
        "to b": Link("b_"),
    }


def test_undoing_goes_back_step_by_step(site: Site) -> None:
    src = site.copy("wc", {"a:": "1"})
    site.sync(src, names=NORMALISE)
    put(src, "b:", "2")
    site.sync(src, names=NORMALISE)
    assert sorted(undo(site, src) + undo(site, src)) == [("a_", "a:"), ("b_", "b:")]
    assert read(src) == {"a:": "1", "b:": "2"}


def test_a_damaged_record_is_told(site: Site) -> None:
    src = site.copy("wc", {"a:": "1"})
    site.sync(src, names=NORMALISE)
    (name,) = os.listdir(WorkingCopy(src).names)
    with open(os.path.join(WorkingCopy(src).names, name), "w", encoding="utf-8") as stream:
        stream.write("{}")
    refused(site, "DSG-WORKING-COPY", lambda: undo_names(site.request(src)))


def test_what_happens_while_it_is_published(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from _core.sync.txn import SyncTransaction

    src = site.copy("wc", {"a:": "1", "b:": "2", "c:": "3", "d:/x": "4", "k": "k"})
    commit = SyncTransaction._commit_repository

    def save_first(self: SyncTransaction) -> None:
        commit(self)
        put(src, "saved", "by an editor")
        os.rename(os.path.join(src, "saved"), os.path.join(src, "a:"))
        put(src, "b:", None)
        put(src, "c_", "in the way")
        os.rename(os.path.join(src, "d:"), os.path.join(src, "moved"))

    monkeypatch.setattr(SyncTransaction, "_commit_repository", save_first)
    done = run(site.request(src, names=NORMALISE))
    monkeypatch.undo()
    assert done.put_off == ["c_"]
    left: Tree = {"moved/x": "4", "k": "k", "c:": "3", "c_": "in the way"}
    assert read(src) == {"a_": "by an editor", **left}
    assert site.refused("DSG-CONFLICT", src, names=NORMALISE).details[0].startswith("c_ (")
    site.sync(src, names=NORMALISE, conflict="local")
    wanted: Tree = {**left, "a_": "by an editor", "c_-2": "3"}
    del wanted["c:"]
    assert read(src) == read(site.live) == wanted
    site.check_sound()
