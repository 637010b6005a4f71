# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guest is made of. Whatever changes here, in ``guest/`` or in how it is built makes another image."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from .store import HERE

RELEASE = "trixie"
COMPONENTS = "main contrib"  # OpenZFS's module is in contrib
PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "kmod", "procps", "iproute2", "e2fsprogs"),
    *("ca-certificates", "debian-archive-keyring"),
    *(
        "linux-image-cloud-amd64",
        "linux-headers-cloud-amd64",
        "initramfs-tools",
        "zstd",
        "xz-utils",
    ),
    *("zfs-dkms", "zfsutils-linux", "libc6-dev"),
    *("openssh-server", "python3", "sudo"),
    # for tests that look closely: who holds a file, which calls a process makes
    *("acl", "attr", "fdisk", "psmisc", "rsync", "strace"),
    # a sendmail that is a program and nothing else, for the mails of alerts
    "msmtp",
    # the contract suite of the backends runs inside
    *("python3-pytest", "python3-hypothesis"),
)
# Documentation is a third of the files, and nobody reads it in there.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
ROOT_DISK = "6G"
_SOURCES = ("build.py", "recipe.py")


def key() -> str:
    """Return the name of this recipe: the hash of everything here that decides what the image is.

    Where packages come from (:mod:`.tools`) and their versions are the machine's and the day's.
    """
    state = hashlib.sha256()
    for path in [*(HERE / name for name in _SOURCES), *sorted((HERE / "guest").iterdir())]:
        state.update(f"{path.name} {path.stat().st_size}\n".encode())
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def mmdebstrap(sources: Path, settings: list[str], handover: Path, tree: Path) -> list[str]:
    """Return the command that unpacks the guest into ``tree``.

    ``sources`` is a sources.list, ``settings`` lines of apt.conf, ``handover`` a folder with the
    keys, seen as /testbed inside the guest while it is customised.
    """
    essential = HERE / "guest" / "essential.sh"
    customize = HERE / "guest" / "customize.sh"
    copy = f'cp -rL {shlex.quote(str(handover))} "$1/testbed"'
    copy += f' && cp {shlex.quote(str(customize))} "$1/testbed/customize.sh"'
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--components={COMPONENTS.replace(' ', ',')}",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={line}" for line in settings),
        '--aptopt=Acquire::Languages "none";',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        f'--essential-hook=sh {shlex.quote(str(essential))} "$1"',
        f"--customize-hook={copy}",
        '--customize-hook=chroot "$1" sh /testbed/customize.sh',
        RELEASE,
        str(tree),
        str(sources),
    ]
