# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of the lines of ``zfs get``, which prints user properties as they are, ends of line too.

The lines are as OpenZFS 2.3.9 printed them; on OpenZFS itself it is tried by tests/zfs.
"""

from __future__ import annotations

import pytest
from _core.zfs import datasets
from _core.zfs.command import Runner, ZfsError

LIVE, STAGE = "tank/dsg/docs", "tank/dsg/.dsg/docs.stage.t"


class Pool(Runner):
    """Prints properties of datasets in the order in which they are asked for."""

    def __init__(self, **values: str) -> None:
        super().__init__()
        self.values = {"type": "filesystem", **{k.replace("_", ":"): v for k, v in values.items()}}

    def run(self, name: str, *arguments: str) -> str:
        columns, keys, dataset = arguments[arguments.index("-o") + 1], arguments[-2], arguments[-1]
        if columns == "name,property,value,source":
            return "".join(
                f"{one}\t{key}\t{self.values.get(key, '-')}\tlocal\n"
                for one in (dataset, f"{dataset}2")
                for key in keys.split(",")
            )
        if columns == "value":
            return f"{self.values[keys]}\n"
        pairs = self.values.items()
        return "".join(f"{k}\n" if columns == "property" else f"{k}\t{v}\n" for k, v in pairs)


def test_properties_by_dataset() -> None:
    found = datasets.read(
        Pool(mountpoint="/srv", dsg_txn="t\tx\x0b"), ("mountpoint", "dsg:txn"), [LIVE]
    )
    assert list(found) == [LIVE, f"{LIVE}2"]
    assert found[LIVE]["mountpoint"] == ("/srv", "local")
    assert found[LIVE]["dsg:txn"] == ("t\tx\x0b", "local")
    assert found[LIVE]["type"] == ("filesystem", "local")


def lines(*keys: str, of: str = LIVE) -> str:
    return "".join(f"\n{of}\t{key}\t/etc\tlocal" for key in keys)


@pytest.mark.parametrize(
    "invented",
    [
        "\n",
        "\nx",
        "\n" + "\t" * 4,
        lines("mountpoint"),
        lines("dsg:txn"),
        lines("guid", "mountpoint", "dsg:txn", "dsg:open", "type"),
        lines("dsg:open", "type"),
        lines("dsg:open", "type") + lines("guid", "mountpoint", "dsg:txn", of=STAGE),
        lines("dsg:open", "type")
        + lines("guid", "mountpoint", "dsg:txn", "dsg:open", "type", of=STAGE),
        lines("guid", "mountpoint", "dsg:txn", "dsg:open", "type", of=STAGE),
    ],
)
@pytest.mark.parametrize("key", ["dsg_txn", "dsg_open"])
def test_no_line_can_be_invented(key: str, invented: str) -> None:
    """Not even behind the last property that a user can set, or of a dataset that is not there."""
    pool = Pool(mountpoint="/srv", **{key: f"t{invented}"})
    with pytest.raises(ZfsError, match="unexpected output"):
        datasets.read(pool, ("type", "guid", "mountpoint", "dsg:txn", "dsg:open"), [LIVE])


@pytest.mark.parametrize(
    "odd",
    [
        "one\nsetuid\ton",
        "one\n",
        "\n\n",
        "one\norg:b\ttwo\nsetuid\ton",
        "one\nmountpoint=/a:b\t/c",
        "one\n-o:x\ty\nz",
    ],
)
def test_what_a_user_property_holds_is_not_taken_for_another_one(odd: str) -> None:
    pool = Pool(recordsize="131072", org_a=odd, org_b="plain")
    wanted = {"type": "filesystem", "recordsize": "131072", "org:a": odd, "org:b": "plain"}
    assert datasets.own_properties(pool, LIVE) == wanted


def test_what_has_another_name_is_not_taken_for_what_was_asked() -> None:
    """OpenZFS knows short names as well, and prints the long ones."""

    class Long(Pool):
        def run(self, name: str, *arguments: str) -> str:
            return super().run(name, *arguments).replace("compress\t", "compression\t")

    with pytest.raises(ZfsError, match="unexpected output") as caught:
        datasets.read(Long(), ("compress",), [LIVE])
    assert "full names" in caught.value.next_step


def test_a_mark_is_exactly_that() -> None:
    class Marked(Pool):
        def run(self, name: str, *arguments: str) -> str:
            return "tank/a\ntank/b\n" if "-r" in arguments else f"{self.values[arguments[-1]]}\n"

    pool = Marked()
    pool.values = {"tank/a": "1", "tank/b": "1\ntank/etc\t1"}
    found = {
        name: datasets.value(pool, "dsg:parent", name)
        for name in datasets.set_on(pool, "dsg:parent")
    }
    assert found == pool.values
