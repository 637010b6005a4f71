# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The channel for passwords, and where there is no OpenSSH client: by the package paramiko."""

from __future__ import annotations

import importlib
import os
import socket
import threading
import time
from typing import Any

from ..errors import ArgumentError, DsgError
from .destination import Destination
from .errors import AuthenticationError, BecomeError, ConnectError, HostKeyError
from .frames import Bytes
from .openssh import PROBE_EVERY, PROBES, remote_command
from .tail import KEPT

_CHUNK = 1 << 18
_WINDOW = 1 << 24
"""What may come in beyond what was taken, in bytes."""
_SYSTEM_KEYS = "/etc/ssh/ssh_known_hosts"


class ParamikoChannel:
    """A remote command by paramiko; host keys come from the user's and the system's known_hosts.

    OpenSSH's configuration is not read.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        _refuse_options(destination)
        self._client, self._channel = _started(destination)
        self._said = bytearray()
        self._buffer = b""
        self._writing = threading.Lock()

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""
        parts = []
        while size:
            if not self._buffer and not self._fill():
                break
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_line(self, limit: int) -> bytes:
        """Return a line, or what there is of it at the end."""
        while b"\n" not in self._buffer and len(self._buffer) < limit and self._fill():
            continue
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def _fill(self) -> bool:
        data = bytes(self._channel.recv(_CHUNK))
        self._buffer += data
        return bool(data)

    def write(self, *buffers: Bytes) -> None:
        """Write all of the buffers."""
        try:
            with self._writing:
                for buffer in buffers:
                    self._channel.sendall(bytes(buffer))
        except OSError as exc:
            raise BrokenPipeError from exc

    def offer(self, data: bytes) -> None:
        """Write a few bytes if that needs no waiting; from any thread."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if self._channel.send_ready():
                self._channel.sendall(data)
        except OSError:  # whoever writes or reads next is told
            return
        finally:
            self._writing.release()

    def has_input(self) -> bool:
        """Tell whether something has come in, or the channel has ended."""
        return bool(self._buffer or self._channel.recv_ready() or self._channel.closed)

    def wait_input(self, seconds: float) -> bool:
        """Wait until something comes in; tell whether it did."""
        deadline = time.monotonic() + seconds
        while not (self.has_input() or self._channel.eof_received):
            self._listen()  # nothing else comes in where that fills the window
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def said(self) -> str:
        """Return the end of what the command wrote to its standard error."""
        self._listen()
        return self._said.decode("utf-8", "replace")

    def _listen(self) -> None:
        """Take in what was said; a host that says it without end is not waited for."""
        for _unused in range(_WINDOW // _CHUNK):
            if not self._channel.recv_stderr_ready():
                return
            self._said += self._channel.recv_stderr(_CHUNK)
            del self._said[:-KEPT]

    def failure(self, becoming: bool) -> DsgError:
        """Tell why the channel ended before the agent answered."""
        lines = [line for line in self.said().splitlines() if line.strip()][-8:]
        name = self.destination.name
        if becoming and any("sudo" in line for line in lines):
            return BecomeError("could not become another user there", object=name, details=lines)
        return ConnectError("the agent ended before it answered", object=name, details=lines)

    def close(self) -> None:
        """End the command."""
        self._channel.close()
        self._client.close()


def _refuse_options(destination: Destination) -> None:
    if not destination.options:
        return
    if destination.password is None:
        message = (
            f"there is no {destination.executable} here, and only it understands its arguments"
        )
        way = "Install OpenSSH's client"
    else:
        message = "arguments for OpenSSH's client do not go with a password, which needs paramiko"
        way = "Use a key"
    raise ArgumentError(
        message,
        object=" ".join(destination.options),
        next_step=f"{way}, or leave ansible_ssh_common_args and its like empty.",
    )


def _started(destination: Destination) -> tuple[Any, Any]:
    """Return a client that has logged in, and its channel on which the agent's command was started."""
    paramiko = _imported(destination)
    client = paramiko.SSHClient()
    try:
        _know_hosts(client)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        _connect(client, destination)
        return client, _session(client, remote_command(destination))
    except BaseException as exc:
        authenticating = _is_authenticating(client)
        client.close()
        error = _refusal(paramiko, exc, destination.name, authenticating)
        if error is None:
            raise
        raise error from exc


def _session(client: Any, command: str) -> Any:
    transport = client.get_transport()
    _notice_silence(transport)
    channel = transport.open_session(window_size=_WINDOW)
    channel.exec_command(command)
    return channel


def _notice_silence(transport: Any) -> None:
    """Have the connection end when the host is silent for as long as OpenSSH's client would wait.

    paramiko's signs of life ask for no answer: it is the kernel that misses their acknowledgement.
    """
    transport.set_keepalive(PROBE_EVERY)
    patience = PROBE_EVERY * PROBES * 1000
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)


def _imported(destination: Destination) -> Any:
    try:
        return importlib.import_module("paramiko")
    except ImportError:
        pass
    if destination.password is None:
        message = f"neither {destination.executable} nor the Python package paramiko is here"
        step = "Install OpenSSH's client (or paramiko beside Ansible)."
    else:
        message = "a password for the connection needs the Python package paramiko here"
        step = "Install paramiko beside Ansible, or use a key."
    raise ArgumentError(message, object=destination.name, next_step=step)


def _know_hosts(client: Any) -> None:
    client.load_system_host_keys()
    if os.path.exists(_SYSTEM_KEYS):
        client.load_system_host_keys(_SYSTEM_KEYS)


def _connect(client: Any, destination: Destination) -> None:
    """Log in as OpenSSH's client would: with the key, else the user's own, and the agent's."""
    by_key = destination.password is None
    client.connect(
        destination.host,
        port=destination.port or 22,
        username=destination.user or None,
        password=destination.password,
        key_filename=destination.key_file or None,
        timeout=destination.timeout,
        banner_timeout=destination.timeout,
        auth_timeout=destination.timeout * 3,
        allow_agent=by_key,
        look_for_keys=by_key and not destination.key_file,
    )


def _is_authenticating(client: Any) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active() and not transport.is_authenticated()


def _refusal(
    paramiko: Any, exc: BaseException, name: str, authenticating: bool
) -> ConnectError | None:
    """Return our error for one of paramiko's; None where it is none."""
    if isinstance(exc, paramiko.BadHostKeyException):
        return HostKeyError("its host key is not the known one", object=name)
    if isinstance(exc, paramiko.hostkeys.InvalidHostKey):  # a mark, such as @revoked
        return HostKeyError(
            "known_hosts has a line that paramiko cannot read", object=name, details=[exc.line]
        )
    if isinstance(exc, paramiko.SSHException) and "not found in known_hosts" in str(exc):
        return HostKeyError("its host key is not known", object=name)
    if isinstance(exc, paramiko.ChannelException):
        return ConnectError(f"the host lets us in, but starts nothing: {exc.text}", object=name)
    if isinstance(exc, paramiko.SSHException):
        # What it says of a key that was refused may be that of another kind which it tried, too.
        if authenticating or isinstance(exc, paramiko.AuthenticationException):
            return AuthenticationError("the host refused the user", object=name, details=[str(exc)])
        return ConnectError(f"the connection failed: {exc}", object=name)
    if isinstance(exc, OSError) and authenticating and exc.filename:
        return AuthenticationError(f"the key cannot be read: {exc}", object=name)
    if isinstance(exc, (OSError, EOFError)):
        return ConnectError(
            f"the host cannot be reached: {exc or 'it ended the connection'}", object=name
        )
    return None
