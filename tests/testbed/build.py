# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the guest: Debian's packages into a folder, the folder into a root disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import recipe, tools
from .store import BedError, cache, locked, say

FORMAT = 1


class Image(NamedTuple):
    """A built guest. ``manifest``: kernel, zfs, debian (versions), built_at (UTC), seconds."""

    path: Path
    manifest: dict[str, Any]

    @property
    def disk(self) -> Path:
        return self.path / "root.qcow2"

    @property
    def kernel(self) -> Path:
        return self.path / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.path / "initrd.img"

    @property
    def login_key(self) -> Path:
        return self.path / "id_ed25519"

    @property
    def host_key(self) -> str:
        """The guest's public host key, as known_hosts has it: type and key."""
        text = (self.path / "ssh_host_ed25519_key.pub").read_text(encoding="ascii")
        return " ".join(text.split()[:2])


def find() -> Image | None:
    """Return the newest image of the present recipe, None where there is none."""
    folder = cache() / "images" / recipe.key()
    builds = sorted(folder.glob("[0-9]*/manifest.json"), reverse=True)
    if not builds:
        return None
    return Image(builds[0].parent, json.loads(builds[0].read_text(encoding="utf-8")))


def ensure(*, rebuild: bool = False) -> Image:
    """Return the image, built if it is missing (or ``rebuild`` asks for one). Raises BedError.

    An image in the cache is used whatever its age: nothing is fetched, no rights are needed.
    """
    image = find()
    if image and not rebuild:
        return image
    folder = cache() / "images" / recipe.key()
    with locked(folder / "lock"):
        image = find()  # whoever held the lock may have built it meanwhile
        if image and not rebuild:
            return image
        return _build(folder)


def _build(folder: Path) -> Image:
    started = time.time()
    log = folder / "build.log"
    log.write_text("", encoding="utf-8")
    tools.ensure(tools.TO_BUILD, "building the guest", log)
    for left in folder.glob(".new-*"):  # of a builder that was killed: the lock is ours
        tools.as_root(["rm", "-rf", "--one-file-system", "--", left])
    new = folder / f".new-{os.getpid()}"
    new.mkdir()
    say(f"building the guest (Debian {recipe.RELEASE}); this takes minutes, see {log}")
    try:
        _make_keys(new)
        _make_disk(new, log)
        manifest = _describe(new, started)
        (new / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        done = folder / time.strftime("%Y%m%d%H%M%S", time.gmtime())
        new.rename(done)
    finally:
        if new.exists():
            tools.as_root(["rm", "-rf", "--one-file-system", "--", new])
    say(f"built in {manifest['seconds']} s: kernel {manifest['kernel']}, OpenZFS {manifest['zfs']}")
    return Image(done, manifest)


def _make_keys(new: Path) -> None:
    for name, comment in (("id_ed25519", "testbed"), ("ssh_host_ed25519_key", "guest")):
        tools.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", new / name])


def _make_disk(new: Path, log: Path) -> None:
    handover, tree, raw = new / "handover", new / "tree", new / "root.raw"
    handover.mkdir()
    for name in ("id_ed25519.pub", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
        shutil.copy(new / name, handover / name)
    sources = new / "sources.list"
    archive = tools.archive(log)
    sources.write_text(archive.sources(recipe.RELEASE, recipe.COMPONENTS), encoding="utf-8")
    tools.as_root(recipe.mmdebstrap(sources, tools.apt_settings(), handover, tree), log=log)
    for inside, outside in (
        ("testbed-vmlinuz", "vmlinuz"),
        ("testbed-initrd", "initrd.img"),
        ("testbed-packages", "packages.txt"),
    ):
        tools.as_root(["install", "-m", "0644", tree / "boot" / inside, new / outside], log=log)
    tools.as_root(
        [
            *("mke2fs", "-q", "-t", "ext4", "-L", "testbed", "-m", "0"),
            *("-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", tree, raw, recipe.ROOT_DISK),
        ],
        log=log,
    )
    owner = f"{os.getuid()}:{os.getgid()}"
    names = ("vmlinuz", "initrd.img", "packages.txt", "root.raw")
    tools.as_root(["chown", owner, *(new / name for name in names)], log=log)
    tools.as_root(["rm", "-rf", "--one-file-system", "--", tree], log=log)
    tools.run(["qemu-img", "convert", "-O", "qcow2", raw, new / "root.qcow2"], log=log)
    raw.unlink()
    for left in (handover, sources, new / "ssh_host_ed25519_key"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _describe(new: Path, started: float) -> dict[str, Any]:
    text = (new / "packages.txt").read_text(encoding="utf-8")
    versions = dict(line.split(" ", 1) for line in text.splitlines())
    kernel = next((name for name in versions if name.startswith("linux-image-6")), None)
    if kernel is None or "zfsutils-linux" not in versions:
        raise BedError("the guest came out without a kernel or without OpenZFS")
    return {
        "format": FORMAT,
        "recipe": recipe.key(),
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.time() - started),
        "debian": versions["base-files"],
        "kernel": kernel[len("linux-image-") :],
        "zfs": versions["zfsutils-linux"],
    }


def size(path: Path) -> int:
    """Return how many bytes a folder really takes on the disk."""
    done = subprocess.run(
        ["du", "-s", "-B1", "--", str(path)], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[0]) if done.stdout else 0
