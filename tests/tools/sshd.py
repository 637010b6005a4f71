# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real OpenSSH server on loopback for the tests, with keys of its own; ended by process id."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 30.0


class Sshd:
    """A running server, and what a client needs to come in as the present user."""

    def __init__(self, folder: Path, port: int, pid: int) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = port
        self.pid = pid
        self.user = getpass.getuser()
        self.key = folder / "client"
        self.known_hosts = folder / "known_hosts"

    @property
    def options(self) -> list[str]:
        """Return the arguments of an ssh client that take nothing from the user's own files."""
        return [
            *("-F", "none"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", "IdentitiesOnly=yes"),
            *("-o", "IdentityAgent=none"),
        ]

    def command(self, *words: str) -> list[str]:
        """Return the argument list of an ssh client that runs a command there."""
        base = ["ssh", *self.options, "-o", "BatchMode=yes", "-i", str(self.key)]
        return [*base, "-p", str(self.port), "-l", self.user, self.host, *words]


def keygen(path: Path) -> str:
    """Make a key pair without a passphrase; return its public line."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_suffix(".pub").read_text(encoding="ascii")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sshd(
    folder: Path,
    extra: Sequence[str] = (),
    addresses: Sequence[str] = ("127.0.0.1",),
    prefix: Sequence[str] = (),
) -> Iterator[Sshd]:
    """Run a server for the block; ``extra`` are further lines of its configuration.

    ``prefix`` is a command that becomes the server in a world of its own.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    port = free_port()
    host_key = keygen(folder / "host").split()
    authorized = folder / "authorized_keys"
    authorized.write_text(keygen(folder / "client"), encoding="ascii")
    names = ",".join(f"[{address}]:{port}" for address in addresses)
    (folder / "known_hosts").write_text(f"{names} {host_key[0]} {host_key[1]}\n", encoding="ascii")
    lines = [
        *(f"ListenAddress {address}" for address in addresses),
        f"Port {port}",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {authorized}",
        f"PidFile {folder / 'pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 200",
        "MaxSessions 200",
        "Subsystem sftp internal-sftp",
        *extra,
    ]
    config = folder / "sshd_config"
    config.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where Debian's separates privileges
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/sshd"
    with (folder / "log").open("wb") as log:
        command = [*prefix, program, "-D", "-e", "-f", str(config)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        _await(port, process, folder)
        yield Sshd(folder, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text(encoding="utf-8")) from None
            time.sleep(0.02)
