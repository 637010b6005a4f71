# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to a host's agent and their answers, in order; several may be under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from json import dumps
from typing import Any

from .. import error_codec
from ..errors import DsgError, from_oserror
from . import channel as channels
from . import frames
from .channel import Channel
from .destination import Destination
from .errors import ConnectionLost
from .frames import CALL, pack
from .shape import fits, is_failure

Connect = Callable[[Destination], Channel]


class AgentFault(RuntimeError):
    """The agent met what it did not expect: a fault of the program, with its traceback."""


class Session:
    """One channel to one agent. ``lost`` tells that it ended without having been closed."""

    def __init__(self, destination: Destination, connect: Connect, ahead: bytes = b"") -> None:
        self.destination = destination
        self.lost = False
        self._started = False
        self._ahead = ahead
        self.channel = connect(destination)
        channels.begin(self.channel, destination, ahead)

    def start(self) -> None:
        """Wait until the agent is there; it was called already."""
        if self._started:
            return
        try:
            channels.await_agent(self.channel, self.destination, self._ahead)
        except BaseException:
            self.lost = True
            raise
        self._started = True

    def call(self, verb: str, *streams: Iterable[bytes], **arguments: object) -> Any:
        """Call a verb and return its answer."""
        self.post(verb, *streams, **arguments)
        return self.answer()

    def told(self, wanted: Any, verb: str, **arguments: object) -> Any:
        """Call a verb and return its answer, which has the shape that is ``wanted``."""
        answer = self.call(verb, **arguments)
        with self.on_line():
            if not fits(answer, wanted):
                raise frames.ProtocolError(f"an answer to {verb!r} that is none")
        return answer

    def post(self, verb: str, *streams: Iterable[bytes], **arguments: object) -> None:
        """Call a verb; the answer is to be read later."""
        self.announce(verb, len(streams), streams, arguments)

    def announce(
        self,
        verb: str,
        count: int,
        streams: Iterable[Iterable[bytes]],
        arguments: Mapping[str, object],
    ) -> None:
        """Call a verb that takes ``count`` streams, and send the first ones of them."""
        self.start()
        with self.on_line():
            self.channel.write(encode_call(verb, count, arguments))
            for stream in streams:
                frames.send_stream(self.channel, stream)

    def text(self) -> bytes:
        """Return a text that comes before the answer."""
        with self.on_line():
            return frames.whole(frames.receive_stream(self.channel))

    def files(self) -> Iterator[bytes]:
        """Yield contents of files that come before the answer."""
        with self.on_line():
            yield from frames.raw_stream(self.channel)

    def answer(self) -> Any:
        """Return the next answer, or raise the error that it is."""
        self.start()
        with self.on_line():
            return frames.parsed(frames.read_answer(self.channel))

    def on_line(self) -> _OnLine:
        """Return what turns a channel that ends within the block into :class:`ConnectionLost`.

        Whoever is interrupted in the middle of a frame cannot go on with the next: the connection is
        as good as lost then, too.
        """
        return _OnLine(self)

    def close(self) -> None:
        """End the channel."""
        self.channel.close()

    def failed(self, payload: bytes) -> Exception:
        """Return the error that the agent told of, with the host's name."""
        if not _is_failure(payload):
            return self.went("it sent what is not understood: an error that is none")
        error = error_codec.decode(payload, AgentFault)
        if isinstance(error, OSError):
            error = from_oserror(error, "the storage host's part")
        if isinstance(error, DsgError):
            error.host = error.host or self.destination.name
        return error

    def went(self, reason: str = "") -> ConnectionLost:
        """Return the error that the connection is lost; ``reason`` is what else is known of it."""
        self.lost = True
        lines = [line for line in self.channel.said().splitlines() if line.strip()][-5:]
        return ConnectionLost(
            "the connection to the host was lost",
            object=self.destination.name,
            details=[*lines, *([reason] if reason else [])],
        )


class _OnLine:
    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        if self._session.lost:
            raise self._session.went()

    def __exit__(self, kind: object, value: BaseException | None, trace: object) -> None:
        if isinstance(value, frames.Failed):
            raise self._session.failed(value.payload) from None
        if isinstance(value, frames.ProtocolError):
            raise self._session.went(f"it sent what is not understood: {value}") from value
        if isinstance(value, (EOFError, BrokenPipeError, ConnectionResetError)):
            raise self._session.went() from value
        if not (value is None or isinstance(value, (DsgError, frames.Stopped))):
            self._session.lost = True


def _is_failure(payload: bytes) -> bool:
    try:
        return is_failure(frames.parsed(payload))
    except frames.ProtocolError:
        return False


def encode_call(verb: str, streams: int, arguments: Mapping[str, object]) -> bytes:
    """Return the frame that calls a verb."""
    fields = {"do": verb, **arguments}
    if streams:
        fields["streams"] = streams
    return pack(CALL, dumps(fields).encode())
