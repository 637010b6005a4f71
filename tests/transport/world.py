# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage host with users of its own: sshd where /etc/passwd and the like are other files.

Only the server and what it starts see them, by a mount namespace; nothing of this machine changes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _core.transport.destination import Become, Destination

from tests.tools.sshd import Sshd, sshd
from tests.transport.remote_site import SshSite, destination_of

PASSWORD = "correct horse"
_HASH = "$6$dsgstoragetests$ac6H41RD1oQoQU61/sJJSF34cMzNF2zzz4wFJdwF08iQqfYovCS0tUXKsLaFckkuS8HOs//283xebBBlBylc30"
FIRST_UID = 61000

SHELLS = {
    "plain": "/bin/sh",
    "tess": "/usr/bin/tcsh",
    "fiona": "/usr/bin/fish",
    "noisy": "{folder}/noisy-shell",
    "shouting": "{folder}/shouting-shell",
    "mute": "/usr/sbin/nologin",
    "readonly": "/bin/sh",  # a home that cannot be written to
    "full": "/bin/sh",  # a home without any space
    "trapped": "/bin/sh",  # somebody else's code waits in the cache
    "nopython": "/bin/sh",
    "freely": "/bin/sh",  # sudo without a password
    "asked": "/bin/sh",  # sudo with a password
    "never": "/bin/sh",  # no rule at all
    "sessionless": "/bin/sh",  # may log in, and then start nothing
}
_SUDOERS = """\
Defaults env_reset, use_pty, timestamp_timeout=0, logfile={folder}/sudo.log
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
freely ALL=(root) NOPASSWD: ALL
asked ALL=(root) ALL
"""
_NOISE = """\
#!/bin/sh
echo "Welcome to the storage host!"
printf 'no end of line, and DSG1 in the middle: '
echo "to standard error" >&2
exec /bin/sh "$@"
"""
_SHOUT = """\
#!/bin/sh
head -c 100000 /dev/zero | tr '\\0' x
exec /bin/sh "$@"
"""
_ENTER = """\
folder=$1; shift
for name in passwd shadow group sudoers; do mount --bind "$folder/etc/$name" "/etc/$name"; done
mount -t tmpfs -o size=32k,mode=0700,uid=$1 none "$folder/home/full"; shift
exec "$@"
"""


class World:
    """The running server, and what is in it."""

    def __init__(self, folder: Path, server: Sshd) -> None:
        self.folder = folder
        self.server = server

    def home(self, user: str) -> Path:
        """Return a user's home directory (the real one's of `full` is only there)."""
        return self.folder / "home" / user

    def destination(self, user: str, become: Become | None = None, **fields: Any) -> Destination:
        """Return how to come in as that user."""
        return destination_of(self.server, user=user, become=become, **fields)

    def site(self, user: str, place: Path, **fields: Any) -> SshSite:
        """Return a repository that belongs to that user; with ``become`` to root."""
        site = SshSite(str(place), self.destination(user, **fields))
        uid = 0 if fields.get("become") else uid_of(user)
        for directory, _unused, names in os.walk(site.base):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                os.chown(path, uid, uid)
        return site

    def sudo_log(self) -> str:
        """Return what sudo has recorded."""
        log = self.folder / "sudo.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""


def uid_of(user: str) -> int:
    return FIRST_UID + list(SHELLS).index(user)


@contextmanager
def world() -> Iterator[World]:
    """Run the server for the block."""
    assert os.geteuid() == 0, "these tests make users in a namespace: run them as root"
    folder = Path(tempfile.mkdtemp(prefix="dsg-world-"))
    try:
        folder.chmod(0o755)
        _furnish(folder)
        extra = [
            "Match User nopython",
            f"SetEnv PATH={folder}/bin",
            "Match User plain,asked",
            "PasswordAuthentication yes",
            "Match User sessionless",
            "MaxSessions 0",
        ]
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _ENTER, "sh"]
        prefix = [*enter, str(folder), str(uid_of("full"))]
        (folder / "ssh").mkdir(mode=0o755)
        with sshd(folder / "ssh", extra, prefix=prefix) as server:
            yield World(folder, server)
    finally:
        shutil.rmtree(folder)


def _furnish(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "home").mkdir()
    for name in ("passwd", "shadow", "group"):
        shutil.copy(f"/etc/{name}", folder / "etc" / name)
    for user, shell in SHELLS.items():
        uid, home = uid_of(user), folder / "home" / user
        home.mkdir(mode=0o700)
        if user != "readonly":
            os.chown(home, uid, uid)
        else:
            home.chmod(0o755)
        _add(folder, "passwd", f"{user}:x:{uid}:{uid}::{home}:{shell.format(folder=folder)}")
        _add(folder, "shadow", f"{user}:{_HASH}:19000:0:99999:7:::")
        _add(folder, "group", f"{user}:x:{uid}:")
    sudoers = folder / "etc" / "sudoers"
    sudoers.write_text(_SUDOERS.format(folder=folder), encoding="ascii")
    sudoers.chmod(0o440)
    for name, text in (("noisy-shell", _NOISE), ("shouting-shell", _SHOUT)):
        (folder / name).write_text(text, encoding="ascii")
        (folder / name).chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "bin" / "sh").symlink_to("/bin/sh")


def _add(folder: Path, name: str, line: str) -> None:
    with (folder / "etc" / name).open("a", encoding="ascii") as stream:
        stream.write(f"{line}\n")
