# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which limits of OpenZFS are told of: from what ``zfs get`` says of a dataset and those above it."""

from __future__ import annotations

import pytest
from _core.backends.standing import Space
from _core.backends.zfs.layout import Layout
from _core.backends.zfs.space import space
from _core.zfs.command import Runner

MIB = 1 << 20
CHAIN = ("tank", "tank/dsg", "tank/dsg/docs")


class Pool(Runner):
    """Says what is set; everything takes 4 MiB, and 100 MiB are left."""

    def __init__(self, limits: dict[str, dict[str, int]]) -> None:
        super().__init__()
        self.limits = limits

    def run(self, name: str, *arguments: str) -> str:
        if name == "zpool":
            return "ONLINE\n"
        names, datasets = arguments[arguments.index("-o") + 2], arguments[-3:]
        return "".join(
            f"{dataset}\t{prop}\t{self._value(dataset, prop)}\t-\n"
            for dataset in datasets
            if dataset in CHAIN
            for prop in names.split(",")
        )

    def _value(self, dataset: str, prop: str) -> int:
        known = {"available": 100 * MIB, "used": 4 * MIB, "referenced": 4 * MIB}
        return self.limits.get(dataset, {}).get(prop, 0) * MIB or known.get(prop, 0)


def told(limits: dict[str, dict[str, int]], *, exists: bool = True) -> Space:
    return space(Pool(limits), Layout("tank/dsg", "docs"), exists=exists)


@pytest.mark.parametrize(
    ("limits", "quota", "quota_of"),
    [
        ({}, None, ""),
        ({"tank": {"quota": 50}}, 50, "quota of tank"),
        ({"tank/dsg": {"quota": 50}, "tank": {"quota": 60}}, 50, "quota of tank/dsg"),
        ({"tank/dsg/docs": {"quota": 40, "refquota": 20}}, 20, "refquota of tank/dsg/docs"),
        # A refquota limits the dataset that it is set on, and nothing below.
        ({"tank/dsg": {"refquota": 10}}, None, ""),
        ({"tank": {"refquota": 10}, "tank/dsg": {"quota": 50}}, 50, "quota of tank/dsg"),
    ],
)
def test_the_limit_that_leaves_least_is_told(
    limits: dict[str, dict[str, int]], quota: int | None, quota_of: str
) -> None:
    found = told(limits)
    assert found.quota == (quota * MIB if quota else None)
    assert found.quota_of == quota_of
    assert (found.free, found.size, found.used) == (100 * MIB, 104 * MIB, 4 * MIB)


def test_before_the_first_publication_it_is_the_parents() -> None:
    found = told({"tank/dsg": {"quota": 50, "refquota": 10}}, exists=False)
    assert (found.quota_of, found.used, found.history) == ("refquota of tank/dsg", None, 0)
