# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of Ansible's connection options reaches the ssh client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.dsg.storage.plugins.plugin_utils import _storage_host

DEFAULT = "-C -o ControlMaster=auto -o ControlPersist=60s"


def arguments(tmp_path: Path, *, shared: bool = True, **options: Any) -> list[str]:
    given = {"ssh_args": DEFAULT, "control_path_dir": str(tmp_path / "cp"), **options}
    return _storage_host._arguments(given.get, shared)


def test_a_shared_connection_is_ours_alone_and_not_compressed(tmp_path: Path) -> None:
    """One of Ansible's may have been made without a look at the host key."""
    found = arguments(tmp_path, control_path="%(directory)s/%%h-%%r")
    assert found[-1] == f"ControlPath={tmp_path}/cp/dsg-%C"
    assert "-C" not in found
    assert (tmp_path / "cp").stat().st_mode & 0o777 == 0o700


def test_arguments_of_the_user_are_kept_word_by_word(tmp_path: Path) -> None:
    found = arguments(
        tmp_path,
        ssh_args="-C",
        ssh_common_args="-o ProxyJump=gate -o 'IdentityFile=/a b'",
        ssh_extra_args="-4",
    )
    assert found == ["-C", "-o", "ProxyJump=gate", "-o", "IdentityFile=/a b", "-4"]


def test_nothing_is_shared_where_it_has_no_place_or_no_meaning(tmp_path: Path) -> None:
    assert arguments(tmp_path, shared=False) == []
    assert arguments(tmp_path, password="secret") == []
    assert arguments(tmp_path, ssh_executable="no-such-client") == []
