# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The remote half: serves one repository of its host over standard input and output.

It ends with its channel. A transaction that is not prepared then is undone; one that is stays, for
recovery to decide, which finds no commit of it and undoes it, or for the fleet that holds it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from json import dumps
from typing import Any

from ..errors import ArgumentError
from . import changing, frames, looking
from .frames import CALL, FAILURE, pack
from .pipe import FdPipe, Silence

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_ENDED = (BrokenPipeError, ConnectionResetError, EOFError, frames.ProtocolError)

Verb = Callable[..., Any]
VERBS = frozenset((*looking.VERBS, *changing.VERBS))


def main(early: bytes) -> int:
    """Serve on this process's standard streams until the channel ends."""
    output = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not come between frames
    pipe = FdPipe(os.dup(0), output, early)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in _SIGNALS:
        signal.signal(number, _leave)
    agent = Agent(pipe)
    try:
        agent.serve()
        return 0
    except Silence:
        os.write(2, b"the agent heard nothing from its client for too long, and gave up\n")
        return 1
    except _ENDED:
        return 1  # nobody is there to be told
    finally:
        agent.close()


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


class Agent(looking.Looking, changing.Changing):
    """Carries out calls on one repository, in the order in which they come."""

    def serve(self) -> None:
        """Answer until the channel ends."""
        while True:
            frame = frames.read_frame(self._pipe, frames.MAX_CALL)
            if frame is None:
                return
            if frame.kind != CALL:
                raise frames.ProtocolError(f"a frame of kind {frame.kind!r} instead of a call")
            call = frames.parsed(frame.payload)
            self._streams = call.pop("streams", 0)
            try:
                answer = self._verb(call.pop("do"))(**call)
                frames.send_answer(self._pipe, dumps(answer).encode())
            except _ENDED:
                raise
            except Exception as exc:
                self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        """Say what went wrong at once, then drop what is still on its way for this call."""
        from .. import error_codec  # rarely needed, and it imports a lot

        self._pipe.write(pack(FAILURE, error_codec.encode(exc)))
        while self._streams:
            self._streams -= 1
            frames.drain(self._pipe)

    def close(self) -> None:
        """Undo what is not prepared, and let go."""
        transaction, self._transaction = self._transaction, None
        try:
            if transaction is not None and self._undo:
                transaction.rollback()
        finally:
            self.unlock()

    def _verb(self, name: str) -> Verb:
        verb: Verb | None = getattr(self, name, None) if name in VERBS else None
        if verb is None:
            raise ArgumentError(f"the agent has no verb {name!r}")
        return verb
