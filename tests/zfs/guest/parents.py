# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publish parents of other kinds: encrypted, received from another pool, with other record sizes."""

from __future__ import annotations

import os

from _core.backends.zfs.repository import ZfsRepository
from _core.errors import DsgError
from _core.upkeep.prune import prune
from _core.upkeep.retention import Keep
from guest import delegation
from guest.lab import PARENT, Lab, listing, provision, sh

_DISK = "/var/tmp/unwritable.img"
_KEY = "/root/vault.key"
_RECORDS_OF_OURS = 256 * 1024
"""What manifest, history and the file system's own blocks may take."""


def _lab(name: str, parent: str, mountpoint: str) -> Lab:
    """Return a lab below another parent, which its user is given as well."""
    lab = Lab(name, parent, mountpoint)
    if lab.user:
        delegation.provision_user([PARENT, parent])
    return lab


def an_encrypted_parent() -> None:
    """Its repositories are encrypted with it; without the key nothing is lost, with it all goes on."""
    parent, mountpoint = "tank/vault", "/srv/vault"
    with open(_KEY, "w", encoding="ascii") as stream:
        stream.write("0" * 64)
    provision(parent, mountpoint, "encryption=on", "keyformat=hex", f"keylocation=file://{_KEY}")
    lab = _lab("secret", parent, mountpoint)
    for number in (1, 2, 3):
        lab.put("a", str(number))
        assert lab.sync().snapshot == number
        assert lab.published() == lab.local()
        root = sh("zfs", "get", "-H", "-o", "value", "encryptionroot", lab.live)
        assert root == f"{parent}\n"
        lab.clean()
    pruned = lab.acting(lambda: prune(ZfsRepository(parent, "secret"), Keep(last=1)))
    assert pruned.removed == ["s1", "s2"]

    sh("zfs", "unmount", parent)
    sh("zfs", "unload-key", parent)
    lab.put("a", "4")
    before = lab.local()
    for work in (lab.sync, lab.recover):
        try:
            work()
        except DsgError as exc:
            assert exc.unchanged and exc.next_step, exc
            assert "key" in str(exc), exc
        else:
            raise AssertionError(f"{work} without the key")
    assert (lab.local(), lab.snapshots()) == (before, ["s3"])
    sh("zfs", "mount", "-l", parent)  # as the error says
    assert lab.sync().snapshot == 4
    assert lab.published() == lab.local()
    lab.clean()
    lab.destroy()
    sh("zfs", "destroy", "-r", parent)


def a_parent_that_came_by_send_and_receive() -> None:
    """A replica becomes a parent again by one property; its history goes on with what it received."""
    origin, target = "tank/sent", "tank/received"
    provision(origin, "/srv/sent")
    lab = _lab("moved", origin, "/srv/sent")
    wanted = {"compression": "gzip-3", "quota": "209715200", "com.example:owner": "x"}
    for number in (1, 2):
        lab.put("a", str(number))
        lab.sync()
    for key, value in wanted.items():
        sh("zfs", "set", f"{key}={value}", lab.live)
    published = lab.published()
    sh("zfs", "snapshot", "-r", f"{origin}@move")
    sh(
        "sh",
        "-c",
        f"zfs send -R {origin}@move | zfs receive -u -o mountpoint=/srv/received {target}",
    )
    replica = _lab("moved", target, "/srv/received")
    replica.refused("DSG-REPOSITORY", target, "not provisioned")
    sh("zfs", "set", "dsg:parent=1", target)  # what `provision` does
    sh("zfs", "mount", "-a")
    assert replica.published() == published
    assert replica.sync().operation == "clone"
    for number in (3, 4):
        replica.put("b", str(number))
        assert replica.sync().snapshot == number
        assert replica.published() == replica.local()
    told = sh("zfs", "get", "-Hp", "-s", "local", "-o", "property,value", "all", replica.live)
    found = dict(line.split("\t") for line in told.splitlines())
    assert {key: found.get(key) for key in wanted} == wanted, found
    assert listing(f"{replica.path}/.zfs/snapshot/s2") == published
    assert replica.snapshots() == ["s1", "s2", "move", "s3", "s4"]
    replica.clean()
    sh("zfs", "destroy", "-R", target)
    sh("zfs", "destroy", "-R", origin)


def records_of_every_size() -> None:
    """Of a large file that changed in places only the changed records are written."""
    for record in (8 << 10, 16 << 10, 1 << 20):
        lab = Lab(f"record{record}")
        lab.put("a", "1")
        lab.sync()
        sh("zfs", "set", f"recordsize={record}", lab.live)
        big = os.path.join(lab.copy("wc"), "big")
        with open(big, "wb") as stream:
            stream.write(os.urandom(16 << 20))
        lab.sync()
        with open(big, "r+b") as stream:
            for place in (0, 5 << 20, (16 << 20) - 3):
                stream.seek(place)
                stream.write(b"new")
        assert lab.sync().snapshot == 3
        assert lab.published() == lab.local()
        written = int(sh("zfs", "get", "-Hp", "-o", "value", "written", f"{lab.live}@s3"))
        assert written <= 3 * record + _RECORDS_OF_OURS, (record, written)
        lab.clean()
        lab.destroy()


def a_pool_that_takes_no_writes() -> None:
    """A snapshot that cannot be destroyed for any other reason than its use is an error."""
    sh("truncate", "-s", "256M", _DISK)
    sh("zpool", "create", "-m", "none", "unwritable", _DISK)
    try:
        provision("unwritable/dsg", "/srv/unwritable")
        lab = _lab("kept", "unwritable/dsg", "/srv/unwritable")
        for number in (1, 2):
            lab.put("a", str(number))
            lab.sync()
        lab.clean()
        sh("zpool", "export", "unwritable")
        sh("zpool", "import", "-o", "readonly=on", "-d", _DISK, "unwritable")
        try:
            lab.acting(lambda: prune(ZfsRepository(lab.parent, "kept"), Keep(last=1)))
        except DsgError as exc:
            assert "destroy" in str(exc) and exc.unchanged == "No snapshot was removed.", exc
        else:
            raise AssertionError("pruned where nothing can be written")
        assert lab.snapshots() == ["s1", "s2"]
    finally:
        sh("zpool", "destroy", "unwritable")
        os.unlink(_DISK)
