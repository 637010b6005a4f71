# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the test bed needs from the machine it runs on: programs, root's rights, Debian's archive.

The archive's addresses, its proxies and so on come from the machine's own apt configuration. What is
missing is installed from there; /etc/apt is left as it is.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .store import BedError, say

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
QEMU = "qemu-system-x86_64"
# Debian 12's 7.2 crashes such guests; 9.0 is the first that was tried and held.
QEMU_FLOOR = (9, 0)
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

# What has to be there : the Debian package that brings it
TO_RUN = {
    QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
}
TO_BUILD = {
    **TO_RUN,
    "ssh-keygen": "openssh-client",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "mount": "mount",  # mmdebstrap mounts what a kernel module is built with
    "chroot": "coreutils",
}


class Archive(NamedTuple):
    """The addresses from which this machine takes Debian: releases, and their security updates."""

    releases: str
    security: str | None

    def sources(self, codename: str, components: str, *, backports: bool = False) -> str:
        """Return the lines of a sources.list for one release."""
        suites = [codename, f"{codename}-updates"] + (
            [f"{codename}-backports"] if backports else []
        )
        lines = [f"{self.releases} {suite} {components}" for suite in suites]
        if self.security:
            lines.append(f"{self.security} {codename}-security {components}")
        return "".join(f"deb [signed-by={KEYRING}] {line}\n" for line in lines)


def run(
    argv: Sequence[str | Path], *, log: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it says is returned, or goes to the log. Raises BedError."""
    words = [str(word) for word in argv]
    env = {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    try:
        if log is None:
            done = subprocess.run(
                words, cwd=cwd, env=env, text=True, capture_output=True, check=False
            )
        else:
            with open(log, "a", encoding="utf-8") as handle:
                print("+", *words, file=handle, flush=True)
                done = subprocess.run(
                    words,
                    cwd=cwd,
                    env=env,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    stdout=handle,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
    except OSError as error:
        raise BedError(f"{words[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace") if log else done.stderr
        tail = "\n".join(said.splitlines()[-25:])
        raise BedError(f"{' '.join(words)} ended with status {done.returncode}:\n{tail}")
    return done


def missing(needs: dict[str, str]) -> list[str]:
    """Return the Debian packages that are to be installed, sorted."""
    packages = {package for tool, package in needs.items() if not _found(tool)}
    if needs is TO_BUILD and not KEYRING.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def qemu_version() -> tuple[int, ...] | None:
    """Return the emulator's version, None where there is none."""
    path = shutil.which(QEMU, path=SYSTEM_PATH)
    if path is None:
        return None
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", run([path, "--version"]).stdout)
    return tuple(int(part) for part in found.groups()) if found else (0, 0, 0)


def _found(tool: str) -> bool:
    if tool == QEMU:
        version = qemu_version()
        return version is not None and version >= QEMU_FLOOR
    return shutil.which(tool, path=SYSTEM_PATH) is not None


def root_prefix() -> list[str] | None:
    """Return the words that make a command run as root; None where this user cannot."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        return None
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n", "--"]
    return ["sudo", "--"] if os.isatty(0) else None


def as_root(argv: Sequence[str | Path], *, log: Path | None = None) -> None:
    """Run a program as root, with this user's proxy settings. Raises BedError."""
    prefix = root_prefix()
    if prefix is None:
        raise BedError(f"this needs root's rights: {' '.join(map(str, argv))}")
    proxies = [f"{key}={value}" for key, value in os.environ.items() if key.endswith("_proxy")]
    env = ["env", "LC_ALL=C.UTF-8", f"PATH={SYSTEM_PATH}", "DEBIAN_FRONTEND=noninteractive"]
    run([*prefix, *env, *proxies, *argv], log=log)


def ensure(needs: dict[str, str], purpose: str, log: Path) -> None:
    """Install what is missing; where that is not possible say which packages and rights are."""
    packages = missing(needs)
    rights = needs is TO_BUILD and root_prefix() is None
    if platform.machine() != "x86_64":
        raise BedError(f"the test bed runs on x86_64, and this machine is {platform.machine()}")
    if not packages and not rights:
        return
    lacks = [f"packages: {' '.join(packages)}"] if packages else []
    if root_prefix() is None:
        lacks.append("rights: root, or sudo without a password (to install packages and")
        lacks[-1] += " to run mmdebstrap and mke2fs)"
        raise BedError(f"{purpose} is not possible here. Missing " + "; ".join(lacks))
    release = _release()
    if release not in ("bookworm", "trixie") or not shutil.which("apt-get"):
        raise BedError(
            f"{purpose} is not possible here. Missing {lacks[0]}. They are installed by themselves"
            f" on Debian 12 and 13 only; install them (QEMU at least {QEMU_FLOOR[0]}.{QEMU_FLOOR[1]})"
        )
    say(f"installing with apt-get: {' '.join(packages)}")
    _install(packages, release, log)
    packages = missing(needs)
    if packages:
        raise BedError(f"apt-get installed them, but these are still not there: {packages}")


def _release() -> str:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", text, re.MULTILINE)
    return found.group(1) if found else ""


def _install(packages: list[str], release: str, log: Path) -> None:
    emulator = [name for name in packages if name.startswith("qemu")]
    install = ["install", "-y", "--no-install-recommends"]
    as_root(["apt-get", "-q", "update"], log=log)
    if release == "bookworm" and emulator:
        # Only here does backports count: the machine's own sources never learn of it.
        sources = archive(log).sources(release, "main", backports=True)
        with _apt_with(sources) as options:
            as_root(["apt-get", *options, "-q", "update"], log=log)
            target = ["-t", f"{release}-backports"]
            as_root(["apt-get", *options, "-q", *install, *target, *emulator], log=log)
        packages = [name for name in packages if name not in emulator]
    if packages:
        as_root(["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q", *install, *packages], log=log)


@contextmanager
def _apt_with(sources: str) -> Iterator[list[str]]:
    """Yield apt's options to see these sources only, with lists of their own."""
    with tempfile.TemporaryDirectory(prefix="dsg-testbed-apt-") as folder:
        os.chmod(folder, 0o755)  # apt fetches as its own user
        Path(folder, "sources.list").write_text(sources, encoding="utf-8")
        lists = Path(folder, "lists")
        (lists / "partial").mkdir(parents=True)
        try:
            yield [
                *("-o", f"Dir::Etc::SourceList={folder}/sources.list"),
                *("-o", "Dir::Etc::SourceParts=/dev/null"),
                *("-o", f"Dir::State::Lists={lists}"),
                *("-o", "DPkg::Lock::Timeout=300"),
            ]
        finally:
            as_root(["rm", "-rf", "--", lists])


def archive(log: Path) -> Archive:
    """Find Debian's archive in the machine's own apt sources. Raises BedError."""
    found = _archive()
    if found is None:
        as_root(["apt-get", "-q", "update"], log=log)  # a fresh machine has no lists yet
        found = _archive()
    if found is None:
        raise BedError("no source of Debian's packages is found in this machine's apt sources")
    return found


def _archive() -> Archive | None:
    wanted = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    argv = ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    addresses: dict[str, str] = {}
    for line in run(argv).stdout.splitlines():
        origin, label, address = line.split("|", 2)
        if origin == "Debian":
            addresses.setdefault(label, address)
    if "Debian" not in addresses:
        return None
    return Archive(addresses["Debian"], addresses.get("Debian-Security"))


def apt_settings() -> list[str]:
    """Return the machine's own settings of how to reach an archive, as lines of apt.conf."""
    lines = run(["apt-config", "dump", "--no-empty"]).stdout.splitlines()
    kinds = ("http::", "https::", "Retries", "Check-Valid-Until", "Check-Date", "ForceIPv4")
    return [line for line in lines if line.startswith(tuple(f"Acquire::{kind}" for kind in kinds))]
