# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a repository is reached: options of a connection, checked when they are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ArgumentError

LOCAL, SSH = "local", "ssh"
TYPES = (LOCAL, SSH)
BECOME_METHODS = ("sudo",)

_HOST = re.compile(r"[A-Za-z0-9_\[\]:.%-]{1,255}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$-]{0,254}")


class Become(NamedTuple):
    """Whom the agent runs as: ``password`` None never asks for one."""

    user: str = "root"
    method: str = "sudo"
    password: str | None = None
    flags: Sequence[str] = ()
    executable: str = "sudo"


class Destination(NamedTuple):
    """One storage host, as OpenSSH's client names it.

    ``label`` is how the working copy and messages call it (the inventory's name). ``options`` are
    further arguments of the ssh client. ``timeout`` is in seconds. ``interpreter`` '' takes the
    host's python3. ``password`` needs the Python package paramiko on this side, and so does everything
    where there is no ``ssh``; ``options`` go with neither.
    """

    host: str
    label: str = ""
    port: int | None = None
    user: str = ""
    key_file: str = ""
    options: Sequence[str] = ()
    executable: str = "ssh"
    interpreter: str = ""
    timeout: float = 10.0
    password: str | None = None
    become: Become | None = None

    @property
    def name(self) -> str:
        """Return what records and messages call the host."""
        return self.label or self.host

    def check(self) -> None:
        """Refuse what could be taken for something else, or is not supported."""
        if not _HOST.fullmatch(self.host) or self.host.startswith("-"):
            raise ArgumentError("the name or address of the host is malformed", object=self.host)
        if self.user and not _USER.fullmatch(self.user):
            raise ArgumentError("the user of the connection is malformed", object=self.user)
        if self.port is not None and not 0 < self.port < 65536:
            raise ArgumentError("the port must be between 1 and 65535", object=str(self.port))
        if self.interpreter.startswith("-") or "\0" in self.interpreter:
            raise ArgumentError("the interpreter's path is malformed", object=self.interpreter)
        if self.timeout <= 0:
            raise ArgumentError("the timeout of the connection must be positive")
        if self.become is not None:
            _check_become(self.become)


def _check_become(become: Become) -> None:
    if become.method not in BECOME_METHODS:
        raise ArgumentError(
            f"become method {become.method!r} is not supported by the ssh transport: supported is "
            f"{', '.join(BECOME_METHODS)}"
        )
    if not _USER.fullmatch(become.user):
        raise ArgumentError("the user to become is malformed", object=become.user)
