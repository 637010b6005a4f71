# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history's criteria: periods, authors and paths; and steps read quickly, but not less strictly."""

from __future__ import annotations

import io
import os

import pytest
from _core.errors import ArgumentError, ManifestError
from _core.manifest import codec, delta
from _core.manifest.entry import DIRECTORY, FILE, LINK, Entry
from _core.manifest.header import Header
from _core.manifest.lines import encode_entry
from _core.upkeep.chain import Chain
from _core.upkeep.criteria import Authors, Paths, Period
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(st.sampled_from('ab"\\ .ü*[]é'), min_size=1, max_size=6).filter(
    lambda name: name.strip(".") and name == name.strip()
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def header(number: int, time: str = "2026-11-20T22:41:00Z") -> Header:
    manifest = codec.build(
        [],
        repository_id="0" * 32,
        repository="tree",
        snapshot=number,
        parent="" if number == 1 else "1" * 64,
        txn=f"t{number}",
        created_at=time,
        created_by="ann@here",
        message="",
    )
    return manifest.header


@pytest.mark.parametrize(
    ("since", "until", "inside"),
    [
        ("", "", True),
        ("5", "5", True),
        ("s6", "", False),
        ("", "4", False),
        ("2026-11-20", "2026-11-20", True),
        ("2026-11-21", "", False),
        ("", "2026-11-19", False),
        ("2026-11-20T22:41:00Z", "2026-11-20T22:41:00Z", True),
        ("2026-11-20T22:41", "2026-11-20 22:41", True),
        ("2026-11-20T22:41:01Z", "", False),
        ("2026-11-20 22:41:00+00:00", "", True),
        ("", "2026-11-20T22:40", False),
        ("3", "2026-11-20", True),
        ("3", "2026-11-19", False),
    ],
)
def test_a_period_includes_both_its_bounds(since: str, until: str, inside: bool) -> None:
    assert Period(since, until).holds(header(5)) is inside


@pytest.mark.parametrize("text", ["0", "s0", "yesterday", "2026-11", "20.11.2026", "5 6", "-1"])
def test_anything_else_is_no_bound(text: str) -> None:
    with pytest.raises(ArgumentError, match="snapshot"):
        Period(text)


@pytest.mark.parametrize(
    "text", ["2026-99-99", "2026-02-29", "2026-11-20T24:01", "2026-11-20T22:60", "0000-01-01"]
)
def test_days_and_times_that_do_not_exist_are_refused(text: str) -> None:
    for bounds in ((text, ""), ("", text)):
        with pytest.raises(ArgumentError, match="there is"):
            Period(*bounds)


@pytest.mark.parametrize(
    ("since", "until"), [("2026", ""), ("20261120", ""), ("", "6"), ("1", "6")]
)
def test_a_number_is_no_time_and_a_snapshot_has_to_be_there(since: str, until: str) -> None:
    period = Period(since, until)
    with pytest.raises(ArgumentError, match="newest one is s5") as caught:
        period.require_known(5)
    assert "2026-11-20" in caught.value.next_step


def test_snapshots_that_are_there_and_times_are_known() -> None:
    for bounds in (("", ""), ("5", "s5"), ("2026-11-20", "2999-01-01"), ("2024-02-29", "1")):
        Period(*bounds).require_known(5)


def test_authors_are_patterns_for_user_and_host_or_user() -> None:
    for pattern in ("", "ann", "a*", "ann@here", "*@here", "[ab]nn"):
        assert Authors(pattern).match("ann@here"), pattern
    for pattern in ("here", "an", "bob*", "ann@there"):
        assert not Authors(pattern).match("ann@here"), pattern


def test_patterns_that_can_match_nothing_are_refused() -> None:
    for patterns in (["[a"], ["!a"], ["#a"], ["a\\"]):
        with pytest.raises(ArgumentError):
            Paths(patterns)
    assert not Paths([])
    assert Paths([]).match("anything")


def entry(path: str) -> Entry:
    return Entry(path, FILE, 3, 5, 0o644, "0" * 64, "", "ann")


@given(st.lists(PATHS, min_size=1, max_size=3), PATHS)
def test_what_a_pattern_matches_is_never_filtered_out_before(
    patterns: list[str], path: str
) -> None:
    try:
        wanted = Paths(patterns)
    except ArgumentError:
        return
    line = encode_entry(entry(path), '"op":"put",').encode()
    if wanted.match(path):
        assert wanted.may_be_in(line)


def step_of(before: list[Entry], after: list[Entry], number: int = 2) -> bytes:
    ordered = sorted(after)
    manifest = codec.build(
        ordered,
        repository_id="0" * 32,
        repository="tree",
        snapshot=number,
        parent="" if number == 1 else "1" * 64,
        txn="t",
        created_at="2026-11-20T22:41:00Z",
        created_by="ann@here",
        message='a "message" with {"op":"delete"} in it',
    )
    return b"".join(delta.write_delta(manifest.header, sorted(before), ordered))


ODD = ['{"op":"delete",', 'a"b', "c\\d", ',"size":7,"type":"file","user":"x', "plain", "\u2028x"]


def test_a_step_says_what_a_delta_says() -> None:
    before = [entry(path) for path in ("plain", 'gone"', "other")]
    after = [entry(path)._replace(size=9) for path in ODD if path != "\u2028x"]
    after += [
        Entry("l", LINK, 0, 0, 0, "", 'a"b', "ann"),
        Entry("e", DIRECTORY, 0, 0, 0, "", "", ""),
    ]
    data = step_of(before, after)
    whole = delta.read_delta(io.BytesIO(data), "x")
    step = delta.read_step(data, "x")
    puts, deletes = step.changes()
    assert (step.header, sorted(puts), deletes) == (whole.header, whole.puts, whole.deletes)
    assert step.counts() == (len(puts), len(deletes), 9 * (len(ODD) - 1))
    plain = delta.read_step(step_of([], [entry("a")]), "x")
    assert plain.counts() == (1, 0, 3)
    assert delta.read_step(step_of([entry("a")], [entry("a")]), "x").counts() == (0, 0, 0)


def test_no_byte_of_a_step_can_change_unnoticed() -> None:
    data = step_of([entry("a"), entry("b")], [entry("b")._replace(size=4), entry("ü")])
    for at in range(len(data)):
        damaged = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        with pytest.raises(ManifestError):
            delta.read_step(damaged, "x").changes()
    for end in range(len(data)):
        with pytest.raises(ManifestError):
            delta.read_step(data[:end], "x")
    with pytest.raises(ManifestError):
        delta.read_step(data + b"\n", "x")


@given(st.lists(st.sets(PATHS, max_size=6), min_size=1, max_size=4))
def test_the_chain_leads_to_every_manifest(tmp_path_factory, contents: list[set[str]]) -> None:
    root = str(tmp_path_factory.mktemp("tree"))
    os.makedirs(os.path.join(root, ".dsg", "history"))
    before: list[Entry] = []
    parent = ""
    manifests = []
    for number, paths in enumerate(contents, 1):
        try:
            manifest = codec.build(
                [entry(path)._replace(size=number) for path in paths],
                repository_id="0" * 32,
                repository="tree",
                snapshot=number,
                parent=parent,
                txn="t",
                created_at="2026-11-20T22:41:00Z",
                created_by="ann@here",
                message="",
            )
        except ManifestError:  # a file that is a directory of another one, or names that fold
            return
        with open(os.path.join(root, ".dsg", "history", f"s{number}.jsonl"), "wb") as stream:
            stream.writelines(delta.write_delta(manifest.header, before, manifest.entries))
        manifests.append(manifest)
        before, parent = manifest.entries, manifest.header.id
    chain = Chain(root)
    for manifest in manifests:
        chain.go_to(manifest.header.snapshot)
        chain.confirm()
        assert chain.problems == []
        assert chain.manifest() == manifest


def test_a_chain_whose_step_was_forged_does_not_lead_there(tmp_path) -> None:
    """Its header is right, its end line is right, and the number of its entries is."""
    (tmp_path / ".dsg" / "history").mkdir(parents=True)
    true = step_of([], [entry("a")], 1)
    forged = step_of([], [entry("b")], 1)
    lines = true.split(b"\n")[:1] + forged.split(b"\n")[1:]
    (tmp_path / ".dsg" / "history" / "s1.jsonl").write_bytes(b"\n".join(lines))
    chain = Chain(str(tmp_path))
    chain.go_to(1)
    assert chain.problems == []
    chain.confirm()
    assert [one.snapshot for one in chain.problems] == [1]
    assert chain.manifest() is None
