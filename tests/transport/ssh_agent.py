# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real ssh-agent that holds the only key there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def agent_with(key: Path) -> Iterator[Path]:
    """Run an agent for the block that has learnt the key from a file which is gone; give its socket."""
    folder = Path(tempfile.mkdtemp(prefix="dsg-agent-"))
    socket = folder / "socket"
    command = ["ssh-agent", "-D", "-a", str(socket)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # says where it listens, and listens
        copy = Path(shutil.copy(key, folder / "key"))
        copy.chmod(0o600)
        add(socket, "-q", str(copy))
        copy.unlink()
        yield socket
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


def add(socket: Path, *arguments: str) -> None:
    """Run ssh-add; with `-D` the agent forgets."""
    env = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    subprocess.run(["ssh-add", *arguments], env=env, check=True, stdin=subprocess.DEVNULL)
