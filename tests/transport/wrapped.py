# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something of ours between the core and its channels: to count, or to strike at a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from _core.transport import connect as connecting
from _core.transport.channel import Channel
from _core.transport.destination import Destination


class Wrapped:
    """A channel that is what it stands before, but for what a subclass does."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


@contextmanager
def wrapped(wrap: Callable[[Channel], Any]) -> Iterator[None]:
    """Wrap every channel that is made in the block."""
    real = connecting.connect

    def connect(destination: Destination) -> Channel:
        channel: Channel = wrap(real(destination))
        return channel

    connecting.connect = connect
    try:
        yield
    finally:
        connecting.connect = real
