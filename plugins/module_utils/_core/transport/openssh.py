# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The channel that OpenSSH's client makes: the user's configuration, agent and known_hosts count."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

from ..errors import DsgError
from . import boot
from .destination import Become, Destination
from .errors import AuthenticationError, BecomeError, ConnectError, HostKeyError, NoClientError
from .pipe import FdPipe
from .tail import Tail

PROBE_EVERY = 15
"""Seconds of silence after which the host is asked whether it lives."""
PROBES = 4
"""Unanswered questions after which it is taken for gone."""

_LINES = 8
_GRACE = 5.0

_HOST_KEY = ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", "host key is known")
_REFUSED = ("Permission denied", "Too many authentication failures", "No supported authentication")
_SUDO = ("sudo:", "is not in the sudoers file", "a password is required")


def arguments(destination: Destination) -> list[str]:
    """Return the client's argument list, without the remote command.

    What stands first wins: host keys are checked, and nothing is ever asked on a terminal.
    """
    found = [destination.executable, "-T", "-x"]
    for option in (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "NoHostAuthenticationForLocalhost=no",
        "ClearAllForwardings=yes",
        f"ConnectTimeout={max(1, round(destination.timeout))}",
    ):
        found += ["-o", option]
    if destination.port is not None:
        found += ["-p", str(destination.port)]
    if destination.user:
        found += ["-l", destination.user]
    if destination.key_file:
        found += ["-i", destination.key_file]
    # Last, so that whoever set them otherwise has his way.
    every, most = f"ServerAliveInterval={PROBE_EVERY}", f"ServerAliveCountMax={PROBES}"
    # A connection that a configuration shares may have been made without a look at the host key.
    last = ["-o", every, "-o", most, "-o", "ControlPath=none"]
    return [*found, *destination.options, *last, "--", destination.host]


def become_prefix(become: Become | None) -> list[str]:
    """Return what stands before a command to run it as another user."""
    if become is None:
        return []
    asks = ["-n"] if become.password is None else ["-S", "-p", f"{boot.PROMPT}\n"]
    return [become.executable, "-H", *become.flags, *asks, "-u", become.user, "--"]


def remote_command(destination: Destination) -> str:
    """Return the one text that the host's shell gets, every word of it quoted."""
    asks = destination.become is not None and destination.become.password is not None
    words = boot.command(destination.interpreter, wait=asks)
    return shlex.join(["exec", *become_prefix(destination.become), *words])


class OpenSsh:
    """A running ``ssh``. It has a session of its own: a terminal's ^C is for us, who roll back."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._tail = Tail()
        command = [*arguments(destination), remote_command(destination)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._tail.end,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as exc:
            self._tail.given()
            self._tail.close()
            raise _not_started(destination, exc) from exc
        self._tail.given()
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._pipe = FdPipe(
            os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno())
        )
        self._process.stdin.close()
        self._process.stdout.close()
        self.read = self._pipe.read
        self.read_line = self._pipe.read_line
        self.has_input = self._pipe.has_input
        self.said = self._tail.said

    def write(self, *buffers: bytes | bytearray | memoryview) -> None:
        """Write all of the buffers."""
        self._pipe.write(*buffers)

    def offer(self, data: bytes) -> None:
        """Write a few bytes if that needs no waiting; from any thread."""
        self._pipe.offer(data)

    def wait_input(self, seconds: float) -> bool:
        """Wait until something comes in; tell whether it did."""
        return self._pipe.wait_input(seconds)

    def failure(self, becoming: bool) -> DsgError:
        """Tell why the command ended."""
        status = self._end()
        lines = [line for line in self.said().splitlines() if line.strip()][-_LINES:]
        text = "\n".join(lines)
        name = self.destination.name
        if any(mark in text for mark in _HOST_KEY):
            return HostKeyError("its host key is not the known one", object=name, details=lines)
        if status == 255 and any(mark in text for mark in _REFUSED):
            return AuthenticationError("the host refused the user", object=name, details=lines)
        if becoming and status != 255 and any(mark in text for mark in _SUDO):
            return BecomeError("could not become another user there", object=name, details=lines)
        if status == 255:
            return ConnectError("ssh could not reach the host", object=name, details=lines)
        return ConnectError(
            f"the agent ended before it answered (status {status})", object=name, details=lines
        )

    def close(self) -> None:
        """End the command: it sees the end of its input, and has some seconds to go."""
        self._pipe.end_output()
        self._end()
        self._pipe.close()
        self._tail.close()

    def _end(self) -> int:
        deadline = time.monotonic() + _GRACE
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            return self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()


def _not_started(destination: Destination, error: OSError) -> ConnectError:
    """Return why there is no client; one that is named by its path has to be there."""
    absent = isinstance(error, FileNotFoundError) and "/" not in destination.executable
    return (NoClientError if absent else ConnectError)(
        f"{destination.executable} could not be started: {error.strerror}",
        object=destination.name,
        next_step="Correct ansible_ssh_executable, or install OpenSSH's client.",
    )
