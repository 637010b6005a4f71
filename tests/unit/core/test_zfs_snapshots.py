# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots are kept while a commit switches datasets: from what ``zfs get`` and the mounts say."""

from __future__ import annotations

import pytest
from _core.backends.zfs.layout import Layout
from _core.backends.zfs.repository import ZfsRepository
from _core.errors import Unfinished
from _core.zfs import mounts
from _core.zfs.command import Runner

LAYOUT = Layout("tank/dsg", "docs")
LIVE, OLD, STAGE = LAYOUT.live, LAYOUT.work("old", "t-3"), LAYOUT.work("stage", "t-3")
GENERATIONS = {"before": ["s1", "s2", "daily"], "after": ["s3"]}


class Pool(Runner):
    """Has the datasets that it is told of, each of one generation; ``s<N>`` are ours."""

    def __init__(self, datasets: dict[str, str], recorded: bool) -> None:
        super().__init__()
        self.datasets = datasets
        self.recorded = recorded

    def run(self, name: str, *arguments: str) -> str:
        if "snapshot" not in arguments:
            return "".join(
                f"{one}\t{key}\t{self._value(one, key)}\n"
                for one in (LAYOUT.parent, LAYOUT.container, *self.datasets)
                for key in arguments[-2].split(",")
            )
        dataset = arguments[-1]
        return "".join(
            f"{dataset}@{snapshot}\tdsg:txn\tt-1\t{'local' if snapshot[0] == 's' else 'inherited'}\n"
            f"{dataset}@{snapshot}\ttype\tsnapshot\t-\n"
            for snapshot in GENERATIONS[self.datasets[dataset]]
        )

    def _value(self, dataset: str, key: str) -> str:
        """Return value and source."""
        if (dataset, key) == (LAYOUT.container, LAYOUT.record) and self.recorded:
            return "t-3;1;2\tlocal"
        if (dataset, key) == (LAYOUT.parent, "dsg:parent"):
            return "1\tlocal"
        known = {"type": "filesystem", "guid": "1", "mountpoint": "/srv/dsg/docs"}
        return f"{known.get(key, '-')}\t-"


def kept(
    monkeypatch: pytest.MonkeyPatch, shown: str, datasets: dict[str, str], *, recorded: bool
) -> list[int]:
    repository = ZfsRepository(LAYOUT.parent, LAYOUT.name)
    repository.runner = Pool(datasets, recorded)
    monkeypatch.setattr(mounts, "mounted_at", lambda _path: shown)
    return repository.snapshots()


@pytest.mark.parametrize(
    ("shown", "datasets"),
    [
        (LIVE, {LIVE: "before", STAGE: "after"}),
        (OLD, {OLD: "before", STAGE: "after"}),
        (OLD, {OLD: "before", LIVE: "after"}),
    ],
    ids=["committed", "renamed once", "renamed twice"],
)
def test_what_readers_have_keeps_its_snapshots_until_the_mounts_are_switched(
    monkeypatch: pytest.MonkeyPatch, shown: str, datasets: dict[str, str]
) -> None:
    assert kept(monkeypatch, shown, datasets, recorded=True) == [1, 2]


def test_what_nobody_can_read_is_not_told_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unfinished, match="not mounted") as caught:
        kept(monkeypatch, "", {OLD: "before", STAGE: "after"}, recorded=True)
    assert "recover" in caught.value.next_step


def test_without_a_commit_record_the_name_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(monkeypatch, "", {LIVE: "before"}, recorded=False) == [1, 2]
    assert kept(monkeypatch, "", {}, recorded=False) == []
