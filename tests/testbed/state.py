# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The saved booted guest: its disk as it was when its memory was written.

It is kept as a file of memory beside a disk that nobody writes to any more. Every host gets a disk
of its own on top of that one and reads the same memory, so that many start from one state.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from . import machine, ssh, tools
from .build import Image
from .machine import HARDWARE, SOFTWARE, Accelerator, Machine
from .store import BedError, locked, say

BOOT_SECONDS = 600

# What the guest does before its memory is written. Free pages that are zero cost nothing in the
# file, so they are made zero: taken, touched, and given back.
SETTLE = """
import os, subprocess
subprocess.run(["systemctl", "is-system-running", "--wait"], stdout=subprocess.DEVNULL)
subprocess.run(["zfs", "version"], check=True)
os.sync()
open("/proc/sys/vm/drop_caches", "w").write("3")
memory = dict(line.split(":") for line in open("/proc/meminfo"))
spare = (int(memory["MemAvailable"].split()[0]) - 64 * 1024) * 1024
pages = bytearray(spare)
for at in range(0, spare, 4096):
    pages[at] = 0
"""


class State(NamedTuple):
    """A booted guest. ``seconds``: what booting and saving it took."""

    path: Path
    accelerator: Accelerator
    seconds: int

    @property
    def disk(self) -> Path:
        return self.path / "root.qcow2"

    @property
    def data_disk(self) -> Path:
        return self.path / "data1.qcow2"

    @property
    def memory(self) -> Path:
        return self.path / "memory"


def ensure(image: Image) -> State:
    """Return the saved state that this machine's emulator can load, made if missing."""
    wanted = os.environ.get("DSG_TESTBED_ACCEL", "auto")
    if wanted not in ("auto", "tcg", "kvm"):
        raise BedError(f"DSG_TESTBED_ACCEL is auto, tcg or kvm, and not {wanted!r}")
    folder = image.path / "states"
    given_up = folder / "kvm-failed"
    if wanted == "kvm" or (wanted == "auto" and not given_up.exists()):
        if machine.hardware_works():
            try:
                return _ensure(image, HARDWARE)
            except BedError as error:
                if wanted == "kvm":
                    raise
                say(f"/dev/kvm does not carry a whole guest, so it is emulated ({error})")
                given_up.touch()
        elif wanted == "kvm":
            raise BedError("/dev/kvm does not run a guest on this machine")
    return _ensure(image, SOFTWARE)


def _ensure(image: Image, accelerator: Accelerator) -> State:
    folder = image.path / "states" / _key(image, accelerator)
    record = folder / "state.json"
    if not record.exists():
        with locked(folder.with_suffix(".lock")):
            if not record.exists():
                _make(image, accelerator, folder)
    seconds = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return State(folder, accelerator, seconds)


def _key(image: Image, accelerator: Accelerator) -> str:
    """Memory fits only the emulator, the devices and (in hardware) the processor it came from.

    What the guest did before it was saved, and how large its disks are, counts as well.
    """
    about = [str(tools.qemu_version()), *machine.command(image, accelerator, 0, "")[1:]]
    about = [word.replace(str(image.path), "") for word in about]
    about += [SETTLE, str(machine.DATA_DISK_SIZE)]
    if accelerator is HARDWARE:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        about += sorted(set(re.findall(r"^(?:model name|flags)\s*:.*$", text, re.MULTILINE)))
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]


def _make(image: Image, accelerator: Accelerator, folder: Path) -> None:
    say(f"booting a guest to save its state ({accelerator.name})")
    started = time.time()
    for left in folder.parent.glob(f".new-{folder.name}-*"):  # of a builder that was killed
        Machine(left).kill()
        shutil.rmtree(left)
    new = folder.parent / f".new-{folder.name}-{os.getpid()}"
    new.mkdir()
    guest = Machine(new)
    try:
        machine.overlay(image.disk, new / "root.qcow2")
        machine.empty_disks(new)
        port = ssh.free_port(set())
        guest.start(machine.command(image, accelerator, port, "dsg-testbed-new-state"))
        if not ssh.wait(port, lambda: guest.pid() is not None, BOOT_SECONDS):
            raise BedError(f"the guest did not come up:\n{guest.log_tail(40)}")
        _settle(image, new, port)
        guest.save_memory(new / "memory")
        for name in ("qmp.sock", "process.json", "ssh_config", "known_hosts"):
            (new / name).unlink(missing_ok=True)
        seconds = round(time.time() - started)
        (new / "state.json").write_text(json.dumps({"seconds": seconds}) + "\n", encoding="utf-8")
        new.rename(folder)
    finally:
        guest.kill()
        shutil.rmtree(new, ignore_errors=True)
    say(f"saved after {seconds} s")


def _settle(image: Image, new: Path, port: int) -> None:
    known = new / "known_hosts"
    known.write_text(ssh.known_hosts([port], image.host_key), encoding="ascii")
    config = new / "ssh_config"
    config.write_text(ssh.config({"guest": port}, image.login_key, known), encoding="utf-8")
    words = ssh.command(config, "guest", "root", ["python3", "-"])
    done = subprocess.run(words, input=SETTLE, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise BedError(f"the guest is not what it should be: {done.stderr}")
