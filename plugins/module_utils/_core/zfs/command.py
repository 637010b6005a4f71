# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of OpenZFS, run as argument lists with fixed binaries and environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from ..errors import DsgError

_DIRECTORIES = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin")
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "PATH": ":".join(_DIRECTORIES)}


class ZfsError(DsgError):
    """A command of OpenZFS failed, or what it reports cannot be true."""

    code = "DSG-ZFS"
    next_step = "Remove the cause and run again; what was begun is rolled back or finished then."


class CommandFailed(ZfsError):
    """A command ended with an error; ``output`` is what it said."""

    def __init__(self, argv: tuple[str, ...], status: int, output: str) -> None:
        super().__init__(
            f"{' '.join(argv)} failed with status {status}",
            object=argv[-1],
            details=output.splitlines()[:20],
        )
        self.output = output


class Runner:
    """Runs commands and counts them: each start is a measurable cost of a transaction.

    ``kept`` are descriptors that commands inherit: a lock is held until the last of them has ended,
    be the process that took it dead by then.
    """

    def __init__(self) -> None:
        self.started = 0
        self.kept: tuple[int, ...] = ()

    def run(self, name: str, *arguments: str) -> str:
        """Run ``zfs``, ``zpool`` or ``mount``; return what it printed.

        Raises :class:`CommandFailed`. A command that is not installed is an error that says so.
        """
        argv = (find_binary(name), *arguments)
        self.started += 1
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ENVIRONMENT,
            pass_fds=self.kept,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "replace")
            raise CommandFailed(argv, done.returncode, said)
        return done.stdout.decode("utf-8", "surrogateescape")

    def zfs(self, *arguments: str) -> str:
        """Run ``zfs``."""
        return self.run("zfs", *arguments)

    def version(self) -> tuple[int, int]:
        """Return the first two numbers of the version that the kernel runs, (0, 0) if none does."""
        try:
            with open("/sys/module/zfs/version", encoding="ascii") as stream:
                first, second = stream.read().split(".")[:2]
            return int(first), int(second)
        except (OSError, ValueError):
            return 0, 0


def find_binary(name: str) -> str:
    """Return the absolute path of a program; raises :class:`ZfsError` where there is none."""
    for directory in _DIRECTORIES:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    raise ZfsError(
        f"{name} is not installed on this host (looked in {', '.join(_DIRECTORIES)})",
        object=name,
        next_step="Install OpenZFS (on Debian: zfsutils-linux and zfs-dkms from contrib).",
    )
