# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: directions, conflict choices, clashes, and what holds for any three trees."""

from __future__ import annotations

import pytest
from _core.errors import ConflictError, DeleteLimitError
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.paths import check_paths
from _core.plan import plan as plans
from _core.plan.plan import (
    ORDER,
    check_deletions,
    make_plan,
    merged_cache,
    merged_remote,
    without_filled_directories,
)
from _core.plan.policy import Policy
from _core.plan.structure import collisions
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def entry(path: str, content: str) -> Entry:
    """A file with that content; ``-> x`` is a link, ``/`` an empty directory."""
    if content == "/":
        return Entry(path, DIRECTORY, 0, 0, 0, "", "", "ann")
    if content.startswith("-> "):
        return Entry(path, LINK, 0, 0, 0, "", content[3:], "ann")
    return Entry(path, FILE, len(content), 0, 0o644, content[0] * 64, "", "ann")


def tree(contents: dict[str, str]) -> dict[str, Entry]:
    return {path: entry(path, content) for path, content in contents.items()}


def plan_of(local, cache, remote, policy=None, ignored=None):
    return make_plan(tree(local), tree(cache), tree(remote), policy or Policy(), ignored)


def actions(plan) -> dict[str, str]:
    return {step.path: step.action for step in plan.steps}


# path → (L, C, R), then the action in direction both, push and pull
TABLE = {
    "001": ((None, None, "r"), "download", "held", "download"),
    "010": ((None, "c", None), "drop_cache", "drop_cache", "drop_cache"),
    "011=": ((None, "c", "c"), "delete_remote", "delete_remote", "held"),
    "011!": ((None, "c", "r"), "conflict", "conflict", "conflict"),
    "100": (("l", None, None), "upload", "upload", "held"),
    "101=": (("l", None, "l"), "update_cache", "update_cache", "update_cache"),
    "101!": (("l", None, "r"), "conflict", "conflict", "conflict"),
    "110=": (("l", "l", None), "delete_local", "held", "delete_local"),
    "110!": (("l", "c", None), "conflict", "conflict", "conflict"),
    "111L": (("l", "c", "c"), "upload", "upload", "held"),
    "111C": (("l", "c", "l"), "update_cache", "update_cache", "update_cache"),
    "111R": (("l", "l", "r"), "download", "held", "download"),
    "111!": (("l", "c", "r"), "conflict", "conflict", "conflict"),
}


def table_trees():
    return [
        {path: row[0][side] for path, row in TABLE.items() if row[0][side] is not None}
        for side in range(3)
    ]


@pytest.mark.parametrize(("direction", "column"), [("both", 1), ("push", 2), ("pull", 3)])
def test_every_state_in_every_direction(direction, column):
    plan = plan_of(*table_trees(), Policy(direction))
    assert actions(plan) == {path: row[column] for path, row in TABLE.items()}
    assert [step.path for step in plan.steps] == sorted(TABLE)


RESOLVED = {
    ("local", "both"): {
        "011!": "delete_remote",
        "101!": "upload",
        "110!": "upload",
        "111!": "upload",
    },
    ("remote", "both"): {
        "011!": "download",
        "101!": "download",
        "110!": "delete_local",
        "111!": "download",
    },
}
HELD = dict.fromkeys(("011!", "101!", "110!", "111!"), "held")


@pytest.mark.parametrize("direction", ["both", "push", "pull"])
@pytest.mark.parametrize("choice", ["local", "remote"])
def test_a_choice_takes_effect_where_the_direction_lets_it(choice, direction):
    plan = plan_of(*table_trees(), Policy(direction, choice))
    found = {path: action for path, action in actions(plan).items() if path.endswith("!")}
    lets = direction in ("both", {"local": "push", "remote": "pull"}[choice])
    assert found == (RESOLVED[choice, "both"] if lets else HELD)
    assert {s.taken for s in plan.steps if s.path.endswith("!")} == {choice}
    assert {s.taken for s in plan.steps if not s.path.endswith("!")} == {""}


def test_single_paths_decide_before_the_run():
    choices = {"101!": "local", "110!": "remote", "111!": "fail"}
    found = actions(plan_of(*table_trees(), Policy("both", "remote", choices)))
    assert found["011!"] == "download"
    assert found["101!"] == "upload"
    assert found["110!"] == "delete_local"
    assert found["111!"] == "conflict"


def test_counts_name_every_action():
    counts = plan_of(*table_trees()).counts()
    assert list(counts) == list(ORDER)
    assert counts["conflict"] == 4
    assert counts["held"] == 0
    assert sum(counts.values()) == len(TABLE)


def test_what_changes_on_which_side():
    quiet = plan_of({"a": "x"}, {"b": "x"}, {"a": "x"})
    assert actions(quiet) == {"a": "update_cache", "b": "drop_cache"}
    assert not quiet.changes_local
    assert not quiet.changes_remote
    assert plan_of({"a": "x"}, {}, {}).changes_remote
    assert plan_of({}, {"a": "x"}, {"a": "x"}).changes_remote
    assert plan_of({}, {}, {"a": "x"}).changes_local
    assert plan_of({"a": "x"}, {"a": "x"}, {}).changes_local


# --- conflicts as the user sees them ---


def test_conflicts_list_both_sides_path_by_path():
    local = tree({"f": "l", "gone": "l", "kind": "/"})
    remote = tree({"f": "r", "kind": "-> f"})
    local["f"] = local["f"]._replace(size=7, mode=0o755, mtime_ns=1_700_000_000 * 10**9)
    plan = make_plan(local, tree({"gone": "c"}), remote, Policy())
    with pytest.raises(ConflictError) as caught:
        plan.require_no_conflict()
    assert caught.value.code == "DSG-CONFLICT"
    assert caught.value.message == "3 paths are in conflict"
    told = "\n".join(caught.value.details)
    assert "f (101 L≠R)" in told
    assert (
        "  local:  7 bytes, mode 0755, sha256 llllllllllll, modified 2023-11-14T22:13:20Z, by ann"
        in told
    )
    assert "gone (110 L≠C)" in told
    assert "  remote: absent" in told
    assert "  local:  empty directory, by ann" in told
    assert "  remote: symbolic link to 'f', by ann" in told


def test_a_long_list_of_conflicts_is_cut_and_counted():
    many = {f"f{number:03}": "l" for number in range(60)}
    plan = plan_of(many, {}, dict.fromkeys(many, "r"))
    with pytest.raises(ConflictError, match="60 paths") as caught:
        plan.require_no_conflict()
    assert caught.value.details[-1] == "... and 10 more"
    assert len(caught.value.details) == 50 * 3 + 1


def test_no_conflict_is_no_error():
    plan_of({"a": "x"}, {}, {}).require_no_conflict()


# --- names that exclude each other ---

CLASHES = [
    ({"a": "x"}, {"a/b": "y"}),
    ({"a/b": "x"}, {"a": "y"}),
    ({"a/b/c": "x"}, {"a": "-> z"}),
    ({"Read": "x"}, {"READ": "y"}),
    ({"d/x": "x"}, {"D/y": "y"}),
    ({"d": "/"}, {"D/y": "y"}),
    ({"a": "x"}, {"A/b": "y", "A/c": "y"}),
    ({"é": "x"}, {"É": "y"}),
]


@pytest.mark.parametrize(("local", "remote"), CLASHES)
def test_a_clash_is_a_conflict_that_names_the_other_path(local, remote):
    plan = plan_of(local, {}, remote)
    assert set(actions(plan).values()) == {"conflict"}
    assert {step.path for step in plan.steps} == {*local, *remote}
    for step in plan.steps:
        assert step.clashes_with in (remote if step.path in local else local)
    with pytest.raises(ConflictError) as caught:
        plan.require_no_conflict()
    assert "cannot exist beside" in caught.value.details[0]


@pytest.mark.parametrize(("local", "remote"), CLASHES)
@pytest.mark.parametrize("choice", ["local", "remote"])
def test_a_choice_parts_a_clash(local, remote, choice):
    plan = plan_of(local, {}, remote, Policy(conflict=choice))
    won, lost = (local, remote) if choice == "local" else (remote, local)
    into, out = ("upload", "delete_remote") if choice == "local" else ("download", "delete_local")
    assert actions(plan) == {**dict.fromkeys(won, into), **dict.fromkeys(lost, out)}
    assert {step.taken for step in plan.steps} == {choice}


def test_choices_that_contradict_each_other_leave_a_conflict():
    policy = Policy(conflict_paths={"a": "local", "a/b": "remote"})
    assert actions(plan_of({"a": "x"}, {}, {"a/b": "y"}, policy)) == {
        "a": "conflict",
        "a/b": "conflict",
    }


def test_choices_that_would_give_both_up_leave_a_conflict():
    policy = Policy(conflict_paths={"Read": "remote", "READ": "local"})
    for direction in ("both", "push", "pull"):
        plan = plan_of(
            {"Read": "x"}, {}, {"READ": "y"}, Policy(direction, "fail", policy.conflict_paths)
        )
        assert set(actions(plan).values()) == {"conflict"}


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_what_the_direction_holds_back_is_in_the_way_all_the_same(direction):
    plan = plan_of({"a": "x"}, {}, {"a/b": "y"}, Policy(direction))
    assert actions(plan) == {"a": "conflict", "a/b": "conflict"}


def test_a_name_that_is_freed_is_no_clash():
    assert actions(plan_of({"a/b": "x"}, {"a": "x"}, {"a": "x"})) == {
        "a": "delete_remote",
        "a/b": "upload",
    }
    assert actions(plan_of({"READ": "x"}, {"READ": "x"}, {"read": "x"})) == {
        "READ": "delete_local",
        "read": "download",
    }


def test_an_ignored_published_name_is_in_the_way_of_an_upload():
    """It has no step of its own, yet both would be in the next manifest, and no reader takes that."""
    ignored = Entry("README", FILE, 1, 0, 0o644, "r" * 64, "", "ann")
    plan = make_plan(
        tree({"readme": "x"}), {}, {"README": ignored}, Policy(), lambda e: e.path == "README"
    )
    assert actions(plan) == {"readme": "conflict"}
    assert plan.steps[0].clashes_with == "README"


# --- directories that are implied ---


def test_a_directory_that_is_filled_is_not_deleted():
    local = {"d": "/", "x": "x"}
    filled = {"d/f": "x", "x": "x"}
    arriving = plan_of(local, local, filled)
    assert actions(arriving) == {"d": "drop_cache", "d/f": "download"}
    check_deletions(arriving, 2, 2, Policy(max_delete=0))
    leaving = plan_of(filled, local, local)
    assert actions(leaving) == {"d": "drop_cache", "d/f": "upload"}
    check_deletions(leaving, 2, 2, Policy(max_delete=0))


def test_an_empty_directory_is_not_published_into_one_that_holds_something():
    """It would be a snapshot without a change, with every push again."""
    plan = plan_of({"d": "/"}, {}, {"d/f": "x"}, Policy("push"))
    assert actions(plan) == {"d/f": "held"}
    assert not plan.changes_remote


def test_an_empty_directory_changes_nothing_where_one_holds_something():
    plan = plan_of({"d/f": "x"}, {}, {"d": "/"}, Policy("pull"))
    assert actions(plan) == {"d": "update_cache", "d/f": "held"}
    assert not plan.changes_local


def test_without_filled_directories_sorts_and_drops_what_is_implied():
    entries = tree({"b": "/", "a/b": "/", "a/b/c/d": "x", "a": "/", "a/b/c": "/", "a2": "/"})
    assert [e.path for e in without_filled_directories(entries.values())] == ["a/b/c/d", "a2", "b"]


# --- deletions ---


def test_the_limit_counts_each_side_by_itself():
    local = {"a": "x", "b": "x", "c": "x"}
    remote = {"b": "x", "c": "x", "d": "x"}
    plan = plan_of(local, {**local, **remote}, remote)
    assert actions(plan) == {"a": "delete_local", "d": "delete_remote"}
    check_deletions(plan, 3, 3, Policy(max_delete=1))
    check_deletions(plan, 3, 3, Policy(max_delete="34%"))
    with pytest.raises(DeleteLimitError) as caught:
        check_deletions(plan, 3, 3, Policy(max_delete="33%"))
    assert caught.value.object == "repository"
    pulled = plan_of(local, {**local, **remote}, remote, Policy("pull"))
    with pytest.raises(DeleteLimitError) as caught:
        check_deletions(pulled, 3, 3, Policy(max_delete=0))
    assert caught.value.object == "working copy"


# --- what holds for any three trees ---

NAMES = ["a", "A", "b", "c"]
CONTENTS = ["1", "2", "3", "-> x", "/"]


@st.composite
def trees(draw):
    """A valid tree: names that would exclude an earlier one are left out."""
    paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
    kept: dict[str, Entry] = {}
    found = draw(st.dictionaries(paths, st.sampled_from(CONTENTS), max_size=5))
    for path, content in found.items():
        wider = without_filled_directories([*kept.values(), entry(path, content)])
        candidate = {e.path: e for e in wider}
        if not collisions(candidate):
            kept = candidate
    return kept


POLICIES = st.builds(
    Policy,
    st.sampled_from(["both", "push", "pull"]),
    st.sampled_from(["fail", "local", "remote"]),
    st.dictionaries(st.sampled_from(["a", "A", "b", "a/b"]), st.sampled_from(["local", "remote"])),
)


def carry_out(plan, local, cache, remote):
    """Return L, C and R after a plan without conflicts, worked out here for L."""
    staged = {s.path: s.local for s in plan.of(plans.UPLOAD)}
    after = {e.path: e for e in merged_remote(remote, plan, staged)}
    known = {e.path: e for e in merged_cache(cache, plan, after)}
    mine = {p: e for p, e in local.items() if p not in {s.path for s in plan.of("delete_local")}}
    mine.update({s.path: s.remote for s in plan.of("download")})
    return {e.path: e for e in without_filled_directories(mine.values())}, known, after


@settings(max_examples=400)
@given(trees(), trees(), trees(), POLICIES)
def test_a_plan_leaves_sound_trees_and_is_done_when_it_is_done(local, cache, remote, policy):
    plan = make_plan(local, cache, remote, policy)
    assume(not plan.of("conflict"))
    mine, known, theirs = carry_out(plan, local, cache, remote)
    for result in (mine, known, theirs):
        check_paths(list(result))
    again = make_plan(mine, known, theirs, policy)
    assert not again.changes_local
    assert not again.changes_remote
    assert not again.of("conflict")
    if policy.direction == "both":
        assert mine == theirs
        assert again.steps == []
    if policy.direction == "push":
        assert mine == local
    if policy.direction == "pull":
        assert theirs == remote


@settings(max_examples=200)
@given(trees(), trees(), trees(), st.sampled_from(["local", "remote"]))
def test_one_choice_for_the_whole_run_leaves_no_conflict(local, cache, remote, choice):
    for direction in ("both", "push", "pull"):
        assert not make_plan(local, cache, remote, Policy(direction, choice)).of("conflict")


@settings(max_examples=200)
@given(trees(), trees(), trees(), POLICIES)
def test_nothing_is_lost_without_a_choice(local, cache, remote, policy):
    """A version that C does not know disappears only where the user chose the other side."""
    plan = make_plan(local, cache, remote, policy)
    for step in plan.steps:
        known = step.cache
        if step.action in ("upload", "delete_remote") and step.remote is not None:
            assert step.taken == "local" or step.remote.same_content(known)
        if step.action in ("download", "delete_local") and step.local is not None:
            assert step.taken == "remote" or step.local.same_content(known)


@settings(max_examples=200)
@given(trees(), trees(), trees(), POLICIES, st.sampled_from(["a", "b", "A/b", "c"]))
def test_ignored_paths_stay_as_they_are_on_every_side(local, cache, remote, policy, hidden):
    def ignored(candidate):
        return candidate.path == hidden or candidate.path.startswith(hidden + "/")

    local = {path: e for path, e in local.items() if not ignored(e)}
    plan = make_plan(local, cache, remote, policy, ignored)
    assume(not plan.of("conflict"))
    _unused, known, theirs = carry_out(plan, local, cache, remote)
    for result in (known, theirs):
        check_paths(list(result))
    for path, published in remote.items():
        if ignored(published):
            assert theirs[path] == published
