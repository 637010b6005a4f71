# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of Ansible's connection options reaches the ssh client."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.plugin_utils import _storage_host

DEFAULT = "-C -o ControlMaster=auto -o ControlPersist=60s"


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket, wherever the tests keep theirs."""
    with tempfile.TemporaryDirectory(prefix="dsg-", dir="/tmp") as made:
        yield Path(made)


def arguments(short: Path, *, shared: bool = True, **options: Any) -> list[str]:
    given = {"ssh_args": DEFAULT, "control_path_dir": str(short / "cp"), **options}
    found: list[str] = _storage_host._of_options(given.get, "h1", {}, shared=shared)["ssh_args"]
    return found


def test_a_shared_connection_is_ours_alone_and_not_compressed(short: Path) -> None:
    """One of Ansible's may have been made without a look at the host key."""
    found = arguments(short, control_path="%(directory)s/%%h-%%r")
    assert re.fullmatch(rf"ControlPath={short}/cp/dsg-[a-z2-7]{{12}}", found[1])
    assert found[2:] == ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s"]
    assert (short / "cp").stat().st_mode & 0o777 == 0o700


def test_arguments_of_the_user_are_kept_word_by_word(short: Path) -> None:
    found = arguments(
        short,
        ssh_args="-C",
        ssh_common_args="-o ProxyJump=gate -o 'IdentityFile=/a b'",
        ssh_extra_args="-4",
    )
    assert found[2:] == ["-C", "-o", "ProxyJump=gate", "-o", "IdentityFile=/a b", "-4"]


def test_a_socket_of_the_users_is_not_joined_and_what_they_tune_counts(short: Path) -> None:
    """ssh goes by what stands first."""
    theirs = ["-o", "ControlMaster=auto", "-o", "ControlPersist=1h", "-o", "ControlPath=/theirs"]
    found = arguments(short, ssh_args=" ".join(theirs))
    assert re.fullmatch(rf"ControlPath={short}/cp/dsg-[a-z2-7]{{12}}", found[1])
    assert found[2:] == theirs


def test_nothing_is_shared_where_it_has_no_place_or_no_meaning(short: Path) -> None:
    assert arguments(short) != []
    assert arguments(short, shared=False) == []
    assert arguments(short, password="secret") == []
    assert arguments(short, ssh_executable="no-such-client") == []


def socket_of(directory: str, **options: Any) -> str:
    """Return the path of the socket that connections share, '' where they share none."""
    found = arguments(Path("unused"), control_path_dir=directory, **options)
    path = found[1].partition("=")[2]
    return "" if path == "none" else path


def test_a_socket_is_for_connections_that_are_made_alike(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[dict[str, Any]] = [
        {},
        {"host": "other"},
        {"port": 2222},
        {"remote_user": "other"},
        {"private_key_file": "/other"},
        {"ssh_common_args": "-o ProxyJump=gate"},
        {"ssh_extra_args": "-4"},
    ]
    found = [socket_of(str(short), **options) for options in others]
    assert found[0] == socket_of(str(short), timeout=3)
    assert len(set(found)) == len(others)
    elsewhere = os.uname_result(["Linux", "elsewhere", "", "", ""])
    monkeypatch.setattr(os, "uname", lambda: elsewhere)
    assert socket_of(str(short)) not in found, "homes are shared by machines, sockets are not"


def test_a_socket_has_a_path_that_the_system_can_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ssh puts 17 characters behind it; where that is too long, nothing is shared, nor made."""
    made: list[str] = []
    monkeypatch.setattr(os, "makedirs", lambda path, **_options: made.append(path))
    longest = "/" + "x" * 68
    assert len(socket_of(longest)) + 17 == 103
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(FileNotFoundError):
        one.bind(f"/nowhere{socket_of(longest)[8:]}{'x' * 17}")  # not: path too long
    assert socket_of(longest + "x") == ""
    assert socket_of("/" + "ä" * 40) == "", "it is bytes that count"
    assert made == [longest] * 2
    assert socket_of("/100%").startswith("/100%%/dsg-"), "a percent sign means something to ssh"
