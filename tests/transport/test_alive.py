# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that is gone without a word, and a host that is: nobody waits for ever."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _core.errors import LockedError
from _core.transport import alive, paramiko_channel
from _core.transport.channel import Channel
from _core.transport.connect import connect
from _core.transport.destination import Destination
from _core.transport.errors import ConnectionLost
from _core.transport.remote import RemoteRepository
from _core.transport.session import Connect, Session

from tests.contract.driver import publish
from tests.tools.sshd import Sshd, sshd
from tests.transport.cuts import kill
from tests.transport.remote_site import SshSite, destination_of

pytestmark = pytest.mark.xdist_group(
    "cable"
)  # the addresses are this machine's while it is plugged in

_NETWORK = 0x40000000  # CLONE_NEWNET
HOST, CLIENT = "198.51.100.1", "198.51.100.2"  # addresses for documentation: nobody has them


class Link:
    """A server in this network namespace, and a client's namespace that reaches it by a cable."""

    def __init__(self, server: Sshd, namespace: str, cable: str) -> None:
        self.server = server
        self.namespace = namespace
        self.cable = cable

    def destination(self, *options: str) -> Destination:
        """Return how to reach the server from the other namespace."""
        entered = Path(self.server.folder / "ssh-elsewhere")
        if not entered.exists():
            entered.write_text(
                f'#!/bin/sh\nexec ip netns exec {self.namespace} ssh "$@"\n', encoding="ascii"
            )
            entered.chmod(0o755)
        made = destination_of(self.server, options=[*options, *self.server.options])
        return made._replace(host=HOST, executable=str(entered))

    def connect(self, destination: Destination) -> Channel:
        """Connect from the other namespace by paramiko: a socket stays where it was made."""
        there = destination._replace(options=(), executable="no-such-client")
        with (
            open("/proc/thread-self/ns/net", "rb") as here,
            open(f"/run/netns/{self.namespace}", "rb") as elsewhere,
        ):
            _enter(elsewhere.fileno())
            try:
                return connect(there)
            finally:
                _enter(here.fileno())

    def unplug(self) -> None:
        """Take the cable away: from now on packets vanish, in both directions, and nobody is told."""
        _ip("link", "set", self.cable, "down")


def _enter(namespace: int) -> None:
    """Let this thread make its sockets in a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def linked(folder: Path) -> Iterator[Link]:
    """Make the namespace and the cable, and run the server, for the block."""
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    name = f"dsg{secrets.token_hex(4)}"  # what a namespace held goes some time after it
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}c", "netns", name)
        _ip("addr", "add", f"{HOST}/30", "dev", f"{name}h")
        _ip("link", "set", f"{name}h", "up")
        for words in (
            ("addr", "add", f"{CLIENT}/30", "dev", f"{name}c"),
            ("link", "set", f"{name}c", "up"),
        ):
            _ip("-n", name, *words)
        with sshd(folder, addresses=("127.0.0.1", HOST)) as server:
            yield Link(server, name, f"{name}h")
    finally:
        _ip("netns", "del", name)  # and with it the cable


@pytest.fixture
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with linked(tmp_path_factory.mktemp("link")) as made:
        yield made


def test_a_host_lets_go_of_a_client_that_is_gone(link, tmp_path, monkeypatch):
    """Half a transaction is undone then, and others can work."""
    monkeypatch.setattr(alive, "EVERY", 0.5)
    monkeypatch.setattr(alive, "PATIENCE", 3.0)
    site = SshSite(str(tmp_path), link.destination())
    source = site.copy("source", {"a": "a", "b": "b" * 1000})
    gone = RemoteRepository(site.destination, site.backend, site.name, connect)
    with pytest.raises(ConnectionLost), gone.lock(0):
        publish(gone, source, 1, until="stage")
        assert len(site.staged()) == 1
        with pytest.raises(LockedError), site.repository.lock(5.0):
            pass  # signs of life come, so it is waited for longer than the patience lasts
        link.unplug()
        with site.repository.lock(60.0):
            assert site.staged() == []
        kill([gone._opening.channel._process.pid])
        gone.head()
    gone.close()
    there = SshSite(str(tmp_path), destination_of(link.server))
    there.sync(source)
    there.check_sound()


def lets_go(link: Link, destination: Destination, reach: Connect, root: Path) -> None:
    """Lose the host in the middle of a transaction: whoever waits for it is told."""
    site = SshSite(str(root), destination)
    source = site.copy("source", {"a": "a"})
    gone = RemoteRepository(destination, site.backend, site.name, reach)
    with gone.lock(0):
        publish(gone, source, 1, until="stage")
        link.unplug()
        with pytest.raises(ConnectionLost) as caught:
            gone.head()
        assert caught.value.code == "DSG-CONNECTION"
    gone.close()


def test_a_client_lets_go_of_a_host_that_is_gone(link, tmp_path):
    """The repository's side is decided by recovery when the host is back."""
    options = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
    lets_go(link, link.destination(*options), connect, tmp_path)


@pytest.fixture
def by_paramiko(link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Destination:
    """How paramiko reaches the server, which is to be taken for gone after two seconds of silence."""
    monkeypatch.setattr(paramiko_channel, "PROBE_EVERY", 1)
    monkeypatch.setattr(paramiko_channel, "PROBES", 2)
    known = tmp_path / "home" / ".ssh"
    known.mkdir(parents=True)
    shutil.copy(link.server.known_hosts, known / "known_hosts")
    monkeypatch.setenv("HOME", str(known.parent))
    return link.destination()


def test_paramiko_lets_go_of_a_host_that_is_gone(link, by_paramiko, tmp_path):
    """What it was asked is never acknowledged."""
    lets_go(link, by_paramiko, link.connect, tmp_path)


def test_paramiko_notices_a_host_that_is_gone_while_it_is_asked_nothing(link, by_paramiko):
    session = Session(by_paramiko, link.connect)
    session.start()
    link.unplug()
    assert session.channel.read(1) == b""
    session.close()


def test_a_client_whose_work_takes_long_is_waited_for(site, monkeypatch):
    monkeypatch.setattr(alive, "EVERY", 0.2)
    monkeypatch.setattr(alive, "PATIENCE", 1.5)
    remote = RemoteRepository(site.destination, site.backend, site.name, connect)
    with remote.lock(0):
        subprocess.run(["sleep", "4"], check=True)
        assert remote.head() is None
    remote.close()


def test_a_stopped_client_that_comes_back_too_late_has_changed_nothing(site, monkeypatch):
    """Stopped processes give no signs of life; what others did meanwhile is not touched."""
    monkeypatch.setattr(alive, "EVERY", 0.2)
    monkeypatch.setattr(alive, "PATIENCE", 1.5)
    ann = site.copy("ann", {"a": "a"})
    site.sync(ann)
    remote = RemoteRepository(site.destination, site.backend, site.name, connect)
    monkeypatch.setattr(alive.Alive, "run", lambda self: None)
    with remote.lock(0):
        change = publish(remote, ann, 2, until="prepare")
        with site.repository.lock(30.0):
            site.repository.recover()
        bob = site.copy("bob")
        site.sync(bob, operation="clone")
        with pytest.raises(ConnectionLost):
            change.transaction.commit()
    remote.close()
    site.check_sound()
    assert site.manifest().header.snapshot == 1
