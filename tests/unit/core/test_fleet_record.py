# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a fleet transaction, and the one decision that two may want to make."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from _core.client.fleet import (
    COMMIT,
    PREPARED,
    PREPARING,
    ROLLBACK,
    FleetRecord,
    Head,
    Participant,
    fleets,
    lock_scan,
    remove_if_empty,
)
from _core.client.working_copy import WorkingCopy
from _core.errors import ArgumentError, WorkingCopyError
from _core.manifest import codec
from _core.manifest.codec import Manifest
from _core.posix.process import identify, is_alive
from _core.sync.fleet.decision import decide, decision

HEAD = Head(identify(os.getpid()), "0" * 64)


def part(key: str = "data-1", state: str = PREPARING) -> Participant:
    backend = {"type": "directory", "base": "/srv"}
    return Participant("h1", "data", backend, key, f"t-{key}", 2, 3, "1" * 64, state)


def cache() -> Manifest:
    return codec.build(
        [],
        repository_id="0" * 32,
        repository="data",
        snapshot=1,
        parent="",
        txn="t-1",
        created_at="2026-01-01T00:00:00Z",
        created_by="ann@here",
        message="",
    )


@pytest.fixture
def copy(tmp_path: Path) -> WorkingCopy:
    made = WorkingCopy(str(tmp_path / "wc"))
    made.create()
    return made


@pytest.fixture
def record(copy: WorkingCopy) -> FleetRecord:
    made = FleetRecord(copy, "f-1")
    made.open(HEAD)
    return made


def test_what_is_written_is_read(copy: WorkingCopy, record: FleetRecord) -> None:
    assert record.head() == HEAD
    assert record.participants() == []
    record.add(part("b"), cache())
    record.add(part("a"), cache())
    again = FleetRecord(copy, "f-1")
    assert again.participants() == [part("a"), part("b")]
    again.mark_prepared(part("a"))
    assert record.participant("a") == part("a", PREPARED)
    assert record.participant("c") is None
    assert [one.fleet for one in fleets(copy)] == ["f-1"]


def test_c_is_installed_once_and_a_part_removed(copy: WorkingCopy, record: FleetRecord) -> None:
    for _unused in range(2):  # a first record, then one that replaces it
        record.add(part(), cache())
        for _again in range(2):
            record.install(part())
        assert copy.cache("data-1") == cache()
        record.remove(part())
        assert record.participants() == []


def test_a_record_ends_with_its_last_part(copy: WorkingCopy, record: FleetRecord) -> None:
    record.add(part(), cache())
    assert not record.end()
    record.remove(part())
    assert record.end()
    assert record.head() is None
    with lock_scan(copy):
        pass
    remove_if_empty(copy)
    remove_if_empty(copy)
    assert not os.path.exists(copy.fleets)
    with pytest.raises(WorkingCopyError, match="ended meanwhile"):
        record.add(part(), cache())


def test_a_part_that_was_begun_and_never_recorded_is_none(record: FleetRecord) -> None:
    os.makedirs(os.path.join(record.root, "data-1", "record"))
    assert record.participants() == []
    record.add(part(), cache())
    assert record.participants() == [part()]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", '{"format": 2}', '{"format": 1, "decision": "maybe"}'),
        pytest.param("[" * 100_000, id="depths"),
    ],
)
def test_what_cannot_be_read_is_an_error(record: FleetRecord, text: str) -> None:
    record.add(part(), cache())
    for name in ("head", "decision", "data-1/participant"):
        Path(record.root, name).write_text(text)
    for read in (record.head, record.decision, record.participants):
        with pytest.raises(WorkingCopyError, match="damaged"):
            read()


@pytest.mark.parametrize(
    "changed",
    [
        {"txn_id": "../../../victim"},
        {"txn_id": ""},
        {"txn_id": 1},
        {"key": "../../victim"},
        {"key": "data-2"},
        {"backend": "directory"},
        {"backend": {"base": ["/srv"]}},
        {"host": None},
        {"repository": ["data"]},
        {"base": -1},
        {"snapshot": "3"},
        {"digest": 1},
        {"state": "done"},
        {"destination": {"executable": "/tmp/x"}},
    ],
    ids=str,
)
def test_a_part_that_does_not_fit_is_an_error(record: FleetRecord, changed: dict[str, Any]) -> None:
    record.add(part(), cache())
    path = Path(record.root, "data-1", "participant")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    for read in (record.participants, lambda: record.participant("data-1"), record.end):
        with pytest.raises(WorkingCopyError, match="damaged") as caught:
            read()
        assert caught.value.object == str(path)
    assert path.exists()


@pytest.mark.parametrize("changed", [{"pid": "../1"}, {"pid": 0}, {"start": None}, {"boot": 1}])
def test_a_head_that_does_not_fit_is_an_error(record: FleetRecord, changed: dict[str, Any]) -> None:
    path = Path(record.root, "head")
    content = json.loads(path.read_text())
    content["coordinator"].update(changed)
    path.write_text(json.dumps(content))
    with pytest.raises(WorkingCopyError, match="damaged"):
        record.head()


@pytest.mark.parametrize("what", ["head", "data-1", "data-1/participant"])
def test_a_record_that_is_a_link_is_none(record: FleetRecord, tmp_path: Path, what: str) -> None:
    record.add(part(), cache())
    place = Path(record.root, what)
    place.rename(tmp_path / "theirs")
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(WorkingCopyError, match="none of our records"):
        record.head() if what == "head" else record.participants()


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 65, "ä"])
def test_what_is_no_id(copy: WorkingCopy, name: str) -> None:
    with pytest.raises(ArgumentError):
        FleetRecord(copy, name)


# --- the decision


@pytest.mark.parametrize(("first", "second"), [(COMMIT, ROLLBACK), (ROLLBACK, COMMIT)])
def test_the_first_decision_stands(record: FleetRecord, first: str, second: str) -> None:
    assert record.decision() == ""
    assert record.decide(first) == first
    assert record.decide(second) == first
    assert record.decision() == first
    assert sorted(os.listdir(record.root)) == ["decision", "head"]


def test_many_who_decide_at_once_learn_the_same(copy: WorkingCopy) -> None:
    """Twenty rounds of eight processes that start together."""
    for turn in range(20):
        record = FleetRecord(copy, f"f-{turn}")
        record.open(HEAD)
        ready, go = os.pipe()
        said, saying = os.pipe()
        pids = []
        for number in range(8):
            pid = os.fork()
            if pid == 0:
                os.close(go)
                os.read(ready, 1)  # until all are there and the other end is closed
                stands = record.decide((COMMIT, ROLLBACK)[number % 2])
                os.write(saying, stands[:1].encode())
                os._exit(0)
            pids.append(pid)
        os.close(go)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
        answers = os.read(said, 100).decode()
        assert answers == record.decision()[:1] * 8
        for fd in (ready, said, saying):
            os.close(fd)


def test_commit_takes_those_that_are_known_as_prepared(
    copy: WorkingCopy, record: FleetRecord
) -> None:
    record.add(part("a"), cache())
    assert decide(copy.root, "f-1", COMMIT, ["t-a"]) == ROLLBACK, "it is only preparing"
    other = FleetRecord(copy, "f-2")
    other.open(HEAD)
    other.add(part("a"), cache())
    other.mark_prepared(part("a"))
    assert decide(copy.root, "f-2", COMMIT, ["t-a"]) == COMMIT
    assert decide(copy.root, "f-2", COMMIT, ["t-b"]) == COMMIT, "that was decided before"
    with pytest.raises(ArgumentError):
        decide(copy.root, "f-2", "maybe")


@pytest.mark.parametrize(
    ("prepared", "failed", "percentage", "canaries", "wanted"),
    [
        ("abc", "", 0, "", COMMIT),
        ("abc", "d", 0, "", ROLLBACK),
        ("abc", "d", 24.9, "", ROLLBACK),
        ("abc", "d", 25, "", COMMIT),
        ("abc", "d", 25, "d", ROLLBACK),
        ("abc", "d", 25, "a", COMMIT),
        ("", "abc", 100, "", ROLLBACK),
        ("", "", 100, "", ROLLBACK),
        ("ab", "b", 0, "", ROLLBACK),
        ("ab", "b", 50, "", COMMIT),
    ],
)
def test_from_what_is_decided(
    prepared: str, failed: str, percentage: float, canaries: str, wanted: str
) -> None:
    assert decision(prepared, failed, percentage, canaries) == wanted


@pytest.mark.parametrize("percentage", [-1, 100.5])
def test_a_percentage_is_one(percentage: float) -> None:
    with pytest.raises(ArgumentError):
        decision("a", "", percentage)


# --- who coordinates


def test_a_process_is_told_from_another_with_its_number() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert is_alive(me) is True
    assert is_alive(me._replace(start=me.start - 1)) is False
    assert is_alive(me._replace(boot="before")) is False
    assert is_alive(me._replace(host="another")) is None
    assert is_alive(me._replace(namespace="pid:[1]")) is None
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert identify(pid) is None, "it has ended, and nobody has asked for its status yet"
    os.waitpid(pid, 0)
    assert is_alive(me._replace(pid=pid)) is False
