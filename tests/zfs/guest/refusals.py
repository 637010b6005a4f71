# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused, with an error that names the object, what is unchanged and what to do next."""

from __future__ import annotations

from _core.errors import DsgError
from _core.sync.engine import run
from _core.sync.status import inspect
from _core.zfs import mounts
from guest.lab import PARENT, Lab, sh


def hostile_names() -> None:
    """Nothing that is not a plain name below a pool reaches a command."""
    parents = (
        "tank", "-r", "tank/-r", "tank/dsg@s1", "tank/dsg/", "/tank/dsg", "tank//dsg", "tank/../x",
        "tank/dsg\n", "tank/dsg x", "tank/dsg;id", "tank/%recv", "tank/dsg#b", "tank/" + "x" * 250, "",
    )  # fmt: skip
    for parent in parents:
        _refused("DSG-ARGUMENT", "name", {"type": "zfs", "dataset": parent})
    names = ("-r", "a/b", "..", ".dsg", "a@s1", "a b", "a\n", "$(id)", "x" * 65, "", "é", "a%b")
    for name in names:
        _refused("DSG-ARGUMENT", name, {"type": "zfs", "dataset": PARENT})


def _refused(code: str, name: str, backend: dict[str, object], *words: str) -> None:
    lab = Lab("refused")
    lab.put("a", "1")
    before = sh("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", "tank") if words else ""
    try:
        request = lab.request()._replace(repository=name, backend=backend)
        lab.acting(lambda: run(request))
    except DsgError as exc:
        assert exc.code == code, (name, backend, exc)
        assert exc.unchanged and exc.next_step, exc
        assert all(word in str(exc) for word in words), (words, exc)
    else:
        raise AssertionError((name, backend))
    if words:
        assert sh("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", "tank") == before


def parents_that_are_not_provisioned() -> None:
    """Absent, without our marker, with an inherited marker, without a container."""
    _refused("DSG-ZFS", "x", {"type": "zfs", "dataset": "tank/absent"}, "tank/absent", "not exist")
    sh("zfs", "create", "-o", "mountpoint=none", "tank/plain")
    sh("zfs", "create", "tank/plain/.dsg")
    plain: dict[str, object] = {"type": "zfs", "dataset": "tank/plain"}
    _refused("DSG-REPOSITORY", "x", plain, "tank/plain", "not provisioned", "provision")
    sh("zfs", "set", "dsg:parent=1", "tank/plain")
    sh("zfs", "create", "-p", "tank/plain/sub/.dsg")
    inherited: dict[str, object] = {"type": "zfs", "dataset": "tank/plain/sub"}
    _refused("DSG-REPOSITORY", "x", inherited, "tank/plain/sub", "not provisioned")
    sh("zfs", "destroy", "-r", "tank/plain/sub")
    _refused("DSG-REPOSITORY", "x", plain, "mountpoint", "none")
    sh("zfs", "destroy", "tank/plain/.dsg")
    _refused("DSG-REPOSITORY", "x", plain, "not provisioned")
    sh("zfs", "destroy", "tank/plain")


def what_has_the_name_already() -> None:
    """A volume, and a file system that we did not make."""
    backend: dict[str, object] = {"type": "zfs", "dataset": PARENT}
    sh("zfs", "create", "-s", "-V", "8M", f"{PARENT}/vol")
    _refused("DSG-REPOSITORY", "vol", backend, f"{PARENT}/vol", "volume")
    sh("zfs", "destroy", f"{PARENT}/vol")
    sh("zfs", "create", "-o", "mountpoint=/srv/theirs", f"{PARENT}/theirs")
    _refused("DSG-REPOSITORY", "theirs", backend, "theirs", "mountpoint of its own")
    sh("zfs", "destroy", f"{PARENT}/theirs")


def repositories_that_a_clone_could_not_replace() -> None:
    """Child datasets, an encryption root, a mountpoint of its own: refused, also in check mode."""
    lab = Lab("odd")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    sh("zfs", "create", "-u", f"{lab.live}/child")
    for check in (False, True):
        lab.refused("DSG-REPOSITORY", lab.live, "child datasets", check=check)
    told = lab.acting(lambda: inspect(lab.request(), drift=True).drift)
    assert told == [f"{lab.live}/child: a dataset below the repository"], told
    sh("zfs", "destroy", f"{lab.live}/child")
    sh("zfs", "set", "canmount=noauto", lab.live)
    lab.refused("DSG-REPOSITORY", lab.live, "canmount=noauto", "set canmount=on")
    sh("zfs", "set", "canmount=on", lab.live)
    mounts.unmount(lab.path)
    sh("zfs", "destroy", f"{lab.live}@s1")
    sh("zfs", "destroy", lab.live)
    key = "/root/key"
    with open(key, "w", encoding="utf-8") as stream:
        stream.write("0" * 64)
    options = ("encryption=on", "keyformat=hex", f"keylocation=file://{key}")
    sh("zfs", "create", *[p for o in options for p in ("-o", o)], "-u", lab.live)
    lab.refused("DSG-REPOSITORY", lab.live, "encryption root")
    sh("zfs", "destroy", lab.live)
    sh("zfs", "create", "-u", "-o", "mountpoint=/srv/elsewhere", "tank/elsewhere")
    sh("zfs", "snapshot", "tank/elsewhere@s1")
    sh("sh", "-c", f"zfs send -p tank/elsewhere@s1 | zfs receive -u {lab.live}")
    sh("zfs", "destroy", "-r", "tank/elsewhere")
    for way in ("received", "local"):
        told = sh("zfs", "get", "-H", "-o", "value,source", "mountpoint", lab.live)
        assert told == f"/srv/elsewhere\t{way}\n"
        lab.refused("DSG-REPOSITORY", lab.live, "mountpoint of its own")
        sh("zfs", "set", "-u", "mountpoint=/srv/elsewhere", lab.live)
    sh("zfs", "destroy", "-r", lab.live)


def a_repository_that_is_gone() -> None:
    """A client that knows a repository does not make a new one in its place."""
    lab = Lab("gone")
    lab.put("a", "1")
    lab.sync()
    mounts.unmount(lab.path)
    sh("zfs", "rename", "-u", lab.live, f"{PARENT}/gone-away")
    lab.put("a", "2")
    before = lab.local()
    for operation in ("auto", "sync"):
        try:
            lab.sync(operation=operation)
        except DsgError as exc:
            assert exc.unchanged and exc.next_step, exc
        else:
            raise AssertionError("it was made anew")
    assert lab.local() == before
    sh("zfs", "rename", "-u", f"{PARENT}/gone-away", lab.live)
    # It is not mounted; that is what a recovery mends, and any sync does one.
    assert lab.sync().snapshot == 2
    lab.clean()
    lab.destroy()


def a_stranger_on_the_mountpoint() -> None:
    """Somebody mounted something over the published tree: it is not lifted off."""
    lab = Lab("covered")
    lab.put("a", "1")
    lab.sync()
    sh("mount", "-t", "tmpfs", "tmpfs", lab.path)
    lab.put("a", "22")
    error = lab.refused("DSG-ZFS", "tmpfs", lab.path)
    assert "Unmount it" in error.next_step
    assert mounts.stack(lab.path) == ["tmpfs", lab.live]
    mounts.unmount(lab.path)
    assert lab.sync().snapshot == 2
    lab.clean()
    lab.destroy()


def an_unreadable_record() -> None:
    """A commit record that nobody can have written stops everything, and stays."""
    lab = Lab("badrecord")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    sh("zfs", "set", f"{lab.record}=nonsense", lab.container)
    lab.refused("DSG-MANIFEST", lab.record, "nonsense")
    sh("zfs", "set", f"{lab.record}=20260101T000000Z-0;1;2", lab.container)
    error = lab.refused("DSG-ZFS", "does not fit")
    assert any("record:" in line for line in error.details)
    sh("zfs", "inherit", lab.record, lab.container)
    assert lab.sync().snapshot == 2
    lab.clean()
    lab.destroy()
