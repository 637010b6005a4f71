# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many hosts on one machine: addresses of loopback, and as many OpenSSH servers as they need."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.tools.sshd import Sshd, sshd

_PER_SERVER = 15
"""OpenSSH's server listens on sixteen addresses at most, one of which tells that it is up."""


@contextmanager
def reached(folder: Path, count: int) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield each address with the variables that an inventory needs to come in there."""
    addresses = [f"127.0.1.{number}" for number in range(1, count + 1)]
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        for first in range(0, count, _PER_SERVER):
            part = addresses[first : first + _PER_SERVER]
            server = sshd(folder / f"ssh{first}", addresses=["127.0.0.1", *part])
            found.update(dict.fromkeys(part, _variables(stack.enter_context(server))))
        yield found


def end_shared_connections(base: Path) -> None:
    """End the masters that ControlPersist leaves behind."""
    for socket in base.glob("collections/**/cp/*"):
        end = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "anything"]
        subprocess.run(end, check=False, stderr=subprocess.DEVNULL)


def _variables(server: Sshd) -> dict[str, Any]:
    return {
        "ansible_port": server.port,
        "ansible_user": server.user,
        "ansible_ssh_private_key_file": str(server.key),
        "ansible_ssh_common_args": shlex.join(server.options),
        "ansible_python_interpreter": sys.executable,
    }
