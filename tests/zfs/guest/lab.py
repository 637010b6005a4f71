# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One provisioned host, and one repository with its clients for each case."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import traceback
from collections.abc import Callable
from typing import Any

from _core.backends.zfs.layout import Layout
from _core.errors import DsgError
from _core.plan.policy import Policy
from _core.sync.engine import run
from _core.sync.recovery import recover
from _core.sync.request import SyncRequest, SyncResult
from _core.sync.verify import verify_repository
from _core.zfs import mounts
from guest.as_user import as_user, by_root, give
from guest.tape import Fault, Outcome, attempt

PARENT = "tank/dsg"
MOUNTPOINT = "/srv/dsg"
HOME = "/root/cases"
acting: list[str] = []
"""The user as whom the engine runs, as the first element; root where it is empty."""
COUNTS = ("filesystem_count", "snapshot_count")
"""What OpenZFS shows as set on every dataset, as soon as there has been a limit on one above."""
_PROPERTIES = ("readonly=on", "setuid=off", "devices=off", "atime=off", "dsg:parent=1")


def sh(*argv: str, check: bool = True) -> str:
    """Run a command as root and return what it printed."""
    if os.geteuid() == 0:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        status, told, error = done.returncode, done.stdout, done.stderr
    else:
        status, told, error = by_root(argv)
    if check and status != 0:
        raise AssertionError(f"{argv} ended with {status}: {error}{told}")
    return told


def provision_pool(disk: str) -> None:
    """Make the pool and its publish parent."""
    create_pool("tank", disk)
    provision(PARENT, MOUNTPOINT)


def create_pool(name: str, disk: str) -> None:
    """Make a pool; udev does not read the disk's partitions again meanwhile, as it is locked."""
    sh("flock", "--shared", disk, "zpool", "create", "-f", "-O", "mountpoint=none", name, disk)


def provision(parent: str, mountpoint: str, *further: str) -> None:
    """Make a publish parent as the role ``repository`` does; ``further`` are properties of it."""
    properties = (f"mountpoint={mountpoint}", *_PROPERTIES, *further)
    options = [part for pair in properties for part in ("-o", pair)]
    sh("zfs", "create", *options, parent)
    container = ("canmount=off", "mountpoint=none", "readonly=off")
    sh("zfs", "create", *[p for pair in container for p in ("-o", pair)], f"{parent}/.dsg")


def in_parallel(workers: int, work: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Do shares of the work in processes of their own; raises what went wrong in any of them."""
    pipes = []
    for number in range(workers):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            try:
                answer = {"done": work(number)}
            except BaseException:
                answer = {"error": traceback.format_exc()}
            with os.fdopen(writing, "w") as stream:
                json.dump(answer, stream)
                stream.write("\n")
            os._exit(0)
        os.close(writing)
        pipes.append(reading)
    answers = []
    for reading in pipes:
        with os.fdopen(reading) as stream:
            # One line: not to the end, as somebody who was stopped may have it open.
            answers.append(json.loads(stream.readline()))
    for _unused in pipes:
        os.wait()
    wrong = [answer["error"] for answer in answers if "error" in answer]
    assert not wrong, "\n".join(wrong)
    return [answer["done"] for answer in answers]


def unmount_all(place: str) -> None:
    """Unmount everything at and below a directory, the innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        points = [line.split(" ")[4] for line in stream]
    for point in sorted(points, reverse=True):
        if f"{point}/".startswith(f"{place}/"):
            sh("umount", "-l", point)


def listing(root: str, *, records: bool = False) -> dict[str, list[object]]:
    """Return path → what is there, bit for bit; with ``records`` also our own below ``.dsg``."""
    found: dict[str, list[object]] = {}
    for directory, folders, files in os.walk(root):
        relative = os.path.relpath(directory, root)
        if relative == "." and not records and ".dsg" in folders:
            folders.remove(".dsg")
        for name in folders + files:
            path = os.path.normpath(os.path.join(relative, name))
            found[path] = _node(os.path.join(directory, name))
    return found


def _node(path: str) -> list[object]:
    seen = os.lstat(path)
    if stat.S_ISLNK(seen.st_mode):
        return ["link", os.readlink(path)]
    if stat.S_ISDIR(seen.st_mode):
        return ["directory"]
    with open(path, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    return ["file", stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, digest]


class Lab:
    """A repository ``name`` below a parent, with working copies as clients."""

    def __init__(self, name: str, parent: str = PARENT, mountpoint: str = MOUNTPOINT) -> None:
        self.name = name
        self.parent = parent
        self.live = f"{parent}/{name}"
        self.container = f"{parent}/.dsg"
        self.path = f"{mountpoint}/{name}"
        self.mountpoint = mountpoint
        self.backend: dict[str, object] = {"type": "zfs", "dataset": parent}
        self.user = acting[0] if acting else ""
        self.home = os.path.join(f"/home/{self.user}/cases" if self.user else HOME, name)
        shutil.rmtree(self.home, ignore_errors=True)
        os.makedirs(self.copy("wc"))

    def copy(self, client: str) -> str:
        """Return a client's working copy."""
        return os.path.join(self.home, client)

    def put(self, path: str, content: str | None, client: str = "wc") -> None:
        """Write a file of a working copy; None removes it."""
        full = os.path.join(self.copy(client), path)
        if content is None:
            os.unlink(full)
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as stream:
            stream.write(content)

    def request(self, client: str = "wc", **more: Any) -> SyncRequest:
        """Return what a sync is asked."""
        return SyncRequest(
            src=self.copy(client),
            repository=self.name,
            backend=self.backend,
            user=client,
            policy=more.pop("policy", Policy(max_delete="100%")),
            **more,
        )

    def sync(self, client: str = "wc", **more: Any) -> SyncResult:
        """Run the real engine."""
        request = self.request(client, **more)
        return self.acting(lambda: run(request))

    def acting(self, work: Callable[[], Any]) -> Any:
        """Do the work as the user of this case, who this process may be already."""
        if not self.user or os.geteuid() != 0:
            return work()
        give(self.user, self.home)
        return as_user(self.user, work)

    def attempt(self, work: Callable[[], Any], fault: Fault | None) -> Outcome:
        """Do the work as that user in a child, with a fault."""
        if self.user:
            give(self.user, self.home)
        return attempt(self.name, work, fault, self.user)

    def refused(self, code: str, *words: str, client: str = "wc", **more: Any) -> DsgError:
        """Run the engine, which has to refuse with that code and say those words."""
        try:
            result = self.sync(client, **more)
        except DsgError as exc:
            assert exc.code == code, exc
            said = str(exc)
            assert all(word in said for word in words), (words, said)
            assert exc.unchanged and exc.next_step, exc.as_dict()
            return exc
        raise AssertionError(f"it was not refused: {result.operation} {result.plan.counts()}")

    def recover(self, client: str = "wc") -> list[str]:
        """Run recovery."""
        return self.acting(lambda: recover(self.copy(client), self.name, self.backend))

    def published(self) -> dict[str, list[object]]:
        """Return the published tree."""
        return listing(self.path)

    def local(self, client: str = "wc") -> dict[str, list[object]]:
        """Return a working copy's tree."""
        return listing(self.copy(client))

    def sound(self) -> None:
        """Assert that tree, manifest and history agree."""
        found = self.acting(lambda: verify_repository(self.name, self.backend))
        assert found.sound, found

    def facts(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Return every dataset and snapshot of this repository with what tells of a leak."""
        names = "origin,userrefs,dsg:txn,dsg:manifest,test:kept,mounted,guid,creation,used"
        listed = sh(
            "zfs", "get", "-Hp", "-r", "-t", "filesystem,volume,snapshot", "-o",
            "name,property,value,source", f"{names},{self.record}", self.parent,
        )  # fmt: skip
        found: dict[str, dict[str, tuple[str, str]]] = {}
        for line in listed.splitlines():
            name, key, value, source = line.split("\t")
            mine = name.partition("@")[0] == self.live or name == self.container
            if mine or name.startswith((f"{self.live}/", f"{self.container}/{self.name}.")):
                found.setdefault(name, {})[key] = (value, source)
        return found

    def identity(self) -> dict[str, Any]:
        """Return what tells one state of repository and client from every other one.

        Two states with the same identity lead to the same next sync: the same datasets, snapshots,
        properties and mounts, bit for bit the same records on both sides.
        """
        keys = ("origin", "userrefs", "dsg:txn", "test:kept", "mounted", "guid", self.record)
        scaffold = ("lock", "index")  # a lock's file, and a cache
        mine = listing(os.path.join(self.copy("wc"), ".dsg"))
        return {
            "datasets": {name: [f[key] for key in keys] for name, f in self.facts().items()},
            "published records": listing(os.path.join(self.path, ".dsg")),
            "records": {p: r for p, r in mine.items() if r != ["directory"] and p not in scaffold},
            "mounts": mounts.stack(self.path),
            "left": self.left_mounted(),
        }

    def mark(self) -> None:
        """Set and grant something on the repository's dataset, for the next generations to have."""
        sh("zfs", "set", "test:kept=yes", self.live)
        sh("zfs", "allow", "-u", "nobody", "hold", self.live)

    def is_marked(self) -> bool:
        """Tell whether what :meth:`mark` did holds for this generation."""
        kept = sh("zfs", "get", "-H", "-s", "local", "-o", "value", "test:kept", self.live)
        return kept == "yes\n" and "user nobody hold" in sh("zfs", "allow", self.live)

    @property
    def record(self) -> str:
        """Return the name of the commit record."""
        return f"dsg:commit.n.{self.name}"

    def left(self) -> list[str]:
        """Name what a transaction has left behind."""
        facts = self.facts()
        found = [f"dataset {name}" for name in facts if name.startswith(f"{self.container}/")]
        if facts[self.container][self.record][1] == "local":
            found.append("a commit record")
        if self.live in facts and facts[self.live]["origin"][0] != "-":
            found.append(f"{self.live} is a clone of {facts[self.live]['origin'][0]}")
        found += [
            f"a hold on {name}" for name, f in facts.items() if f["userrefs"][0] not in ("0", "-")
        ]
        found += [f"snapshot {name}" for name in facts if "@zfs-diff" in name]
        return found + self.left_mounted()

    def left_mounted(self) -> list[str]:
        """Name mounts and mount directories that have no business there."""
        with open("/proc/self/mountinfo", encoding="utf-8") as stream:
            points = [line.split(" ")[4] for line in stream]
        found = [f"mount {point}" for point in points if f"%{self.name}%" in point]
        if points.count(self.path) > 1:
            found.append(f"{points.count(self.path)} mounts at {self.path}")
        folder = "/run/dsg/mnt"
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found += [f"directory {name}" for name in names if name.split("%")[-2:-1] == [self.name]]
        if mounts.is_writable(self.mountpoint):
            found.append(f"{self.mountpoint} takes writes")
        return found

    def clean(self) -> None:
        """Assert that nothing was left behind, and that the repository is sound."""
        left = self.left()
        assert left == [], left
        self.sound()

    def clean_absent(self) -> None:
        """Assert that nothing was left behind by a first publication that failed."""
        left = self.left()
        assert left == [], left
        assert self.live not in self.facts()

    def snapshots(self) -> list[str]:
        """Return the snapshots of the published dataset, others' as well."""
        listed = sh("zfs", "list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s",
                    "createtxg", self.live)  # fmt: skip
        return [line.partition("@")[2] for line in listed.splitlines()]

    def forget_lock(self) -> None:
        """Remove the lock file, as a reboot does: the next run has it made."""
        lock = Layout(self.parent, self.name).lock
        if os.path.exists(lock):
            os.unlink(lock)

    def destroy(self) -> None:
        """Remove the repository altogether."""
        while mounts.stack(self.path):
            mounts.unmount(self.path, lazily=True)
        sh("zfs", "destroy", "-R", self.live)
        shutil.rmtree(self.home)
