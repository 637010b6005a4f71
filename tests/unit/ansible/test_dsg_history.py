# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module that tells of the history: its options, its data and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.module_utils import _history_rows
from ansible_collections.dsg.storage.plugins.modules import dsg_history, dsg_sync

from tests.integration.support import provision
from tests.unit.ansible.module_runner import ModuleFailedError, run_module


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A repository with three snapshots."""
    provision(str(tmp_path / "srv"))
    found = {"repository": "docs", "backend": {"base": str(tmp_path / "srv")}}
    source = tmp_path / "src"
    (source / "d").mkdir(parents=True)
    for number, files in enumerate(({"a": "1", "d/b": "1"}, {"a": "2"}, {"c": "3" * 2048}), 1):
        for name, text in files.items():
            (source / name).write_text(text)
        if number == 3:
            (source / "d" / "b").unlink()
            (source / "d").rmdir()
        run_module(
            dsg_sync,
            src=str(source),
            snapshot_message=f"number {number}",
            user="ann",
            max_delete="100%",
            **found,
        )
    return found


def test_the_log_as_data_and_as_rows(options: dict[str, Any]) -> None:
    found = run_module(dsg_history, **options)
    assert found["changed"] is False
    assert (found["snapshot"], found["truncated"]) == (3, False)
    assert [(one["snapshot"], one["message"]) for one in found["log"]] == [
        (3, "number 3"),
        (2, "number 2"),
        (1, "number 1"),
    ]
    newest = found["log"][0]
    assert (newest["added"], newest["changed"], newest["deleted"]) == (1, 0, 1)
    assert (newest["written_bytes"], newest["kept"]) == (2048, True)
    row = found["table"][0]
    assert (row["repository"], row["snapshot"], row["changes"]) == ("docs", "s3", "+1 ~0 -1")
    assert (row["written"], row["kept"], row["message"]) == ("2.00 KiB", "yes", "number 3")
    assert "paths" not in newest


def test_paths_are_listed_on_request_and_capped(options: dict[str, Any]) -> None:
    found = run_module(dsg_history, with_paths=True, paths_limit=1, limit=1, **options)
    assert found["truncated"] is True
    (step,) = found["log"]
    assert step["paths"] == [{"path": "c", "change": "added", "size": 2048, "user": "ann"}]
    assert step["paths_truncated"] is True
    messages = [row["message"] for row in found["table"]]
    assert messages[:-1] == ["number 3", "c", "... and 1 more"]
    assert "dsg_limit=0" in messages[-1]
    some = run_module(dsg_history, paths=["d/"], author="*", since="2", **options)
    assert [step["snapshot"] for step in some["log"]] == [3]


def test_blame_and_versions(options: dict[str, Any]) -> None:
    blame = run_module(dsg_history, query="blame", deleted=True, limit=2, **options)
    assert [(one["path"], one["snapshot"], one["change"]) for one in blame["blame"]] == [
        ("a", 2, "changed"),
        ("c", 3, "added"),
    ]
    assert (blame["total"], blame["truncated"]) == (3, True)
    assert blame["table"][0]["user"] == "ann"
    versions = run_module(dsg_history, query="versions", path="a", **options)
    assert [(one["snapshot"], one["until"], one["size"]) for one in versions["versions"]] == [
        (2, 3, 1),
        (1, 1, 1),
    ]
    assert [row["snapshots"] for row in versions["table"]] == ["s2-s3", "s1"]
    assert [row["restore_from"] for row in versions["table"]] == ["s3", "s1"]
    assert run_module(dsg_history, query="versions", path="a", limit=1, **options)["truncated"]
    older = run_module(dsg_history, query="versions", path="a", up_to="1", author="ann", **options)
    assert older["versions"] == versions["versions"][1:]


@pytest.mark.parametrize(
    "query",
    [{}, {"query": "blame", "deleted": True}, {"query": "versions", "path": "a"}],
    ids=["log", "blame", "versions"],
)
def test_the_table_says_where_the_limit_left_something_out(
    options: dict[str, Any], query: dict[str, Any]
) -> None:
    whole = run_module(dsg_history, limit=0, **query, **options)["table"]
    exactly = run_module(dsg_history, limit=len(whole), **query, **options)["table"]
    assert exactly == whole
    cut = run_module(dsg_history, limit=1, **query, **options)["table"]
    said = "... and more than these 1: a limit of 0 (dsg_limit=0) shows all"
    assert cut == [whole[0], {"repository": "docs", "message": said}]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"query": "versions"}, "path"),
        ({"query": "versions", "path": "../a"}, "DSG-PATH"),
        ({"query": "versions", "path": "nowhere"}, "never published"),
        ({"since": "yesterday"}, "DSG-ARGUMENT"),
        ({"since": "4"}, "newest one is s3"),
        ({"until": "20261120", "query": "blame"}, "newest one is s3"),
        ({"query": "versions", "path": "a", "since": "4"}, "newest one is s3"),
        ({"paths": ["[a"]}, "DSG-ARGUMENT"),
        ({"path": "a"}, r"query=log\n.*\n.*\(dsg_path .* query=versions"),
        ({"path": "a", "query": "blame"}, "path does not go with query=blame"),
        ({"query": "versions", "path": "a", "paths": ["d/"]}, "paths does not go with query=vers"),
        ({"query": "versions", "path": "a", "with_paths": True}, "with_paths does not go"),
        ({"query": "versions", "path": "a", "deleted": True}, "deleted does not go"),
        ({"query": "blame", "with_paths": True}, "with_paths does not go with query=blame"),
        ({"deleted": True}, "deleted does not go with query=log"),
        ({"limit": -1}, "DSG-ARGUMENT"),
        ({"repository": "other"}, "DSG-REPOSITORY"),
    ],
)
def test_what_cannot_be_told_is_refused(
    options: dict[str, Any], wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(ModuleFailedError, match=text):
        run_module(dsg_history, **{**options, **wrong})


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (15 * 1024 + 512, "15.5 KiB"),
        (999 * 1024, "999 KiB"),
        (1023 * 1024, "1.00 MiB"),
        (3 << 40, "3.00 TiB"),
    ],
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert _history_rows.size_text(size) == text
