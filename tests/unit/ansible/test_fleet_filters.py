# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role ``sync`` makes of what its hosts returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dsg.storage.plugins.filter.fleet import (
    fleet_members,
    fleet_outcome,
    plan_rows,
    sync_rows,
    working_copy,
)
from ansible_collections.dsg.storage.plugins.filter.forecast import fleet_forecast

PREPARED = {"phase": "prepare", "txn_id": "t-1"}
UNCHANGED = {"phase": "prepare", "txn_id": ""}
ALONE = {"phase": "full", "txn_id": "t-2"}
SKIPPED = {"skipped": True}


def failed(code: str) -> dict[str, Any]:
    return {"failed": True, "error": {"code": code}}


def outcome(*args: Any, **hosts: list[dict[str, Any]]) -> dict[str, Any]:
    return fleet_outcome([(host, {"results": items}) for host, items in hosts.items()], *args)


def variables_of(hosts: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the variables of hosts that publish from working copies of one letter each."""
    return {
        host: {"dsg_repositories": [{"src": f"/{src}", "name": src} for src in sources]}
        for host, sources in hosts.items()
    }


def members(hosts: dict[str, str], canaries: Any = (), batch: str = "") -> dict[str, Any]:
    """Return who goes together; hosts that are not in the batch wait for theirs."""
    return fleet_members(variables_of(hosts), list(batch or hosts), canaries, list(hosts))


def test_sources_that_more_than_one_host_has() -> None:
    assert members({"1": "aa", "2": "b"})["shared"] == []
    assert members({"1": "a", "2": "ab", "3": "c"})["shared"] == ["/a"]
    assert members({"1": "a", "2": "ab"}, batch="2")["shared"] == []
    assert members({"1": ""})["shared"] == []


def test_a_working_copy_has_one_name_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path.resolve()
    monkeypatch.setenv("HOME", str(home))
    (home / "real" / "docs").mkdir(parents=True)
    (home / "link").symlink_to("real")
    docs = str(home / "real" / "docs")
    spellings = ("{}", "{}/", "{}/.", "{}//", "{}/../docs", "/{}", "/.{}")
    for src in [one.format(docs) for one in spellings]:
        assert working_copy(src) == docs, src
    for src in ("~/real/docs", "$HOME/real//docs", f"{home}/link/docs", "~/link/./docs/"):
        assert working_copy(src) == docs, src
    assert working_copy("/nowhere//at/../all/") == "/nowhere/all", "there is none here"
    for relative in ("docs/", "{{ nowhere }}/a/", ""):
        assert working_copy(relative) == relative


@pytest.mark.parametrize(
    "spelled", ["/nowhere/a/", "/nowhere/a/.", "/nowhere//a", "/nowhere/b/../a"]
)
def test_hosts_that_spell_a_working_copy_differently_have_it_in_common(spelled: str) -> None:
    hostvars = {
        host: {"dsg_repositories": [{"name": "t", "src": src}]}
        for host, src in {"1": spelled, "2": "/nowhere/a", "3": spelled, "4": "/b"}.items()
    }
    hostvars["3"]["dsg_repositories"][0]["direction"] = "pull"
    found = fleet_members(hostvars, list("12"), lost=["3", "4"])
    assert (found["shared"], found["lost"]) == (["/nowhere/a"], ["3"])
    assert found["first"] == {"/nowhere/a": "1"}
    assert fleet_members(hostvars, list("234"))["pulled"] == ["/nowhere/a"]
    told = {**planned(upload=1), "item": {"src": spelled}}
    assert fleet_forecast({"1": told, "2": failed("DSG-DRIFT")}, found)


def test_of_each_working_copy_one_host_ends_the_record() -> None:
    assert members({"1": "b", "2": "ab", "3": "a"})["first"] == {"/b": "1", "/a": "2"}
    hostvars = variables_of({"1": "a", "2": "a"})
    hostvars["1"]["dsg_repositories"][0]["direction"] = "pull"
    assert fleet_members(hostvars, ["1", "2"])["first"] == {"/a": "2"}, "who pulls has no part"
    first = fleet_members(hostvars, ["1", "2"], direction="push")["first"]
    assert first == {"/a": "1"}, "what holds for all goes before"


def test_working_copies_that_a_host_only_pulls_into() -> None:
    hostvars = variables_of({"1": "ab", "2": "a"})
    assert fleet_members(hostvars, ["1", "2"])["pulled"] == []
    for definition in hostvars["1"]["dsg_repositories"]:
        definition["direction"] = "pull"
    assert fleet_members(hostvars, ["1", "2"])["pulled"] == ["/a"], "nobody else has /b"
    assert fleet_members(hostvars, ["1", "2"], direction="push")["pulled"] == []
    assert fleet_members(hostvars, ["1", "2"], direction="pull")["pulled"] == ["/a"]


def given(
    hosts: dict[str, str], own: dict[str, str], application: str
) -> dict[str, dict[str, Any]]:
    """Return variables of hosts to which a play gives other definitions than they have."""
    hostvars = variables_of(own)
    for host, variables in variables_of(hosts).items():
        told = {"application": application, "definitions": variables["dsg_repositories"]}
        hostvars.setdefault(host, {})["sync_given"] = told
    return hostvars


def test_what_a_play_gives_is_what_every_host_says_of_itself() -> None:
    hostvars = given({"2": "a", "3": "a"}, {"1": "b", "2": "b", "3": "c"}, "this")
    assert fleet_members(hostvars, list("123"), application="this")["shared"] == ["/a"]
    assert fleet_members(hostvars, list("123"), application="another")["shared"] == ["/b"]
    hostvars = given({"1": "a", "2": "a"}, {}, "this")
    assert fleet_members(hostvars, list("12"), application="this")["members"] == ["1", "2"]


def test_of_a_host_that_is_lost_nobody_knows_what_a_play_gives_it() -> None:
    hostvars = given({"1": "b", "2": "a"}, {"3": "c"}, "this")
    found = fleet_members(hostvars, list("12"), (), list("123"), ["3"], "this")
    assert (found["shared"], found["lost"]) == (["/a", "/b"], ["3"])
    assert found["counted"] == ["1", "2", "3"]


def test_who_tells_of_nothing_goes_its_own_way_and_gives_others_nothing() -> None:
    """A host whose working copies are its own, whatever they are called."""
    hostvars = {
        **variables_of({"1": "a", "2": "a", "3": "a", "4": "b"}),
        **given({"1": ""}, {}, "x"),
    }
    hostvars["1"].update(variables_of({"1": "a"})["1"])
    found = fleet_members(hostvars, list("123"), ["1"], list("1234"), ["4"], "x")
    assert (found["shared"], found["members"]) == (["/a"], ["2", "3"])
    assert (found["canaries"], found["lost"], found["first"]) == ([], [], {"/a": "2"})


def test_canaries_are_those_that_take_part() -> None:
    fleet = {"1": "a", "2": "a", "3": "a", "4": "b"}
    assert members(fleet)["canaries"] == []
    assert members(fleet, ["3", "1"])["canaries"] == ["1", "3"]
    assert members(fleet, "3, 1")["canaries"] == ["1", "3"], "as `-e dsg_canaries=3,1` has it"
    assert members(fleet, "")["canaries"] == members(fleet, [""])["canaries"] == []
    assert members(fleet, ["1", "3"], batch="23")["canaries"] == ["3"]
    assert members(fleet, ["1"], batch="23")["canaries"] == []
    assert members(fleet, ["4"])["canaries"] == [], "it goes its own way"
    assert members({"1": "a", "2": "b"}, ["1"])["canaries"] == [], "nobody waits for anybody"


def test_a_canary_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        members({"1": "a", "2": "a"}, ["1", "typo", "other"])
    for words in ("typo, other", "Nothing was changed", "correct dsg_canaries"):
        assert words in str(caught.value)


class Unreadable(dict[str, Any]):
    """Variables whose templates fail."""

    def __getitem__(self, name: str) -> Any:
        raise AnsibleFilterError(f"{name}: 'nowhere' is undefined")


@pytest.mark.parametrize(
    ("variables", "shares"),
    [
        ({"dsg_repositories": [{"src": "/a", "direction": "sideways"}]}, True),
        ({"dsg_repositories": [{"src": "/b"}]}, False),
        ({"dsg_repositories": []}, False),
        ({"dsg_repositories": [{"name": "x"}]}, True),
        ({"dsg_repositories": [{"src": "{{ nowhere }}"}]}, True),
        ({"dsg_repositories": [3]}, True),
        ({"dsg_repositories": 3}, True),
        ({}, True),
        (Unreadable(), True),
    ],
)
def test_a_host_that_was_lost_before_is_one_of_the_fleet(
    variables: dict[str, Any], shares: bool
) -> None:
    """Where nobody can say what it was to publish from, it may have been the same."""
    hostvars = {**variables_of({"1": "a"}), "2": variables}
    found = fleet_members(hostvars, ["1"], ["2"], ["1", "2"], ["2"])
    lost, shared = (["2"], ["/a"]) if shares else ([], [])
    assert (found["lost"], found["shared"]) == (lost, shared)
    assert (found["members"], found["canaries"]) == (["1"] if shares else [], lost)


def test_what_only_lost_hosts_share_is_nothing_to_wait_for() -> None:
    hostvars = variables_of({"1": "a", "2": "b", "3": "b"})
    found = fleet_members(hostvars, ["1"], [], [], ["2", "3"])
    assert (found["lost"], found["shared"]) == ([], [])


def test_a_host_that_was_lost_is_counted_by_one_batch() -> None:
    """Be it before the batch or since; another use of the role counts it anew."""
    hostvars = variables_of(dict.fromkeys("12345", "a"))
    first = fleet_members(hostvars, ["1", "2"], [], [], ["5"], "one")
    assert first["lost"] == ["5"]
    for host in "12":
        hostvars[host]["sync_fleet"] = first
    assert fleet_members(hostvars, ["3", "4"], [], list("12345"), ["5", "2"], "one")["lost"] == []
    assert fleet_members(hostvars, ["1", "3"], [], list("12345"), ["5", "2"], "two")["lost"] == [
        "5",
        "2",
    ]


def test_who_was_lost_has_failed() -> None:
    found = fleet_outcome([("a", {"results": [PREPARED]})], 0, [], ["b"])
    assert (found["decision"], found["failed"]) == ("rollback", ["b"])
    assert (found["prepared"], found["reasons"]) == (["a"], ["b: lost before"])
    assert fleet_outcome([("a", {"results": [PREPARED]})], 50, [], ["b"])["decision"] == "commit"
    assert (
        fleet_outcome([("a", {"results": [PREPARED]})], 50, ["b"], ["b"])["decision"] == "rollback"
    )
    behind = {"results": [failed("DSG-BEHIND")]}
    assert fleet_outcome([("a", behind)], 0, [], ["b"])["fetch"] == []


def test_all_went_well() -> None:
    found = outcome(a=[PREPARED], b=[UNCHANGED], c=[ALONE])
    assert found == {
        "fleet": "",
        "decision": "commit",
        "failed": [],
        "prepared": ["a"],
        "fetch": [],
        "reasons": [],
    }


def test_a_decision_names_what_is_decided() -> None:
    assert fleet_outcome([("a", {"results": [PREPARED]})], fleet="f-1")["fleet"] == "f-1"


def test_one_failed() -> None:
    hosts = {"a": [PREPARED], "b": [PREPARED, failed("DSG-DRIFT")], "c": [PREPARED]}
    found = outcome(**hosts)
    assert (found["decision"], found["failed"]) == ("rollback", ["b"])
    assert found["prepared"] == ["a", "b", "c"], "of two repositories of b, one has prepared"
    assert found["reasons"] == ["b: DSG-DRIFT"]
    assert outcome(34, **hosts)["decision"] == "commit"
    assert outcome(34, ["b"], **hosts)["decision"] == "rollback"


def test_what_was_pulled_before_counts_as_well() -> None:
    skipped, prepared = ({"results": [one]} for one in (SKIPPED, PREPARED))
    drifted = {"results": [failed("DSG-DRIFT")]}
    found = fleet_outcome([("a", prepared, {}), ("b", skipped, drifted)])
    assert (found["decision"], found["reasons"]) == ("rollback", ["b: DSG-DRIFT"])
    found = fleet_outcome([("a", prepared, {}), ("b", skipped, {"unreachable": True})])
    assert found["reasons"] == ["b: unreachable"]


PLANNED = {"operation": "sync", "changed": True, "item": {"src": "/a"}}


def planned(direction: str = "", names: int = 0, **counts: int) -> dict[str, Any]:
    """Return what a host would do in check mode."""
    definition = {"src": "/a", "direction": direction}
    return {**PLANNED, "item": definition, "plan": {"counts": counts}, "names": {"count": names}}


def forecast(*args: Any, **hosts: dict[str, Any]) -> str:
    fleet = members(dict.fromkeys(hosts, "a"))
    results = {host: {"results": [one]} for host, one in hosts.items() if one}
    return " ".join(fleet_forecast(results, fleet, *args))


def test_hosts_that_would_do_the_same_alone() -> None:
    assert forecast(a=planned(upload=1), b=planned(upload=2)) == ""
    assert forecast(a=planned(upload=1), b={**planned(), "changed": False}) == ""
    assert forecast(a=planned(upload=1), b=planned("push", download=3)) == "", "it is left as it is"
    assert fleet_forecast({"1": failed("DSG-TREE")}, members({"1": "a", "2": "b"})) == []


def test_a_failure_would_keep_all_from_publishing() -> None:
    told = forecast(a=planned(upload=1), b=failed("DSG-DRIFT"))
    assert told.endswith("nothing would be published. Failed are b: DSG-DRIFT.")
    told = forecast(50, a=planned(upload=1), b=failed("DSG-DRIFT"))
    assert told == "The others would publish without b. Failed are b: DSG-DRIFT."
    assert "b: lost before" in forecast(a=planned(upload=1), b={})
    named = forecast(a=planned(upload=1), b={**planned(names=1, upload=1), "operation": "init"})
    assert "b: DSG-PATH" in named, "nobody can pull the new names from there"
    empty = {**planned(download=3), "operation": "clone"}
    assert "Failed are a: DSG-ARGUMENT; b: DSG-ARGUMENT" in forecast(a=empty, b=empty)


def test_what_comes_first_would_go_to_all() -> None:
    for behind in (planned(download=1), planned(delete_local=1), planned(names=1)):
        told = forecast(a=planned(upload=1), b=behind)
        assert told.startswith("What b has would come into the working copy first")
    assert forecast(a=planned(upload=1), b=planned("pull", download=1)).startswith("What b has")
    assert forecast("0", "pull", a=planned(), b={**planned(), "changed": False}).startswith(
        "What a"
    )
    told = forecast(40, a=planned(upload=1), b=planned(download=1), c=failed("DSG-DRIFT"))
    assert told.startswith("The others would publish without c. Failed are c: DSG-DRIFT. What b")
    told = forecast(a=planned(upload=1), b=planned(download=1), c=failed("DSG-DRIFT"))
    assert "nothing would be published. Failed are b: DSG-BEHIND; c: DSG-DRIFT." in told


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


def done(**fields: Any) -> dict[str, Any]:
    """Return what a phase or a whole run returns."""
    counts = {"upload": 2, "delete_remote": 1, "download": 3, "delete_local": 0}
    return {
        "item": {"name": "docs"},
        "operation": "sync",
        "phase": "full",
        "plan": {"counts": counts},
        "bytes_uploaded": 1024,
        "bytes_downloaded": 512,
        "seconds": {"scan": 0.5, "stage": 0.25},
        "snapshot": 4,
        "txn_id": "t-1",
        **fields,
    }


def row(*results: dict[str, Any]) -> dict[str, Any]:
    loops: list[dict[str, Any]] = [{"results": [result]} for result in results]
    (found,) = sync_rows([("a", *(loops + [{}, {}, {}])[:4])])  # type: ignore[list-item]
    return found


def test_a_row_of_what_was_done() -> None:
    assert row(done()) == {
        "host": "a",
        "repository": "docs",
        "operation": "sync",
        "snapshot": "s4",
        "uploaded": 2,
        "deleted_remote": 1,
        "downloaded": 3,
        "deleted_local": 0,
        "bytes": "1.5 KiB",
        "seconds": "0.8 s",
        "waiting": None,
        "problem": None,
    }
    assert row(done(pending_cleanup=["an old tree: pid 7"]))["waiting"] == "1 cleanup"
    assert row(done(put_off=["x"]))["problem"] == "paths put off"


def test_a_row_of_what_was_prepared_tells_what_became_of_it() -> None:
    """Only what was committed was uploaded; the time that it took is of both phases."""
    nothing: dict[str, Any] = {"counts": {}}
    last = done(plan=nothing, bytes_uploaded=0, bytes_downloaded=0, seconds={"commit": 1.25})
    prepared = done(phase="prepare", snapshot=3, bytes_downloaded=0)
    committed = row(prepared, {**last, "phase": "commit"})
    assert (committed["snapshot"], committed["uploaded"]) == ("s4", 2)
    assert (committed["seconds"], committed["problem"]) == ("2.0 s", None)
    undone = row(prepared, {**last, "phase": "rollback", "snapshot": 3})
    assert (undone["snapshot"], undone["problem"]) == ("s3", "rolled back")
    assert "uploaded" not in undone
    assert row(prepared, {**last, "phase": "withdraw"})["problem"] == "rolled back"
    torn = row(prepared, failed("DSG-CONNECTION"))
    assert torn["problem"] == "DSG-CONNECTION"
    assert "uploaded" not in torn
    assert row(prepared)["problem"] == "not done", "nobody came to finish it"
    fetched = row(prepared, {**last, "phase": "rollback"}, done(bytes_uploaded=0))
    assert (fetched["downloaded"], fetched["bytes"]) == (3, "512 B")
    unchanged = done(phase="prepare", txn_id="")
    assert row(unchanged, SKIPPED)["problem"] is None


def test_a_row_of_what_was_pulled_first() -> None:
    assert row(SKIPPED, {}, {}, done())["downloaded"] == 3
    (away,) = sync_rows([("a", {"results": [SKIPPED]}, {}, {}, {"unreachable": True})])
    assert away["problem"] == "unreachable"


def test_a_row_of_a_host_that_did_nothing() -> None:
    assert row(failed("DSG-DRIFT"))["problem"] == "DSG-DRIFT"
    assert row(SKIPPED)["problem"] == "not done"
    rows = sync_rows([("a", {"unreachable": True}, {}, {}, {}), ("b", {}, {}, {}, {})])
    assert [one["problem"] for one in rows] == ["unreachable", "not done"]
    assert [one["host"] for one in rows] == ["a", "b"]
