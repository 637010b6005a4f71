# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role ``sync`` makes of what its hosts returned."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.filter.fleet import (
    fleet_outcome,
    plan_rows,
    shared_sources,
)

PREPARED = {"phase": "prepare", "txn_id": "t-1"}
UNCHANGED = {"phase": "prepare", "txn_id": ""}
ALONE = {"phase": "full", "txn_id": "t-2"}
SKIPPED = {"skipped": True}


def failed(code: str) -> dict[str, Any]:
    return {"failed": True, "error": {"code": code}}


def outcome(*args: Any, **hosts: list[dict[str, Any]]) -> dict[str, Any]:
    return fleet_outcome([(host, {"results": items}) for host, items in hosts.items()], *args)


def test_sources_that_more_than_one_host_has() -> None:
    one, other = {"src": "/a", "name": "x"}, {"src": "/a", "name": "y"}
    assert shared_sources([[one, other], [{"src": "/b"}]]) == []
    assert shared_sources([[one], [other, {"src": "/b"}], [{"src": "/c"}]]) == ["/a"]
    assert shared_sources([[]]) == []


def test_all_went_well() -> None:
    found = outcome(a=[PREPARED], b=[UNCHANGED], c=[ALONE])
    assert found == {
        "decision": "commit",
        "failed": [],
        "prepared": ["a"],
        "fetch": [],
        "reasons": [],
    }


def test_one_failed() -> None:
    hosts = {"a": [PREPARED], "b": [PREPARED, failed("DSG-DRIFT")], "c": [PREPARED]}
    found = outcome(**hosts)
    assert (found["decision"], found["failed"]) == ("rollback", ["b"])
    assert found["prepared"] == ["a", "b", "c"], "of two repositories of b, one has prepared"
    assert found["reasons"] == ["b: DSG-DRIFT"]
    assert outcome(34, **hosts)["decision"] == "commit"
    assert outcome(34, ["b"], **hosts)["decision"] == "rollback"


def test_who_takes_no_part_counts_for_nothing() -> None:
    hosts = {"a": [PREPARED], "b": [failed("DSG-TREE")], "c": [ALONE], "d": [SKIPPED]}
    assert outcome(40, **hosts)["decision"] == "rollback"
    assert outcome(50, **hosts)["decision"] == "commit"


def test_hosts_to_fetch_from() -> None:
    behind = failed("DSG-BEHIND")
    assert outcome(a=[PREPARED], b=[behind])["fetch"] == ["b"]
    assert outcome(a=[PREPARED], b=[behind], c=[failed("DSG-DRIFT")])["fetch"] == []
    assert outcome(a=[PREPARED], b=[behind, failed("DSG-CONFLICT")])["fetch"] == []
    assert outcome(40, a=[PREPARED], b=[behind], c=[failed("DSG-DRIFT")])["fetch"] == ["b"]


def test_a_host_that_was_not_reached() -> None:
    found = fleet_outcome([("a", {"results": [PREPARED]}), ("b", {"unreachable": True})])
    assert (found["decision"], found["reasons"]) == ("rollback", ["b: unreachable"])


def test_a_percentage_is_one() -> None:
    with pytest.raises(AnsibleFilterError, match="max_fail_percentage"):
        outcome(101, a=[PREPARED])


def test_rows_of_a_table() -> None:
    plan = {"counts": {"upload": 2, "download": 0}}
    shown = {"item": {"name": "docs"}, "snapshot": 4, "plan": plan}
    refused = {"item": {"name": "docs"}, **failed("DSG-CONFLICT")}
    assert plan_rows([("a", {"results": [shown]}), ("b", {"results": [refused]})]) == [
        {
            "host": "a",
            "repository": "docs",
            "snapshot": "s4",
            "upload": 2,
            "download": 0,
            "problem": None,
        },
        {"host": "b", "repository": "docs", "snapshot": None, "problem": "DSG-CONFLICT"},
    ]
