# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenSSH's own client towards the guests: its configuration, one command, waiting for a guest."""

from __future__ import annotations

import random
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .store import BedError

# Ports below the range that the kernel hands out by itself: nobody takes one by chance while its
# host is off.
PORTS = range(22200, 32000)


def free_port(taken: set[int]) -> int:
    """Return a loopback port that nobody listens on and that is not in ``taken``."""
    # In random order: two test beds that start at the same time do not find the same one.
    for port in random.sample(PORTS, len(PORTS)):
        if port in taken:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BedError("no loopback port is free")


def options(key: Path, known_hosts: Path) -> dict[str, str]:
    """Return OpenSSH's options for every guest: only this key, only this host key."""
    return {
        "IdentityFile": f'"{key}"',
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlgorithms": "ssh-ed25519",
        "PasswordAuthentication": "no",
        "ConnectTimeout": "30",
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }


def config(hosts: dict[str, int], key: Path, known_hosts: Path) -> str:
    """Return an ssh_config for hosts by name; ``hosts`` maps a name to its port."""
    parts = [
        f"Host {name}\n    HostName 127.0.0.1\n    Port {port}\n    User root\n"
        for name, port in sorted(hosts.items())
    ]
    parts.append("Host *\n")
    parts += [f"    {name} {value}\n" for name, value in options(key, known_hosts).items()]
    return "".join(parts)


def known_hosts(ports: list[int], host_key: str) -> str:
    """Return the lines of a known_hosts file."""
    return "".join(f"[127.0.0.1]:{port} {host_key}\n" for port in ports)


def command(
    config_file: Path, name: str, user: str, argv: list[str], more: Sequence[str] = ()
) -> list[str]:
    """Return the words that run ``argv`` on a guest exactly as given: no shell expands them."""
    words = ["ssh", "-F", str(config_file), "-l", user, *more, name]
    return words + ["--", shlex.join(argv)] if argv else words


def sharing(sockets: Path) -> list[str]:
    """Return the options that let commands share one connection.

    A new one costs an emulated guest about a second of work. The process that holds it ends with
    the connection, so with the guest, or a minute after its last command.
    """
    pairs = ("ControlMaster=auto", "ControlPersist=60", f"ControlPath={sockets}/%C")
    return [word for pair in pairs for word in ("-o", pair)]


def hang_up(config_file: Path, sockets: Path, name: str, users: tuple[str, ...]) -> None:
    """End the shared connections to a guest; fine if there are none."""
    for user in users:
        words = ["ssh", "-F", str(config_file), "-l", user, *sharing(sockets), "-O", "exit", name]
        subprocess.run(words, capture_output=True, check=False)


def answers(port: int) -> bool:
    """Whether a guest's sshd greets; the emulator alone takes connections for a guest that is off."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.settimeout(2)
            return link.recv(4) == b"SSH-"
    except OSError:
        return False


def wait(port: int, alive: Callable[[], bool], seconds: float) -> bool:
    """Wait until sshd greets; False when the time is over or ``alive`` says there is no hope."""
    deadline = time.monotonic() + seconds
    while not answers(port):
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(0.2)
    return True


def wake(words: list[str]) -> None:
    """Run testbed-wake (``words``) and give it the hour at the moment it is ready to set it."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        if process.stdout.readline() == "ready\n":
            process.stdin.write(f"{time.time():.6f}\n")
            process.stdin.flush()
        process.stdin.close()
        said = process.stderr.read()
    if process.returncode != 0:
        raise BedError(f"the restored guest cannot be woken: {said.strip()}")
