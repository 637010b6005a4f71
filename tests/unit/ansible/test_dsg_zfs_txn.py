# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shell of ``dsg_zfs_txn``: options in, results out. What it does is shown in tests/zfs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import DriftError
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.entry import FILE, Entry
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.open_request import (
    TransactionRequest,
    TransactionResult,
)
from ansible_collections.dsg.storage.plugins.modules import dsg_zfs_txn

from tests.unit.ansible.module_runner import ModuleFailedError, run_module

NAMES: dict[str, Any] = {
    "repository": "website",
    "backend": {"type": "zfs", "dataset": "tank/dsg"},
}


def _entry(path: str, size: int = 1) -> Entry:
    return Entry(path, FILE, size, 0, 0o644, f"{size:064x}", "", "ann")


def _run(
    state: str, answer: TransactionResult | Exception, **options: Any
) -> tuple[TransactionRequest, dict[str, Any]]:
    """Run the module upon a core that answers so; return what it was asked, and the result."""
    asked = mock.Mock(side_effect=[answer])
    with mock.patch.dict(dsg_zfs_txn.STEPS, {state: asked}):
        found = run_module(dsg_zfs_txn, state=state, **NAMES, **options)
    (request,) = asked.call_args.args
    return request, found


def test_options_reach_the_core() -> None:
    answer = TransactionResult("x-1", changed=True, work_path="/run/w", operation="sync", base=3)
    request, found = _run(
        "begun",
        answer,
        txn_id="x-1",
        lease=60,
        user="ann",
        snapshot_message="Hello",
        lock_timeout=5,
        check=True,
    )
    assert request == TransactionRequest(
        repository="website",
        backend={"type": "zfs", "dataset": "tank/dsg", "base": None},
        txn_id="x-1",
        user="ann",
        message="Hello",
        lease=60,
        lock_timeout=5.0,
        check=True,
    )
    assert found["changed"] is True
    assert (found["work_path"], found["txn_id"]) == ("/run/w", "x-1")
    assert (found["operation"], found["base_snapshot"], found["snapshot"]) == ("sync", 3, None)
    assert found["diff"]["prepared"].splitlines() == [
        "transaction x-1 on repository website: begun",
        "begin          transaction x-1",
    ]


def test_defaults() -> None:
    request, found = _run("begun", TransactionResult("made"))
    assert (request.txn_id, request.user, request.lease, request.check) == ("", "", 86400, False)
    assert found["changed"] is False
    assert found["diff"] == {"prepared": ""}


def test_differences_are_listed_and_counted() -> None:
    changes = [
        (None, _entry("new")),
        (_entry("edited"), _entry("edited", 22)),
        (_entry("gone"), None),
    ]
    answer = TransactionResult(
        "x", changed=True, changes=changes, snapshot=4, recovered=["undid y"]
    )
    _request, found = _run("committed", answer, txn_id="x")
    assert found["diff"]["prepared"].splitlines()[1:] == [
        "recover        undid y",
        "add            new (new, 1 bytes, mode 0644)",
        "change         edited (changed, 1 -> 22 bytes)",
        "delete         gone (deleted)",
        "commit         transaction x",
    ]
    assert found["paths"] == {
        "added": ["new"],
        "changed": ["edited"],
        "deleted": ["gone"],
        "counts": {"added": 1, "changed": 1, "deleted": 1},
        "known": True,
    }
    _request, short = _run("committed", answer, txn_id="x", paths_limit=0)
    assert short["paths"]["added"] == []
    assert short["paths"]["counts"]["added"] == 1


def test_what_check_mode_cannot_know_is_said() -> None:
    answer = TransactionResult("x", changed=True, changes_known=False)
    _request, found = _run("committed", answer, txn_id="x", check=True)
    assert found["paths"]["known"] is False
    assert "not known in check mode" in found["diff"]["prepared"]


def test_a_recovery_is_a_change_if_it_did_something() -> None:
    _request, found = _run("recovered", TransactionResult("", recovered=["destroyed a/b"]))
    assert found["changed"] is True
    _request, found = _run("recovered", TransactionResult(""))
    assert found["changed"] is False


def test_an_error_ends_the_module_with_its_data() -> None:
    with pytest.raises(ModuleFailedError) as failed:
        _run("committed", DriftError("somebody wrote", object="tank/dsg/website"), txn_id="x")
    assert failed.value.result["error"]["code"] == "DSG-DRIFT"
    assert failed.value.result["changed"] is False


@pytest.mark.parametrize("state", ["prepared", "committed", "rolled_back"])
def test_the_id_is_required_behind_the_beginning(state: str) -> None:
    with pytest.raises(ModuleFailedError, match="txn_id"):
        run_module(dsg_zfs_txn, state=state, **NAMES)


def test_what_is_not_supported_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    directory = {"repository": "website", "backend": {"base": str(tmp_path)}, "state": "begun"}
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_zfs_txn, **directory)
    assert failed.value.result["error"]["code"] == "DSG-ARGUMENT"
    assert "only zfs" in failed.value.result["msg"]
    assert failed.value.result["error"]["unchanged"] == "The published tree is unchanged."
    with pytest.raises(ModuleFailedError, match="transaction id"):
        run_module(dsg_zfs_txn, state="begun", txn_id="../x", **NAMES)
    with pytest.raises(ModuleFailedError, match="lease"):
        run_module(dsg_zfs_txn, state="begun", lease=0, **NAMES)
    assert list(tmp_path.iterdir()) == []
