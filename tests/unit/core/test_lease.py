# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mark of an open transaction, and what recovery leaves alone because of it."""

from __future__ import annotations

import os
import time

import pytest
from _core.backends.base import Held
from _core.backends.zfs import held, lease, places
from _core.backends.zfs.base import Base
from _core.backends.zfs.layout import Layout
from _core.backends.zfs.lease import DURABLE, Mark
from _core.backends.zfs.opened import OpenTransaction
from _core.backends.zfs.record import Record
from _core.backends.zfs.state import NO_PARENT, Dataset, State
from _core.errors import ManifestError

LAYOUT = Layout("tank/dsg", "x")
NAME = LAYOUT.work("stage", "t-1")


class _Written:
    """Stands in for the commands: keeps the one that is run."""

    def __init__(self) -> None:
        self.value = ""

    def zfs(self, verb: str, pair: str, dataset: str) -> str:
        assert (verb, dataset) == ("set", NAME)
        self.value = pair.partition("=")[2]
        return ""


def _marked(mark: str, name: str = NAME) -> State:
    dataset = Dataset(name, "1", "", "", "t-1", mark=mark)
    return State(LAYOUT, NO_PARENT, None, {name: dataset}, None)


def _text(mark: Mark) -> str:
    written = _Written()
    lease.write(written, NAME, mark)  # type: ignore[arg-type]
    return written.value


def _mark(ends: float, boot: str | None = None) -> Mark:
    boot = lease.this_boot() if boot is None else boot
    return Mark(int(time.time() + ends), boot, 3, "11", "22", "512", "daily;2026=1")


def test_what_is_written_is_read() -> None:
    mark = _mark(60)
    (dataset,) = _marked(_text(mark)).work.values()
    assert lease.read(dataset) == mark


_LONG = f"{'9' * 5000};boot;1;;;;"  # more digits than Python reads
_UNREADABLE = ["soon", "1;2", "x;boot;3;;;;", "1;boot;x;;;;", "²;boot;1;;;;", _LONG]


@pytest.mark.parametrize("text", _UNREADABLE, ids=range(len(_UNREADABLE)))
def test_what_cannot_be_read_is_an_error_and_left_alone(text: str) -> None:
    state = _marked(text)
    with pytest.raises(ManifestError):
        lease.read(state.work[NAME])
    assert lease.spared(state) == {NAME}
    assert "until it is rolled back" in lease.describe(state)[0]


def test_without_a_mark_nothing_is_open() -> None:
    assert lease.spared(_marked(""), "t-1") == set()
    assert lease.describe(_marked("")) == []


@pytest.mark.parametrize(
    ("ends", "boot", "own", "left_alone"),
    [
        (60, None, "", True),
        (-1, None, "", False),
        (-1, None, "t-1", True),
        (-1, None, "t-2", False),
        (60, "another", "", False),
        (60, "another", "t-1", False),
        (60, DURABLE, "", True),
        (-1, DURABLE, "", False),
        (-1, DURABLE, "t-1", True),
    ],
)
def test_when_it_is_left_alone(ends: int, boot: str | None, own: str, left_alone: bool) -> None:
    state = _marked(_text(_mark(ends, boot)))
    assert lease.spared(state, own) == ({NAME} if left_alone else set())


def test_mounts_of_open_transactions() -> None:
    assert lease.mounted(_marked(_text(_mark(60)))) == {LAYOUT.mount("t-1")}
    assert lease.mounted(_marked(_text(_mark(-1)))) == set()
    assert lease.mounted(_marked(_text(_mark(60, DURABLE)))) == set(), "nobody works in it"


def test_a_held_transaction_does_not_hang_on_a_snapshot_of_somebody_else() -> None:
    transaction = OpenTransaction(None, LAYOUT, None, "t-1", None)  # type: ignore[arg-type]
    transaction.live = Base("11", "s3", "22", "512")
    assert transaction._is_base(Base("11", "s3", "22", "0"))
    assert not transaction._is_base(Base("11", "daily", "33", "0"))
    transaction.is_held = True
    assert transaction._is_base(Base("11", "daily", "33", "0"))
    assert not transaction._is_base(Base("12", "s3", "22", "0"))


def _held(held: str, ends: int = 0) -> State:
    mark = _text(_mark(0)._replace(ends=ends, boot=DURABLE))
    dataset = Dataset(NAME, "1", "", "", "t-1", mark=mark, held=held)
    return State(LAYOUT, NO_PARENT, None, {NAME: dataset}, None)


def test_a_held_transaction_has_no_lease() -> None:
    state = _held('["2026-01-01T00:00:00Z", "fleet 7; of ann"]')
    assert lease.spared(state) == held.names(state) == {NAME}
    assert lease.describe(state) == []
    assert held.find(state) == [Held("t-1", "2026-01-01T00:00:00Z", "fleet 7; of ann", 3)]
    committed = state._replace(record=Record("t-1", "1", "2"))
    assert held.find(committed) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '["only one"]'])
def test_a_held_transaction_that_cannot_be_read_is_left_alone(text: str) -> None:
    state = _held(text or "-")
    assert lease.spared(state) == {NAME}
    with pytest.raises(ManifestError):
        held.find(state)


def test_the_mark_of_holding_goes_first() -> None:
    """Between both commands it is an open transaction whose lease has ended."""
    said: list[tuple[str, ...]] = []

    class Told:
        def zfs(self, *words: str) -> str:
            said.append(words)
            return ""

    lease.end(Told(), NAME, held=True)  # type: ignore[arg-type]
    assert said == [("inherit", "dsg:held", NAME), ("inherit", "dsg:open", NAME)]
    assert lease.spared(_held("")) == set()


@pytest.mark.parametrize(
    "mark", ["", _text(_mark(-60)), _text(_mark(60))], ids=["none", "over", "runs"]
)
def test_what_root_has_mounted_is_left_to_root(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """A service user's recovery neither undoes it nor ends its lease; root's does both."""
    state = _marked(mark)
    monkeypatch.setattr(places, "is_roots", lambda path: path == LAYOUT.mount("t-1"))
    ended: list[str] = []
    monkeypatch.setattr(lease, "end", lambda _runner, name: ended.append(name))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lease.spared(state) == lease.roots(state) == {NAME}
    runs = bool(mark) and lease.read(state.work[NAME]).ends > time.time()
    assert ("is run as root" in lease.describe(state)[0]) is not runs
    lease.end_all(None, state)  # type: ignore[arg-type]
    assert ended == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert lease.roots(state) == set()
    lease.end_all(None, state)  # type: ignore[arg-type]
    assert ended == ([NAME] if mark else [])
