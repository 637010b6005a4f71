# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a connection to a host's agent is made of, whatever program or library makes it."""

from __future__ import annotations

import time
from typing import Protocol

from ..errors import DsgError
from . import boot
from .destination import Destination
from .errors import BecomeError, ConnectError, InterpreterError
from .frames import Bytes
from .package import package

_NOISE = 1 << 16


class Channel(Protocol):
    """A started remote command: bytes in and out, and what it said beside."""

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""

    def read_line(self, limit: int) -> bytes:
        """Return a line, or what there is of it at the end."""

    def write(self, *buffers: Bytes) -> None:
        """Write all of the buffers."""

    def offer(self, data: bytes) -> None:
        """Write a few bytes if that needs no waiting, and nobody else is writing; from any thread."""

    def has_input(self) -> bool:
        """Tell whether something has come in, or the channel has ended."""

    def wait_input(self, seconds: float) -> bool:
        """Wait until :meth:`has_input`; tell whether it is so."""

    def said(self) -> str:
        """Return the end of what the command wrote to its standard error."""

    def failure(self, becoming: bool) -> DsgError:
        """Tell why the channel ended before the agent answered; ``becoming`` another user, or later."""

    def close(self) -> None:
        """End the command."""


def begin(channel: Channel, destination: Destination, ahead: bytes) -> None:
    """Send what needs no answer: the first frames ``ahead``, or a password that sudo may ask for."""
    password = _password(destination)
    try:
        if password is None:
            channel.write(boot.opening(package().key, ahead))
        else:
            channel.write(password.encode() + b"\n")
    except BrokenPipeError:
        return  # it ended already; why, is told when it is waited for


def _password(destination: Destination) -> str | None:
    return None if destination.become is None else destination.become.password


def await_agent(channel: Channel, destination: Destination, ahead: bytes) -> None:
    """Wait until the agent is up; send what it still lacks."""
    try:
        _await_agent(channel, destination, ahead)
    except BrokenPipeError:
        raise channel.failure(becoming=False) from None


def _await_agent(channel: Channel, destination: Destination, ahead: bytes) -> None:
    asks = _password(destination) is not None
    becoming = destination.become is not None
    deadline = time.monotonic() + 60 + destination.timeout
    while True:
        said = _next_word(channel, destination, deadline, asks)
        if not said:
            raise channel.failure(becoming)
        word, _unused, rest = said.partition(b" ")
        if word == boot.BEGUN:
            becoming = False
        elif word == boot.WAIT:
            channel.write(boot.GO, boot.opening(package().key, ahead))
        elif word == boot.NEED:
            content = package().content()
            channel.write(len(content).to_bytes(8, "big"), content)
        elif word == boot.READY:
            return
        else:
            raise _refusal(destination, word, rest.decode("ascii", "replace"))


def _next_word(channel: Channel, destination: Destination, deadline: float, asks: bool) -> bytes:
    """Return what the boot code says, nothing at the end; skip what a login shell says before."""
    noise = 0
    while noise < _NOISE:
        _wait(channel, destination, deadline, asks)
        line = channel.read_line(_NOISE)
        if not line:
            return b""
        if line.startswith(boot.MARK):
            return line[len(boot.MARK) :].strip()
        noise += len(line)
    raise ConnectError(
        "the host says a lot, but the agent does not start",
        object=destination.name,
        next_step="See that the login shell of the user prints nothing and runs commands.",
    )


def _wait(channel: Channel, destination: Destination, deadline: float, asks: bool) -> None:
    while not channel.wait_input(0.05 if asks else 1.0):
        if asks and channel.said().count(boot.PROMPT) > 1:
            raise BecomeError(
                "the password to become another user was refused", object=destination.name
            )
        if time.monotonic() > deadline:
            raise ConnectError(
                "the host let us in, but the agent did not start in time",
                object=destination.name,
                details=channel.said().splitlines()[-5:],
            )


def _refusal(destination: Destination, word: bytes, rest: str) -> DsgError:
    if word == boot.NONE:
        wanted = destination.interpreter or "python3"
        return InterpreterError(f"{wanted} was not found", object=destination.name)
    if word == boot.OLD:
        return InterpreterError(
            f"its Python is {rest}, the agent needs 3.9 or newer", object=destination.name
        )
    return ConnectError("the agent's code arrived damaged", object=destination.name)
