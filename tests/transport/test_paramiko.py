# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where there is no OpenSSH client, paramiko connects: by keys, and to known hosts only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from _core.transport.channel import begin
from _core.transport.connect import connect
from _core.transport.tail import KEPT

from tests.tools.sshd import keygen
from tests.transport.evil_agent import LAST_WORDS, interpreter
from tests.transport.remote_site import SshSite, destination_of
from tests.transport.ssh_agent import add, agent_with
from tests.transport.test_faults import all_of_it, begun, refused, tmp_path
from tests.transport.world import PASSWORD, World, world

__all__ = ["begun", "tmp_path"]

# Nothing for OpenSSH's client: no option that only it understands.
BARE: dict[str, Any] = {"options": ()}


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as running:
        yield running


@pytest.fixture
def home(host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose known_hosts knows the server, without any key."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    shutil.copy(host.server.known_hosts, folder / ".ssh" / "known_hosts")
    return folder


@pytest.fixture
def no_client(begun: tuple[SshSite, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is no ssh on the PATH: what was published before went through it."""
    bare = home / "bin"
    bare.mkdir()
    monkeypatch.setenv("PATH", str(bare))


def test_by_the_key_that_is_named(host, tmp_path, no_client):
    all_of_it(host.site("plain", tmp_path / "all", **BARE))


def test_by_a_key_of_the_user(host, tmp_path, home, no_client):
    shutil.copy(host.server.key, home / ".ssh" / "id_ed25519")
    all_of_it(host.site("plain", tmp_path / "all", **BARE, key_file=""))


def test_by_the_only_key_of_an_agent(begun, host, tmp_path, home, monkeypatch):
    with agent_with(host.server.key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        with monkeypatch.context() as without:
            without.setenv("PATH", str(home / "nothing"))
            all_of_it(host.site("plain", tmp_path / "all", **BARE, key_file=""))
        add(socket, "-q", "-D")
        monkeypatch.setenv("PATH", str(home / "nothing"))
        site, src = begun
        site.refused("DSG-AUTHENTICATION", src, destination=bare(site)._replace(key_file=""))


def bare(site: SshSite) -> Any:
    return site.destination._replace(options=())


def test_it_is_paramiko(begun, no_client):
    site, _src = begun
    channel = connect(bare(site))
    channel.close()
    assert type(channel).__name__ == "ParamikoChannel"


@pytest.mark.parametrize("what", ["unknown", "another", "revoked"])
def test_a_host_key_that_is_not_the_known_one(begun, home, tmp_path, no_client, monkeypatch, what):
    site, src = begun
    known = home / ".ssh" / "known_hosts"
    right = known.read_text(encoding="ascii")
    name = right.split()[0]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        other = " ".join(keygen(tmp_path / "other").split()[:2])
    lines = {"unknown": "", "another": f"{name} {other}\n", "revoked": f"@revoked {right}{right}"}
    known.write_text(lines[what], encoding="ascii")
    site.refused("DSG-HOST-KEY", src, destination=bare(site))
    assert known.read_text(encoding="ascii") == lines[what], "nothing is learnt by itself"
    known.write_text(right, encoding="ascii")
    assert site.sync(src, destination=bare(site)).snapshot == 2


@pytest.mark.parametrize("what", ["wrong", "wrong rsa", "absent", "none at all"])
def test_a_key_that_does_not_open(begun, tmp_path, no_client, what, monkeypatch):
    site, src = begun
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        keygen(tmp_path / "wrong")
        rsa = ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "wrong rsa")]
        subprocess.run(rsa, check=True)
    key = "" if what == "none at all" else str(tmp_path / what)
    destination = bare(site)._replace(key_file=key)
    site.refused("DSG-AUTHENTICATION", src, destination=destination)


def test_a_user_who_may_start_nothing(begun, no_client):
    """Nothing of the connection stays open then."""
    site, src = begun
    error = site.refused("DSG-CONNECT", src, destination=bare(site)._replace(user="sessionless"))
    assert "starts nothing" in error.message
    threads = threading.enumerate()
    assert not any(isinstance(one, paramiko.Transport) and one.is_active() for one in threads)


class _NoCommands(paramiko.ServerInterface):
    """A server that lets everybody in, and gives sessions in which nothing may be run."""

    def check_auth_publickey(self, username: str, key: Any) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


def test_a_server_that_runs_no_commands(begun, home, no_client):
    site, src = begun
    key = paramiko.RSAKey.generate(2048)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        line = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
        (home / ".ssh" / "known_hosts").write_text(line, encoding="ascii")

        def serve() -> None:
            with paramiko.Transport(listening.accept()[0]) as transport:
                transport.add_server_key(key)
                transport.start_server(server=_NoCommands())
                transport.join()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        site.refused("DSG-CONNECT", src, destination=bare(site)._replace(port=port))
        server.join()  # the client has ended the connection


def test_what_only_openssh_understands_is_refused(begun, no_client):
    site, src = begun
    error = site.refused("DSG-ARGUMENT", src)
    assert "there is no ssh here" in error.message
    assert "Install OpenSSH's client" in error.next_step
    assert "UserKnownHostsFile" in error.object


def test_without_either_both_are_named(begun, no_client, monkeypatch):
    site, src = begun
    monkeypatch.setitem(sys.modules, "paramiko", None)
    error = site.refused("DSG-ARGUMENT", src, destination=bare(site))
    assert "neither ssh nor the Python package paramiko" in error.message
    assert "OpenSSH's client" in error.next_step
    error = site.refused("DSG-ARGUMENT", src, destination=bare(site)._replace(password=PASSWORD))
    assert "a password for the connection needs" in error.message


def test_a_client_that_is_named_by_its_path_has_to_be_there(begun, home):
    """Whoever names one wants that one, and what it is configured to do."""
    site, src = begun
    error = refused(site, "DSG-CONNECT", src, executable="/nowhere/ssh", options=())
    assert "/nowhere/ssh could not be started" in error.message
    assert "ansible_ssh_executable" in error.next_step


def test_of_a_lot_of_noise_the_end_is_kept(begun, host, no_client, tmp_path):
    """More than its window holds: the host comes to its end all the same, and is told of."""
    site, src = begun
    evil = destination_of(host.server, **BARE, interpreter=interpreter(tmp_path, start="noise"))
    assert site.refused("DSG-CONNECT", src, destination=evil).details[-1] == LAST_WORDS
    channel = connect(evil)
    begin(channel, evil, b"")
    while channel.wait_input(60) and channel.read(1):
        continue
    assert len(channel.said()) <= KEPT
    channel.close()
