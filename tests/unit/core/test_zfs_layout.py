# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts of pools: what OpenZFS 2.3.9 printed, and how a declaration compares with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from _core.errors import ArgumentError
from _core.zfs import labels, layout, names, vdevs
from _core.zfs.command import ZfsError
from _core.zfs.steps import PoolError
from _core.zfs.vdevs import Vdev

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def disks(*numbers: int, part: str = "-part1") -> tuple[str, ...]:
    return tuple(f"/dev/disk/by-id/virtio-dsg-data{number}{part}" for number in numbers)


ROLES = [
    Vdev("data", "raidz2", disks(2, 3, 4)),
    Vdev("special", "mirror", disks(5, 6)),
    Vdev("log", "stripe", disks(7)),
    Vdev("cache", "stripe", disks(8)),
]
# A spare stands in for disk 2, and disk 5 lost its label: both are in their places.
DEGRADED = [
    Vdev("data", "mirror", disks(2, 3)),
    Vdev("data", "mirror", disks(4, 5)),
    Vdev("dedup", "mirror", disks(6, 7)),
    Vdev("spare", "stripe", disks(8)),
]
REMOVED = [Vdev("data", "stripe", disks(3))]


@pytest.mark.parametrize(
    ("name", "expected"), [("roles", ROLES), ("degraded", DEGRADED), ("removed", REMOVED)]
)
def test_both_forms_tell_the_same(name, expected):
    assert vdevs.parse_json(recorded(f"zfs-{name}.json")) == {"r1": expected}
    assert vdevs.parse_text(recorded(f"zfs-{name}.txt")) == {"r1": expected}


def test_several_pools_and_a_pool_called_like_a_class():
    text = recorded("zfs-roles.txt") + recorded("zfs-removed.txt").replace("r1", "special")
    assert vdevs.parse_text(text) == {"r1": ROLES, "special": REMOVED}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pools": {"a": {"vdevs": 1}}}', "no pools"])
def test_json_that_is_not_understood_is_an_error(text):
    with pytest.raises(ZfsError):
        vdevs.parse_json(text)


def test_text_that_is_not_understood_is_an_error():
    with pytest.raises(ZfsError):
        vdevs.parse_text("  pool: a\nconfig:\n\n\tNAME STATE\n\tb ONLINE\n")


def test_while_a_disk_is_replaced_the_new_one_counts():
    text = (
        "  pool: a\nconfig:\n\n\tNAME STATE READ WRITE CKSUM\n\ta ONLINE 0 0 0\n"
        "\t  replacing-0 ONLINE 0 0 0\n\t    /dev/x1 ONLINE 0 0 0\n\t    /dev/y1 ONLINE 0 0 0\n"
    )
    assert vdevs.parse_text(text) == {"a": [Vdev("data", "stripe", ("/dev/y1",))]}


def test_a_label_tells_its_pool_and_a_spare_s_does_not():
    label = labels.parse(recorded("zfs-label.txt"), "x")
    assert (label.name, label.state, label.host) == ("r1", 0, "host1")
    assert label.guid in str(label) and "not exported" in str(label)
    with pytest.raises(ZfsError):
        labels.parse("nothing", "x")


def test_stripes_of_a_role_are_one_item_of_a_declaration():
    stripes = [Vdev("data", "stripe", ("/dev/a",)), Vdev("data", "stripe", ("/dev/b",))]
    mirror = Vdev("log", "mirror", ("/dev/c", "/dev/d"))
    assert vdevs.grouped([*stripes, mirror]) == [
        {"role": "data", "type": "stripe", "disks": ["/dev/a", "/dev/b"]},
        {"role": "log", "type": "mirror", "disks": ["/dev/c", "/dev/d"]},
    ]


def test_paths_that_lead_nowhere_are_shortened_alike():
    wanted = [vdev._replace(disks=tuple(p[:-6] for p in vdev.disks)) for vdev in DEGRADED]
    assert layout.compare(wanted[::-1], DEGRADED) == ([], [])


def test_what_is_missing_and_what_has_drifted():
    missing, drift = layout.compare([*ROLES, Vdev("spare", "stripe", disks(9))], ROLES)
    assert (missing, drift) == ([Vdev("spare", "stripe", disks(9))], [])
    missing, drift = layout.compare(ROLES[:2], ROLES)
    assert missing == [] and len(drift) == 2 and all("not declared" in line for line in drift)
    moved = [*ROLES[:2], Vdev("log", "mirror", disks(7, 9)), ROLES[3]]
    missing, drift = layout.compare(moved, ROLES)
    assert missing == [] and len(drift) == 1 and "the pool has log stripe" in drift[0]
    double = [*ROLES, Vdev("spare", "stripe", disks(2))]
    missing, drift = layout.compare(double, ROLES)
    assert missing == [] and "raidz2" in drift[0]


@pytest.mark.parametrize(
    "items",
    [
        [],
        [("cache", "stripe", ["/dev/a"])],
        [("data", "mirror", ["/dev/a"])],
        [("data", "raidz3", ["/dev/a", "/dev/b", "/dev/c"])],
        [("data", "stripe", ["/dev/a", "/dev/a"])],
        [("data", "stripe", ["a"])],
        [("data", "stripe", ["/dev/a\n"])],
        [("data", "stripe", ["/dev/a"]), ("spare", "mirror", ["/dev/b", "/dev/c"])],
    ],
)
def test_impossible_layouts(items):
    with pytest.raises(PoolError):
        layout.declared("tank", items)


def test_words_of_the_command():
    found = layout.declared(
        "tank",
        [
            ("log", "mirror", ["/dev/a", "/dev/b"]),
            ("data", "stripe", ["/dev/c", "/dev/d"]),
            ("log", "stripe", ["/dev/e"]),
        ],
    )
    # The other way round, /dev/e would be the mirror's third disk.
    assert layout.words(found) == [
        "/dev/c", "/dev/d", "log", "/dev/e", "mirror", "/dev/a", "/dev/b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "mixed", "uneven"),
    [
        ([("mirror", 2), ("mirror", 2)], False, False),
        ([("mirror", 2), ("raidz1", 3)], False, True),
        ([("mirror", 3), ("mirror", 2)], True, True),
        ([("raidz1", 3), ("raidz1", 4)], False, True),
        ([("stripe", 1), ("raidz1", 3)], True, True),
    ],
)
def test_redundancy(kinds, mixed, uneven):
    found = [Vdev("data", kind, ("/dev/x",) * width) for kind, width in kinds]
    found.append(Vdev("log", "stripe", ("/dev/y",)))
    assert (layout.is_mixed(found), layout.is_uneven(found)) == (mixed, uneven)


@pytest.mark.parametrize("name", ["tank", "rpool", "mirrored", "t-1", "Tank.2", "spares"])
def test_names_of_pools(name):
    assert names.check_pool(name) == name
    assert names.check_any_dataset(f"{name}/a") == f"{name}/a"


@pytest.mark.parametrize("name", ["", "mirror", "raidz2", "log", "-a", "a b", "1a", "a/b", "c1t0"])
def test_names_that_no_pool_has(name):
    with pytest.raises(ArgumentError):
        names.check_pool(name)
