# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One emulator: its command line, its process, its monitor.

A machine lives in a folder of its own: root.qcow2, data1.qcow2 ..., console.log, qemu.log, qmp.sock,
process.json. It outlives the Python process that started it, and is found again by its folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import tools
from .build import Image
from .store import BedError

DATA_DISKS = 8
DATA_DISK_SIZE = 1024**3
MEMORY_MIB = 1024
CPUS = 2 if (os.cpu_count() or 1) >= 6 else 1
"""Emulated processors that wait for each other's turn spin: two cost a fifth more than one where few are real."""
MAC = "52:54:00:d5:60:01"
# panic=10: a kernel that died starts again instead of hanging until a test's time is over.
# tsc=reliable, no_timer_check: on a busy machine the emulated timers look broken, and are not.
KERNEL_ARGUMENTS = (
    "root=/dev/vda ro console=ttyS0 quiet net.ifnames=0 8250.nr_uarts=1 tsc=reliable"
    " no_timer_check mitigations=off audit=0 panic=10 systemd.show_status=false"
)


class Accelerator(NamedTuple):
    """How the guest's instructions are run: ``name`` for people, ``words`` for the emulator."""

    name: str
    words: tuple[str, ...]


# Every part that is not there saves time at boot: five levels of page tables, nested virtualisation,
# a SATA controller.
SOFTWARE = Accelerator("tcg", ("-accel", "tcg,thread=multi", "-cpu", "max,la57=off,svm=off"))
# Kept until this process ends, so that Python does not complain about children left behind.
_children: list[subprocess.Popen[bytes]] = []
HARDWARE = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host,migratable=on"))


def disk_names() -> list[str]:
    """Return the names of all disks, the root disk first."""
    return ["root"] + [f"data{number}" for number in range(1, DATA_DISKS + 1)]


def hardware_works() -> bool:
    """Whether /dev/kvm runs a guest's first instructions. That it is there says little."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="dsg-testbed-kvm-") as folder:
        said = Path(folder) / "bios"
        argv = [tools.QEMU, *HARDWARE.words, "-machine", "q35", "-m", "64", "-nodefaults"]
        argv += ["-display", "none", "-chardev", f"file,id=bios,path={said}"]
        argv += ["-device", "isa-debugcon,iobase=0x402,chardev=bios"]
        null = subprocess.DEVNULL
        env = {**os.environ, "PATH": tools.SYSTEM_PATH}
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=null, stderr=null)
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and process.poll() is None:
                # The BIOS got through its own start: processor, interrupts and timers work.
                if said.exists() and b"Booting from" in said.read_bytes():
                    return True
                time.sleep(0.1)
            return False
        finally:
            process.kill()
            process.wait()


def command(image: Image, accelerator: Accelerator, port: int, label: str) -> list[str]:
    """Return the emulator's command line; files are relative to the machine's folder."""
    argv = [tools.QEMU, "-name", label, *accelerator.words, "-machine", "q35,sata=off,smbus=off"]
    argv += ["-smp", str(CPUS), "-m", str(MEMORY_MIB)]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-rtc", "base=utc"]
    argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    argv += ["-append", KERNEL_ARGUMENTS]
    argv += ["-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"]
    argv += ["-qmp", "unix:qmp.sock,server=on,wait=off"]
    # A new id with every start tells the guest's kernel to renew its random numbers.
    argv += ["-device", "vmgenid,guid=auto"]
    argv += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"]
    argv += ["-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="]
    for name in disk_names():
        argv += ["-drive", f"file={name}.qcow2,id={name},if=none,format=qcow2,cache=writeback"]
        argv += ["-device", f"virtio-blk-pci,drive={name},serial=dsg-{name}"]
    return argv


def _first() -> list[str]:
    """Have the processor before others, where that is allowed.

    The tests on virtual hosts are one chain, which decides when a run of all tests ends.
    """
    return ["nice", "-n", "-10"] if os.geteuid() == 0 else []


class Machine:
    """The emulator of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # --- process

    def start(self, argv: list[str]) -> None:
        """Start the emulator and wait until its monitor answers. Raises BedError."""
        if self.pid() is not None:
            raise BedError(f"{self.folder.name} is running already")
        (self.folder / "qmp.sock").unlink(missing_ok=True)
        with open(self.folder / "qemu.log", "ab") as log:
            process = subprocess.Popen(
                [*_first(), *argv],
                cwd=self.folder,
                env={**os.environ, "PATH": tools.SYSTEM_PATH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is not meant for the guest
            )
        record = {"pid": process.pid, "started": _start_time(process.pid)}
        (self.folder / "process.json").write_text(json.dumps(record), encoding="utf-8")
        _children.append(process)
        deadline = time.monotonic() + 30
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise BedError(f"the emulator did not start:\n{self.log_tail()}")
            time.sleep(0.01)

    def pid(self) -> int | None:
        """Return the emulator's process id, None when it does not run."""
        try:
            record = json.loads((self.folder / "process.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        pid = int(record["pid"])
        _reap(pid)
        # A process id may be used again; together with its start time it names one process only.
        return pid if record["started"] and _start_time(pid) == record["started"] else None

    def kill(self) -> None:
        """Pull the plug: the emulator ends at once, nothing is flushed. Fine if it is off."""
        pid = self.pid()
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.pid() == pid:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 30)
        finally:
            os.close(handle)
        _reap(pid)

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of what the emulator and the guest's console said."""
        said = []
        for name in ("qemu.log", "console.log"):
            try:
                text = (self.folder / name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            said += [f"--- {name}", *text.splitlines()[-lines:]]
        return "\n".join(said)

    # --- monitor

    def _answers(self) -> bool:
        if not (self.folder / "qmp.sock").exists():
            return False
        try:
            self.ask("query-status")
        except BedError:
            return False
        return True

    def ask(self, execute: str, **arguments: Any) -> Any:
        """Send one monitor command and return its answer. Raises BedError."""
        # A socket's path has at most 107 bytes, a folder may have more: go through a descriptor.
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(120)
                link.connect(f"/proc/self/fd/{folder}/qmp.sock")
                with link.makefile("rw", encoding="utf-8") as lines:
                    lines.readline()  # its greeting
                    _exchange(lines, "qmp_capabilities", {})
                    return _exchange(lines, execute, arguments)
        except OSError as error:
            said = f"the emulator's monitor does not answer {execute}: {error}"
            raise BedError(f"{said}\n{self.log_tail()}") from error
        finally:
            os.close(folder)

    def human(self, line: str) -> str:
        """Run a command of the human monitor, for what the other one lacks. Raises BedError."""
        said = str(self.ask("human-monitor-command", **{"command-line": line})).strip()
        if said.startswith("Error"):
            raise BedError(f"{line}: {said}")
        return said

    def save_memory(self, path: Path) -> None:
        """Stop the guest and write its memory and devices; the disks belong to it from then on."""
        self.ask("stop")
        self.ask("migrate", uri=f"file:{path}")
        self._wait_for("query-migrate", "completed", ("failed", "cancelled"))
        self.ask("quit")
        pid = self.pid()
        deadline = time.monotonic() + 30
        while pid is not None and time.monotonic() < deadline:
            time.sleep(0.02)
            pid = self.pid()
        self.kill()

    def resume(self) -> None:
        """Let a guest run whose memory was given with -incoming or -loadvm."""
        self._wait_for("query-status", "paused", ("internal-error", "guest-panicked"))
        self.ask("cont")

    def _wait_for(self, question: str, wanted: str, bad: tuple[str, ...]) -> None:
        deadline = time.monotonic() + 120
        while True:
            status = self.ask(question).get("status")
            if status == wanted:
                return
            if status in bad or time.monotonic() > deadline:
                raise BedError(f"{question}: {status} instead of {wanted}\n{self.log_tail()}")
            time.sleep(0.02)


def _exchange(lines: Any, execute: str, arguments: dict[str, Any]) -> Any:
    lines.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
    lines.flush()
    while True:
        line = lines.readline()
        if not line:
            if execute == "quit":
                return None
            raise ConnectionError("it closed the connection")
        answer = json.loads(line)
        if "error" in answer:
            raise BedError(f"{execute}: {answer['error'].get('desc')}")
        if "return" in answer:
            return answer["return"]


def _start_time(pid: int) -> str:
    """Return when a process started, in the kernel's own ticks; empty when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # another process started it


def empty_disks(folder: Path) -> None:
    """Make the empty data disks of a machine."""
    first, *others = disk_names()[1:]
    size = str(DATA_DISK_SIZE)
    tools.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / f"{first}.qcow2", size])
    for name in others:
        shutil.copyfile(folder / f"{first}.qcow2", folder / f"{name}.qcow2")


def overlay(backing: Path, path: Path) -> None:
    """Make a disk that begins as ``backing`` and keeps what is written to it to itself."""
    path.unlink(missing_ok=True)
    relative = os.path.relpath(backing, path.parent)
    tools.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", relative, path])
