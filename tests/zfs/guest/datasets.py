# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datasets as declared, below ``tank``: values by what they mean, sources, and no destruction."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial

from _core.errors import DsgError
from _core.zfs import dataset_state, pool_state
from _core.zfs.command import Runner, ZfsError
from _core.zfs.dataset_state import DatasetRequest
from _core.zfs.pool_state import PoolRequest
from _core.zfs.steps import Plan, carry_out
from guest.lab import sh
from guest.provisioning import absent, dataset, hold, refused

ROOT = "tank/provisioning"


def _source(name: str, prop: str) -> str:
    return sh("zfs", "get", "-Hp", "-o", "source", prop, name).strip()


def _value(name: str, prop: str) -> str:
    return sh("zfs", "get", "-Hp", "-o", "value", prop, name).strip()


def _cleared() -> None:
    sh("zfs", "destroy", "-R", ROOT, check=False)


def creation_and_values() -> None:
    """Created with everything at once; the same in other words is the same."""
    _cleared()
    properties = {
        "mountpoint": "none", "recordsize": "1M", "quota": "100M", "atime": False, "xattr": "sa",
        "acltype": "posixacl", "compression": "gzip-6", "reservation": "none", "dsg:x": "1M",
        "casesensitivity": "mixed", "refquota": 0,
    }  # fmt: skip
    (command,) = hold(dataset(ROOT, properties=properties))
    assert command.startswith("zfs create -o mountpoint=none -o recordsize=1M"), command
    same = {"recordsize": 1048576, "quota": "102400K", "reservation": 0, "refquota": "none"}
    assert dataset(ROOT, properties={**properties, **same})() == []
    # A user property is text, and lz4 is not the same as on.
    changed = {"dsg:x": "1048576", "compression": "lz4", "quota": "none"}
    assert hold(dataset(ROOT, properties={**properties, **changed})) == [
        f"zfs set quota=none compression=lz4 dsg:x=1048576 {ROOT}"
    ]
    assert hold(dataset(ROOT, properties={"compression": "on", "quota": 10 << 20})) == [
        f"zfs set compression=on quota=10485760 {ROOT}"
    ]
    sh("zfs", "set", "userquota@dsg=1M", "filesystem_limit=none", "copies=2", ROOT)
    assert len(hold(dataset(ROOT, properties={"quota": "0.1G"}))) == 1, "107374182.4 bytes"
    limits = {"userquota@dsg": "1024K", "filesystem_limit": "none", "copies": 2}
    assert hold(dataset(ROOT, properties=limits)) == []
    assert hold(dataset(ROOT, properties={"userquota@dsg": 0})) != []
    _cleared()


def sources() -> None:
    """Inherited is not held; what cannot be inherited needs no source."""
    _cleared()
    hold(dataset(ROOT, properties={"mountpoint": "none", "readonly": True, "atime": False}))
    child = f"{ROOT}/child"
    assert hold(dataset(child)) == [f"zfs create {child}"]
    assert _source(child, "readonly").startswith("inherited from")
    assert hold(dataset(child, properties={"readonly": True, "canmount": True})) == [
        f"zfs set readonly=on {child}"
    ]
    assert _source(child, "readonly") == "local"
    both = {"properties": {"readonly": True}, "inherit": ["atime"]}
    assert hold(dataset(child, **both)) == []
    assert hold(dataset(child, inherit=["readonly", "atime", "dsg:none"])) == [
        f"zfs inherit readonly {child}"
    ]
    for wrong in ({"inherit": ["quota"]}, {"inherit": ["encryption"]}):
        refused(dataset(child, **wrong), "DSG-DATASET", "cannot be inherited")
    twice = {"properties": {"atime": False}, "inherit": ["atime"]}
    refused(dataset(child, **twice), "DSG-DATASET", "atime")
    described = dataset_state.describe(
        Runner(), DatasetRequest(child, properties={"atime": False, "dsg:none": "x"})
    )
    assert described["atime"] == {"value": "off", "source": f"inherited from {ROOT}"}
    assert described["dsg:none"] == {"value": "", "source": "-"}
    _cleared()


def received() -> None:
    """A received value counts as set; another covers it; inheriting takes it back."""
    _cleared()
    hold(
        dataset(f"{ROOT}/from", properties={"recordsize": "1M", "dsg:x": "1"}, create_parents=True)
    )
    sh("zfs", "snapshot", f"{ROOT}/from@1")
    into = f"{ROOT}/into"
    with subprocess.Popen(["zfs", "send", "-p", f"{ROOT}/from@1"], stdout=subprocess.PIPE) as sent:
        subprocess.run(["zfs", "recv", "-u", into], stdin=sent.stdout, check=True)
    assert _source(into, "recordsize") == "received"
    assert hold(dataset(into, properties={"recordsize": "1024K", "dsg:x": "1"})) == []
    assert _source(into, "recordsize") == "received"
    assert hold(dataset(into, properties={"recordsize": "128K"})) == [
        f"zfs set recordsize=128K {into}"
    ]
    assert hold(dataset(into, inherit=["dsg:x"])) == [f"zfs inherit dsg:x {into}"]
    assert _value(into, "dsg:x") == "-"
    sh("zfs", "inherit", "-S", "recordsize", into)
    assert hold(dataset(into, inherit=["recordsize"])) == [f"zfs inherit recordsize {into}"]
    assert _value(into, "recordsize") == "131072"
    _cleared()


def parents() -> None:
    """Only when asked; and a volume is no parent."""
    _cleared()
    deep = f"{ROOT}/a/b"
    refused(dataset(deep), "DSG-DATASET", f"{ROOT}/a does not exist", "create_parents")
    assert hold(dataset(deep, create_parents=True)) == [
        f"zfs create {ROOT}", f"zfs create {ROOT}/a", f"zfs create {deep}",
    ]  # fmt: skip
    hold(
        dataset(
            f"{ROOT}/vol", kind="volume", properties={"volsize": "8M", "refreservation": "none"}
        )
    )
    refused(dataset(f"{ROOT}/vol/x"), "DSG-DATASET", "volume")
    refused(dataset("nosuchpool/x"), "DSG-ZFS", "nosuchpool")
    _cleared()


def volumes() -> None:
    """They grow and never shrink; a file system is no volume."""
    _cleared()
    hold(dataset(ROOT, properties={"mountpoint": "none"}))
    name = f"{ROOT}/vol"
    sparse = {"volsize": "8M", "volblocksize": "16K", "refreservation": "none"}
    refused(dataset(name, kind="volume"), "DSG-DATASET", "volsize")
    for uneven in ({**sparse, "volsize": 8_000_000}, {"volsize": "8008K"}):
        refused(dataset(name, kind="volume", properties=uneven), "DSG-DATASET", "multiple of 16384")
    hold(dataset(name, kind="volume", properties=sparse))
    grown = {**sparse, "volsize": "16M"}
    assert hold(dataset(name, kind="volume", properties=grown)) == [f"zfs set volsize=16M {name}"]
    refused(dataset(name, kind="volume", properties=sparse), "DSG-DATASET", "smaller")
    blocks = {**grown, "volblocksize": "8K"}
    refused(dataset(name, kind="volume", properties=blocks), "DSG-DATASET", "only a creation")
    refused(dataset(name), "DSG-DATASET", "volume")
    refused(absent(name), "DSG-DATASET", "volume")
    refused(dataset(ROOT, properties={"volsize": "1M"}), "DSG-DATASET", "cannot be set")
    assert hold(absent(name, kind="volume")) == [f"zfs destroy {name}"]
    _cleared()


def only_at_the_creation() -> None:
    """What cannot be changed any more is an error, and nothing else of it is changed."""
    _cleared()
    hold(dataset(ROOT, properties={"mountpoint": "none", "utf8only": True}))
    hold(dataset(ROOT, properties={"utf8only": True, "normalization": "none"}))
    for name, value in (
        ("utf8only", False), ("casesensitivity", "mixed"), ("normalization", "formD"),
        ("encryption", "on"), ("used", "1M"), ("guid", 1),
    ):  # fmt: skip
        more = {"properties": {name: value, "atime": False}}
        refused(dataset(ROOT, **more), "DSG-DATASET", name)
    assert _source(ROOT, "atime") == "default"
    refused(dataset(ROOT, properties={"nosuch": "1"}), "DSG-ZFS", "nosuch")
    for wrong in ({"-r": "x"}, {"quota": None}, {"dsg:x": "a\nb"}, {"a,b": "1"}):
        refused(dataset(ROOT, properties=wrong), "DSG-ARGUMENT")
    _cleared()


def encryption() -> None:
    """``on`` is what OpenZFS makes of it."""
    _cleared()
    with open("/root/provisioning.key", "w", encoding="ascii") as stream:
        stream.write("0" * 64)
    properties = {
        "encryption": "on", "keyformat": "hex", "keylocation": "file:///root/provisioning.key",
        "mountpoint": "none",
    }  # fmt: skip
    hold(dataset(ROOT, properties=properties))
    off = {**properties, "encryption": "off"}
    refused(dataset(ROOT, properties=off), "DSG-DATASET", "encryption")
    _cleared()


def absence() -> None:
    """This one dataset, with nothing on it: never recursive, and never a pool."""
    _cleared()
    assert hold(absent(ROOT)) == []
    hold(dataset(f"{ROOT}/child", create_parents=True))
    refused(absent(ROOT), "DSG-DATASET", f"{ROOT}/child", "recursively")
    sh("zfs", "snapshot", f"{ROOT}/child@1")
    refused(absent(f"{ROOT}/child"), "DSG-DATASET", f"{ROOT}/child@1")
    sh("zfs", "clone", f"{ROOT}/child@1", f"{ROOT}/clone")
    refused(absent(f"{ROOT}/child"), "DSG-DATASET", f"cloned by {ROOT}/clone")
    assert hold(absent(f"{ROOT}/clone")) == [f"zfs destroy {ROOT}/clone"]
    sh("zfs", "bookmark", f"{ROOT}/child@1", f"{ROOT}/child#1")
    sh("zfs", "destroy", f"{ROOT}/child@1")
    refused(absent(f"{ROOT}/child"), "DSG-DATASET", f"{ROOT}/child#1")
    sh("zfs", "destroy", f"{ROOT}/child#1")
    assert hold(absent(f"{ROOT}/child")) == [f"zfs destroy {ROOT}/child"]
    assert hold(absent(ROOT)) == [f"zfs destroy {ROOT}"]
    refused(absent("tank"), "DSG-ARGUMENT", "root dataset")
    refused(absent("nosuchpool/x"), "DSG-ZFS", "nosuchpool")
    for name in ("-r", "tank/-r", "tank/a@1", "tank/a b", "tank//a", "tank/", "tank/a\n"):
        refused(absent(name), "DSG-ARGUMENT")


def a_listing_that_fails() -> None:
    """It is an error, and not taken for an absent dataset."""
    _cleared()
    hold(dataset(ROOT))
    runner = Runner()
    for plan in (dataset_state.present, dataset_state.absent):
        _without_device(partial(plan, runner, DatasetRequest(ROOT)))
    _without_device(
        partial(pool_state.present, runner, PoolRequest("x", [("data", "stripe", ["/dev/vdb"])]))
    )
    _without_device(partial(pool_state.exported, runner, PoolRequest("tank")))
    assert _value(ROOT, "type") == "filesystem"
    _cleared()


def _without_device(plan: Callable[[], object]) -> None:
    """OpenZFS cannot be asked by a process that finds something else in its device's place."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.unshare(os.CLONE_NEWNS)
            sh("mount", "--make-rprivate", "/")
            sh("mount", "--bind", "/dev/null", "/dev/zfs")
            plan()
        except ZfsError:
            status = 0
        finally:
            os._exit(status)
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def what_is_made_and_cannot_be_mounted() -> None:
    """OpenZFS ends with an error, and the dataset is there: nobody is told that nothing was changed."""
    _cleared()
    with tempfile.TemporaryDirectory() as folder:
        closed = {"mountpoint": f"{folder}/closed", "readonly": True}
        hold(dataset(ROOT, properties=closed))
        within = dataset(f"{ROOT}/in", properties={"mountpoint": f"{folder}/closed/in"})
        _fails_and_tells(within, "has taken effect all the same", f"dataset {ROOT}/in")
        assert within() == [] and _value(f"{ROOT}/in", "mounted") == "no"
        _cleared()


def _fails_and_tells(plan: Plan, *said: str) -> None:
    try:
        carry_out(Runner(), plan, plan())
    except DsgError as error:
        assert error.changed and all(text in error.unchanged for text in said), error.unchanged
    else:
        raise AssertionError("it can be mounted nowhere")


def a_later_step_that_fails() -> None:
    """The error tells what had been done."""
    _cleared()
    plan = dataset(f"{ROOT}/a", create_parents=True, properties={"recordsize": "77"})
    try:
        carry_out(Runner(), plan, plan())
    except DsgError as error:
        assert error.changed and f"zfs create {ROOT}" in error.unchanged, error
        assert "recordsize" in str(error), error
    else:
        raise AssertionError("a record size of 77")
    _cleared()
