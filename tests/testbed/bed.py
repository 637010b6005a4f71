# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test bed: named hosts that run side by side, each with its own disks and its own port.

with Bed("mine").use(["host1", "host2"]) as bed:
    zpool(bed.host("host1"), "create", "tank", bed.host("host1").disks[0])  # of pools.py
    bed.host("host1").power_cut()
    bed.host("host1").boot()
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import build, machine, ssh, state, tools
from .build import Image
from .machine import Machine
from .state import State
from .store import BedError, cache, claim, locked

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
# root, one who may become root, and one with no rights at all
USERS = ("root", "admin", "dsg")
BOOT_SECONDS = state.BOOT_SECONDS


def host_names(count: int) -> list[str]:
    """Return the usual names of that many hosts."""
    return [f"host{number}" for number in range(1, count + 1)]


class Host:
    """One virtual host. Every method raises BedError when it cannot do what its name says."""

    def __init__(self, bed: Bed, name: str) -> None:
        self.bed = bed
        self.name = name
        self.folder = bed.folder / name
        self.machine = Machine(self.folder)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 that leads to the host's sshd; the same as long as it exists."""
        record = json.loads((self.folder / "host.json").read_text(encoding="utf-8"))
        return int(record["port"])

    @property
    def disks(self) -> list[str]:
        """Paths of the empty disks inside the host, stable ones as an administrator uses."""
        names = machine.disk_names()[1:]
        return [f"/dev/disk/by-id/virtio-dsg-{name}" for name in names]

    @property
    def running(self) -> bool:
        return self.machine.pid() is not None

    # --- commands inside

    def ssh_argv(self, *argv: str, user: str = "root") -> list[str]:
        """Return the words that run ``argv`` inside; without ``argv``, a login."""
        return ssh.command(self.bed.ssh_config, self.name, user, list(argv))

    def _shared_argv(self, *argv: str, user: str = "root") -> list[str]:
        more = ssh.sharing(self.bed.sockets())
        return ssh.command(self.bed.ssh_config, self.name, user, list(argv), more)

    def _hang_up(self) -> None:
        ssh.hang_up(self.bed.ssh_config, self.bed.sockets(), self.name, USERS)

    def run(
        self,
        *argv: str,
        user: str = "root",
        input: str | None = None,
        check: bool = True,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, its words exactly as given, and return what it said.

        With ``check``, a status other than 0 is a BedError that shows everything. Status 255 is
        ssh's own: the host could not be reached, or went away meanwhile.
        """
        try:
            done = subprocess.run(
                self._shared_argv(*argv, user=user),
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                text=True,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = f"{self.name}: {shlex.join(argv)} did not end within {seconds} s"
            raise BedError(f"{said}\n{self.machine.log_tail()}") from error
        if check and done.returncode != 0:
            raise BedError(
                f"{self.name}: {shlex.join(argv)} ended with status {done.returncode}"
                f"\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
            )
        return done

    # --- power

    def reset(self) -> None:
        """Bring back the saved booted state: clean root disk, empty data disks, right time."""
        self.power_cut()
        saved = self.bed.state
        machine.overlay(saved.disk, self.folder / "root.qcow2")
        for name in machine.disk_names()[1:]:
            shutil.copyfile(saved.data_disk, self.folder / f"{name}.qcow2")
        (self.folder / "console.log").write_bytes(b"")
        self.machine.start([*self._command(), "-incoming", f"file:{saved.memory}"])
        self.machine.resume()
        self._wake()

    def power_cut(self) -> None:
        """Pull the plug. The host stays off until ``boot``; docs/testbed.md says what is lost."""
        self._hang_up()
        self.machine.kill()

    def boot(self) -> None:
        """Switch the host on and wait until it has booted to the end."""
        self.machine.start(self._command())
        self._wait_until_booted()

    def reboot(self) -> None:
        """Reboot the host from inside, in good order, and wait until it has booted to the end."""
        before = self.boot_id()
        self.run("systemctl", "reboot", check=False)
        self._hang_up()
        self._wait_until_booted(before)

    def boot_id(self) -> str:
        """Return the id of the present boot, empty when the host does not answer."""
        argv = ("cat", "/proc/sys/kernel/random/boot_id")
        return self.run(*argv, check=False, seconds=60).stdout.strip()

    def save(self, name: str) -> None:
        """Keep memory and disks as they are now, to come back to them with ``load``."""
        self.machine.human(f"savevm {_checked(name)}")

    def load(self, name: str) -> None:
        """Bring back what ``save`` kept, whether the host is running or off."""
        self._hang_up()
        if not self.running:
            self.machine.start([*self._command(), "-S"])
        self.machine.human(f"loadvm {_checked(name)}")
        self.machine.ask("cont")
        self._wake()

    def _command(self) -> list[str]:
        label = f"dsg-testbed-{self.bed.name}-{self.name}"
        return machine.command(self.bed.image, self.bed.state.accelerator, self.port, label)

    def _wake(self) -> None:
        """Set the hour: the guest's clock went on from when its memory was written."""
        if not ssh.wait(self.port, lambda: self.running, 120):
            raise BedError(f"{self.name} did not come back:\n{self.machine.log_tail()}")
        ssh.wake(self._shared_argv("testbed-wake", self.name))

    def _wait_until_booted(self, before: str = "") -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if not ssh.wait(self.port, lambda: self.running, deadline - time.monotonic()):
                break
            now = self.boot_id()
            if now and now != before:
                # Logins of ordinary users and the units of a boot may come after sshd.
                self.run("systemctl", "is-system-running", "--wait", check=False)
                return
            time.sleep(0.5)  # it answers still, on its way down
        raise BedError(f"{self.name} did not boot:\n{self.machine.log_tail(40)}")


class Bed:
    """A group of hosts under one name. Another Python process finds it again by that name."""

    def __init__(self, name: str = "default") -> None:
        self.name = _checked(name)
        self.folder = cache() / "beds" / self.name
        self.ssh_config = self.folder / "ssh_config"
        self._lock = self.folder.with_name(f"{self.name}.lock")
        self._built: tuple[Image, State] | None = None

    # --- what it consists of

    @property
    def image(self) -> Image:
        return self._parts()[0]

    @property
    def state(self) -> State:
        return self._parts()[1]

    def _parts(self) -> tuple[Image, State]:
        """The image that the hosts began from, also when a newer one was built meanwhile."""
        if self._built is None:
            record = self.folder / "bed.json"
            if record.exists():
                path = cache() / json.loads(record.read_text(encoding="utf-8"))["image"]
                text = (path / "manifest.json").read_text(encoding="utf-8")
                image = Image(path, json.loads(text))
            else:
                image = build.ensure()
            self._built = image, state.ensure(image)
        return self._built

    def sockets(self) -> Path:
        """Return the folder of the shared connections; a socket's path has to be short."""
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        path = Path(tempfile.gettempdir()) / f"dsg-testbed-{name}"
        path.mkdir(mode=0o700, exist_ok=True)
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            raise BedError(f"{path} belongs to somebody else")
        return path

    def hosts(self) -> list[Host]:
        """Return the hosts that exist, running or not, by name."""
        return [Host(self, path.parent.name) for path in sorted(self.folder.glob("*/host.json"))]

    def host(self, name: str) -> Host:
        """Return one host. Raises BedError when there is none of that name."""
        for host in self.hosts():
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts()) or "none"
        raise BedError(f"there is no host {name!r} in the bed {self.name!r}; there is: {known}")

    # --- life

    def start(self, names: Iterable[str]) -> list[Host]:
        """Bring up hosts: new ones from the saved state, those that are off from their disks."""
        wanted = [_checked(name) for name in names]
        with locked(self._lock):
            tools.ensure(tools.TO_RUN, "starting hosts", cache() / "install.log")
            image = self.image
            _unused = self.state
            self.folder.mkdir(parents=True, exist_ok=True)
            record = {"image": os.path.relpath(image.path, cache())}
            (self.folder / "bed.json").write_text(json.dumps(record), encoding="utf-8")
            there = {host.name for host in self.hosts()}
            fresh = [self._add(name) for name in wanted if name not in there]
            self._write_addresses()
            off = [host for host in map(self.host, wanted) if not host.running]
            new = {host.name for host in fresh}
            _all_at_once(lambda host: host.reset() if host.name in new else host.boot(), off)
        return [self.host(name) for name in wanted]

    def reset(self, names: Iterable[str] = ()) -> None:
        """Bring these hosts (or all) back to the saved state."""
        _all_at_once(Host.reset, [self.host(name) for name in names] or self.hosts())

    def stop(self) -> None:
        """End every host and delete its disks. Nothing of the bed is left, running or on disk."""
        with locked(self._lock):
            for host in self.hosts():
                host.power_cut()
            for left in (self.folder, self.sockets()):
                if left.exists():
                    shutil.rmtree(left)
            self._built = None  # the next start begins from the newest image
            self._lock.unlink()

    @contextlib.contextmanager
    def use(self, names: Iterable[str]) -> Iterator[Bed]:
        """Own a bed for the length of a block: its hosts are started, and stopped at the end."""
        reap()
        owner = claim(self.folder.with_name(f"{self.name}.owner"))
        if owner is None:
            raise BedError(f"another process uses the bed {self.name!r}")
        try:
            self.start(names)
            yield self
        finally:
            self.stop()
            self.folder.with_name(f"{self.name}.owner").unlink()
            os.close(owner)

    def _add(self, name: str) -> Host:
        """Make an empty host with a port of its own; ``reset`` gives it its disks."""
        with locked(cache() / "ports.lock"):
            taken = {
                int(json.loads(path.read_text(encoding="utf-8"))["port"])
                for path in (cache() / "beds").glob("*/*/host.json")
            }
            folder = self.folder / name
            folder.mkdir()
            record = {"port": ssh.free_port(taken)}
            (folder / "host.json").write_text(json.dumps(record), encoding="utf-8")
        return Host(self, name)

    # --- addresses

    def _write_addresses(self) -> None:
        ports = {host.name: host.port for host in self.hosts()}
        known = self.folder / "known_hosts"
        key = self.image.login_key
        known.write_text(ssh.known_hosts(list(ports.values()), self.image.host_key), "ascii")
        self.ssh_config.write_text(ssh.config(ports, key, known), encoding="utf-8")
        text = json.dumps(self.inventory(), indent=2) + "\n"
        (self.folder / "inventory.json").write_text(text, encoding="utf-8")

    def inventory(self, user: str = "root") -> dict[str, Any]:
        """Return an Ansible inventory: the group ``testbed`` with how to reach every host."""
        key, known = self.image.login_key, self.folder / "known_hosts"
        # The key has a variable of its own; the rest has to go through ssh's arguments.
        pairs = {**ssh.options(key, known)}
        del pairs["IdentityFile"]
        arguments = shlex.join(word for pair in pairs.items() for word in ("-o", "=".join(pair)))
        common = {
            "ansible_user": user,
            "ansible_host": "127.0.0.1",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": arguments,
            "ansible_host_key_checking": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        hosts = {
            host.name: {"ansible_port": host.port, "testbed_disks": host.disks}
            for host in self.hosts()
        }
        return {"testbed": {"hosts": hosts, "vars": common}}


def reap() -> None:
    """Stop the beds whose owner ended without stopping them (it was killed, say)."""
    for path in (cache() / "beds").glob("*.owner"):
        owner = claim(path)
        if owner is not None:
            Bed(path.stem).stop()
            path.unlink()
            os.close(owner)


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise BedError(f"{name!r} is no good name: small letters, digits and dashes, please")
    return name


def _all_at_once(do: Any, hosts: list[Host]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        for done in [pool.submit(do, host) for host in hosts]:
            done.result()
