# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user's own OpenSSH knows is enough: configuration, agent, jump hosts; but host keys are checked."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _core.transport.destination import Destination

from tests.integration.support import put
from tests.tools.sshd import Sshd, keygen, sshd
from tests.transport.remote_site import SshSite
from tests.transport.ssh_agent import add, agent_with
from tests.transport.test_faults import all_of_it, tmp_path
from tests.transport.world import World, uid_of, world

__all__ = ["tmp_path"]

# OpenSSH asks the user database for the home, not the environment: there it is another directory.
_CLIENT = """\
#!/bin/sh
exec unshare --mount --propagation private sh -ec 'mount --bind {home} {real}; exec ssh "$@"' sh "$@"
"""
_HIDDEN = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'
INSIDE = "store.invalid"
"""A name that only the jump host can look up."""

LAX = "Host *\n  StrictHostKeyChecking no\n  NoHostAuthenticationForLocalhost yes\n"


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as running:
        yield running


@pytest.fixture(scope="module")
def gate(host: World) -> Iterator[Sshd]:
    """A jump host: another server, which finds the storage host by a name of its own."""
    hosts = host.folder / "hosts"
    hosts.write_text(f"127.0.0.1 {INSIDE}\n", encoding="ascii")
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _HIDDEN, "sh"]
    with sshd(host.folder / "gate", prefix=[*enter, str(hosts)]) as running:
        yield running


class User:
    """Somebody with a home directory, whose ``ssh`` is the real one."""

    def __init__(self, home: Path, host: World) -> None:
        self.host = host
        self.ssh = home / ".ssh"
        self.ssh.mkdir(parents=True)
        self.client = home / "ssh-client"
        real = pwd.getpwuid(os.getuid()).pw_dir
        self.client.write_text(_CLIENT.format(home=home, real=real), encoding="utf-8")
        self.client.chmod(0o755)
        self.known = self.ssh / "known_hosts"
        shutil.copy(host.server.known_hosts, self.known)

    def destination(self, name: str, **fields: Any) -> Destination:
        """Return a host of which nothing is said but its name."""
        return Destination(name, "store1", executable=str(self.client), **fields)

    def site(self, place: Path, name: str = "store1", **fields: Any) -> SshSite:
        """Return a repository of the user `plain` that is reached so."""
        site = self.host.site("plain", place)
        site.destination = self.destination(name, **fields)
        return site

    def configure(self, *texts: str) -> None:
        (self.ssh / "config").write_text("\n".join(texts), encoding="utf-8")


@pytest.fixture
def user(host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return User(tmp_path / "user", host)


def alias(server: Sshd, name: str = "store1", **options: str) -> str:
    """Return what a configuration says of a server."""
    given = {"HostName": server.host, "Port": str(server.port), **options}
    return f"Host {name}\n" + "".join(f"  {key} {value}\n" for key, value in given.items())


def owned(site: SshSite) -> int:
    return os.stat(site.live).st_uid


# --- the user's configuration ---


@pytest.mark.parametrize("more", ["", LAX], ids=["strict", "lax"])
def test_a_name_of_the_users_configuration(host, user, tmp_path, more):
    """Address, port, user and key come from there; the key is found by its path from the home."""
    shutil.copy(host.server.key, user.ssh / "storage-key")
    user.configure(alias(host.server, User="plain", IdentityFile="~/.ssh/storage-key"), more)
    site = user.site(tmp_path / "site")
    all_of_it(site)
    assert owned(site) == uid_of("plain")


@pytest.mark.parametrize("more", ["", LAX], ids=["strict", "lax"])
@pytest.mark.parametrize("what", ["unknown", "another"])
def test_a_lax_configuration_does_not_win(host, user, tmp_path, what, more):
    user.configure(alias(host.server, User="plain", IdentityFile=str(host.server.key)), more)
    site = user.site(tmp_path / "site")
    src = site.copy("ann", {"a": "a"})
    site.sync(src)
    put(src, "a", "changed")
    right = user.known.read_text(encoding="ascii")
    other = " ".join(keygen(tmp_path / "other").split()[:2])
    wrong = "" if what == "unknown" else f"{right.split()[0]} {other}\n"
    user.known.write_text(wrong, encoding="ascii")
    site.refused("DSG-HOST-KEY", src)
    assert user.known.read_text(encoding="ascii") == wrong, "nothing is learnt by itself"
    user.known.write_text(right, encoding="ascii")
    assert site.sync(src).snapshot == 2


def test_a_connection_that_somebody_left_open_is_not_used(host, user, tmp_path):
    """Whoever made it may not have looked at the host key."""
    shared = {"ControlMaster": "auto", "ControlPersist": "60", "ControlPath": f"{tmp_path}/m"}
    user.configure(alias(host.server, User="plain", IdentityFile=str(host.server.key), **shared))
    user.known.write_text("", encoding="ascii")
    client = [str(user.client), "-o", "StrictHostKeyChecking=no"]
    subprocess.run(
        [*client, "-o", "UserKnownHostsFile=/dev/null", "store1", "true"], check=True, timeout=60
    )
    try:
        site = user.site(tmp_path / "site")
        site.refused("DSG-HOST-KEY", site.copy("ann", {"a": "a"}))
        subprocess.run([*client, "-O", "check", "store1"], check=True)
    finally:
        subprocess.run([*client, "-O", "exit", "store1"], check=True)


# --- an agent ---


def test_the_only_key_is_in_an_agent(host, user, tmp_path, monkeypatch):
    user.configure(alias(host.server, User="plain"))
    site = user.site(tmp_path / "site")
    with agent_with(host.server.key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        all_of_it(site)
        add(socket, "-q", "-D")
        src = site.copy("ann")
        put(src, "a", "not yet")
        site.refused("DSG-AUTHENTICATION", src)


# --- a jump host ---


def inside(host: World, **options: str) -> str:
    """Return what a configuration says of the storage host behind the jump host."""
    given = {"HostName": INSIDE, "User": "plain", "IdentityFile": str(host.server.key)}
    return alias(host.server, **{**given, **options})


def knows(user: User, *servers: tuple[str, Sshd]) -> None:
    """Let the user know these servers by these names, and no other."""
    lines = []
    for name, server in servers:
        key = server.known_hosts.read_text(encoding="ascii").split(maxsplit=1)[1]
        lines.append(f"[{name}]:{server.port} {key}")
    user.known.write_text("".join(lines), encoding="ascii")


@pytest.mark.parametrize("how", ["configured", "an argument"])
def test_behind_a_jump_host(host, gate, user, tmp_path, how):
    way = alias(gate, "gate", User=gate.user, IdentityFile=str(gate.key))
    jump = {"ProxyJump": "gate"} if how == "configured" else {}
    user.configure(inside(host, **jump), way)
    knows(user, (INSIDE, host.server), (gate.host, gate))
    options = () if how == "configured" else ("-J", "gate")
    site = user.site(tmp_path / "site", options=options)
    all_of_it(site)
    assert owned(site) == uid_of("plain")


def test_the_jump_host_is_needed(host, gate, user, tmp_path):
    """Else the test above says nothing."""
    user.configure(inside(host))
    knows(user, (INSIDE, host.server))
    site = user.site(tmp_path / "site")
    error = site.refused("DSG-CONNECT", site.copy("ann", {"a": "a"}))
    assert INSIDE in " ".join(error.details)


@pytest.mark.parametrize("more", ["", LAX], ids=["strict", "lax"])
def test_behind_a_jump_host_the_storage_hosts_key_is_checked(host, gate, user, tmp_path, more):
    way = alias(gate, "gate", User=gate.user, IdentityFile=str(gate.key))
    user.configure(inside(host, ProxyJump="gate"), way, more)
    knows(user, (gate.host, gate))
    site = user.site(tmp_path / "site")
    error = site.refused("DSG-HOST-KEY", site.copy("ann", {"a": "a"}))
    assert INSIDE in " ".join(error.details)


@pytest.mark.parametrize("lax", [False, True], ids=["strict", "lax"])
def test_whether_the_jump_hosts_key_is_checked_is_for_the_configuration(
    host, gate, user, tmp_path, lax
):
    """Its client is OpenSSH's own, and gets none of our options: docs/security.md says so."""
    way = alias(gate, "gate", User=gate.user, IdentityFile=str(gate.key))
    user.configure(inside(host, ProxyJump="gate"), way, LAX if lax else "")
    knows(user, (INSIDE, host.server))
    site = user.site(tmp_path / "site")
    src = site.copy("ann", {"a": "a"})
    if lax:
        assert site.sync(src).snapshot == 1
    else:
        site.refused("DSG-HOST-KEY", src)
