# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet, made of what hosts told: sums, text, metrics; friendly and hostile."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._status import html, metrics, text
from ansible_collections.dsg.storage.plugins.module_utils._status.fleet import Fleet, fleet
from ansible_collections.dsg.storage.plugins.module_utils._status.text_table import table
from ansible_collections.dsg.storage.plugins.modules import dsg_report
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.ansible.fleet_results import TAKEN, away, healthy, hostile, results
from tests.unit.ansible.module_runner import ModuleFailedError, run_module

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(told: str) -> dict[Sample, float]:
    """Parse metrics by Prometheus' own client; every family has its help and is a gauge."""
    found = {}
    for family in text_string_to_metric_families(told):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(found: dict[Sample, float], name: str, host: str, **labels: str) -> float:
    pairs = {"host": host, "repository": "docs", "location": "/srv/dsg/docs", **labels}
    return found[f"dsg_{name}", tuple(sorted(pairs.items()))]


def test_everybody_is_counted_once() -> None:
    found = fleet(results(), TAKEN)
    totals = found.totals()
    assert totals["hosts"] == 5
    assert totals["repositories"] == 5
    assert (totals["in_sync"], totals["differs"], totals["absent"]) == (1, 2, 1)
    assert (totals["failed"], totals["unreachable"]) == (1, 1)
    assert [row.host for row in found.rows] == ["one", "two", "three", "three", "four", "five"]
    assert found.problems[0]["severity"] == "error"
    assert {one["host"] for one in found.problems} == {"two", "four", "five"}


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({}, "failed"),
        ({"unreachable": True, "msg": "no route"}, "unreachable"),
        ({"failed": True, "msg": "'dsg_repositories' is undefined"}, "failed"),
        (away(), "unreachable"),
        ({**away(), "error": {"code": "DSG-MANIFEST"}}, "failed"),
        ({**healthy(), "repository_exists": False}, "absent"),
        ({key: value for key, value in healthy().items() if key != "in_sync"}, "published"),
    ],
)
def test_states(result: dict[str, Any], state: str) -> None:
    (row,) = fleet({"h": result}, TAKEN).rows
    assert row.state == state
    assert bool(fleet({"h": result}, TAKEN).problems) == (state in ("failed", "unreachable"))


NONE = {"changed": False, "results": [], "skipped": True, "skipped_reason": "No items in the list"}


def test_a_host_without_repositories_is_fine() -> None:
    """An empty list is: it is counted as a host, and there is nothing to tell of it anywhere."""
    without, found = (fleet({**results(), **more}, TAKEN) for more in ({}, {"new": NONE}))
    assert found.totals() == {**without.totals(), "hosts": 6}
    assert (found.rows, found.problems) == (without.rows, without.problems)
    assert text.table_lines(found) == text.table_lines(without)
    assert "6 hosts, 5 repositories: 1 in sync" in text.sentence(found)
    assert metrics.metrics(found) == metrics.metrics(without)
    page = html.page(found, "t")
    assert page.replace("6 hosts", "5 hosts").replace("<b>6</b>", "<b>5</b>", 1) == html.page(
        without, "t"
    )
    assert found.data()["repositories"] == without.data()["repositories"]


def test_hosts_without_repositories_alone_are_fine() -> None:
    found = fleet({"one": NONE, "two": NONE}, TAKEN)
    assert found.sentence() == "2 hosts, 0 repositories; no problems"
    assert not found.rows and not found.problems
    assert list(samples(metrics.metrics(found))) == [("dsg_status_time_seconds", ())]
    assert "Nothing needs attention" in html.page(found, "t")
    for failed in ({"failed": True}, {"unreachable": True}):
        (row,) = fleet({"one": {**NONE, **failed}}, TAKEN).rows
        assert not row.looked_at


def test_the_table_fits_a_terminal_and_says_how_everybody_stands() -> None:
    lines = text.table_lines(fleet(results(), TAKEN))
    assert max(map(len, lines)) <= 120
    assert lines[0].split() == [
        "HOST",
        "REPOSITORY",
        "SNAPSHOT",
        "PUBLISHED",
        "(UTC)",
        "BY",
        "STATE",
        "DRIFT",
        "WAITING",
        "FREE",
        "DIGEST",
    ]
    assert "in sync" in lines[2]
    assert lines[2].endswith("abababab")
    assert "2 upload, 1 conflict" in lines[3]
    assert "unreachable (DSG-CONNECT)" in lines[-1]


def waits(unfinished: int, cleanups: int, open_ones: int = 0) -> dict[str, Any]:
    """Return what a host tells where so much waits; recovery names the cleanups as well."""
    found = healthy()
    made = [cleanup(f"tank/dsg/.dsg/docs.old.{number}") for number in range(cleanups)]
    found["pending_cleanups"] = made
    found["unfinished"] = [one["what"] for one in made]
    found["unfinished"] += [f"transaction dead-{number} is left" for number in range(unfinished)]
    found["open_transactions"] = [f"transaction {number} is open" for number in range(open_ones)]
    return found


def cleanup(dataset: str) -> dict[str, Any]:
    what = f"{dataset} is to be destroyed"
    return {"object": dataset, "txn_id": "", "what": what, "holders": [], "next_step": ""}


WAITING: list[tuple[dict[str, Any], str]] = [
    (waits(0, 0), ""),
    (waits(1, 3), "1 unfinished, 3 cleanups"),
    (waits(0, 1), "1 cleanup"),
    (waits(2, 0, open_ones=1), "3 unfinished"),
    ({**waits(0, 0), "summary": {**healthy()["summary"], "unfinished": "?"}}, "? unfinished"),
    (
        {**waits(2, 0), "summary": {**healthy()["summary"], "cleanups": "?"}},
        "2 unfinished, ? cleanups",
    ),
    (away(), ""),
]


@pytest.mark.parametrize(("result", "said"), WAITING, ids=[said or "-" for _one, said in WAITING])
def test_everything_that_waits_is_told_once(result: dict[str, Any], said: str) -> None:
    found = fleet({"h": result, "busy": waits(7, 7)}, TAKEN)
    header, _rule, *rows = text.table_lines(found)
    at = header.index("WAITING")
    assert sorted(row[at:].split("  ")[0].strip() for row in rows) == sorted(
        ["7 unfinished, 7 cleanups", said or "-"]
    )
    cells = re.findall(r'data-label="Waiting"[^>]*><span>(.*?)</span></td>', html.page(found, "t"))
    shown = {re.sub("<.*?>", "", cell) for cell in cells}
    nothing = "no" if all(row.looked_at for row in found.rows) else ""
    assert shown == {"7 unfinished, 7 cleanups", said or nothing}


def test_the_message_is_shown_as_far_as_the_terminal_goes() -> None:
    one, other = healthy(), healthy("other")
    other["summary"]["message"] = "x" * 400
    lines = text.table_lines(fleet({"h": {"results": [one, other]}}, TAKEN))
    assert max(map(len, lines)) == 120
    assert lines[2].endswith("10.0 GiB  abababab  Corrected chapter 3")
    assert lines[3].endswith("x…")
    for told in (one, other):
        told["summary"]["message"] = ""
    assert "MESSAGE" not in text.table_lines(fleet({"h": {"results": [one, other]}}, TAKEN))[0]


def test_the_digest_makes_room_for_the_message() -> None:
    one = healthy()
    one["summary"]["by"] = "u" * 19 + "@host.example.org"
    lines = text.table_lines(fleet({"h": one}, TAKEN))
    assert max(map(len, lines)) <= 120
    assert lines[2].endswith("10.0 GiB  abababab  Corrected c…")
    one["summary"]["by"] = "u" * 22 + "@host.example.org"
    lines = text.table_lines(fleet({"h": one}, TAKEN))
    assert max(map(len, lines)) <= 120
    assert lines[2].endswith("10.0 GiB  Corrected chapter 3")
    one["summary"]["by"] = "u" * 46 + "@host.example.org"
    lines = text.table_lines(fleet({"h": one}, TAKEN))
    assert max(map(len, lines)) <= 120


def test_long_names_are_cut_where_the_terminal_ends() -> None:
    one = healthy()
    one["summary"]["by"] = "u" * 80 + "@host.example.org"
    one["summary"]["repository"] = "r" * 64
    lines = text.table_lines(fleet({"h" * 60: one}, TAKEN))
    assert max(map(len, lines)) <= 120
    assert "…" in lines[2]
    assert lines[2].endswith("10.0 GiB")


def test_wide_characters_are_cut_by_columns() -> None:
    lines = table([{"a": "名前名前名前", "b": "x"}], {"a": "A", "b": "B"}, 10, {"a": 4})
    assert lines[2] == "名前名…  x"


def test_every_problem_comes_with_its_next_step() -> None:
    problems = fleet(results(), TAKEN).problems
    lines = ["\n".join(text.problem_lines(one)) for one in problems]
    assert "error: two/docs: 1 path differs from the manifest" in lines[0]
    assert all("\n    > " in said for said in lines)
    assert any("- pid 7 (less) of bob in /sub" in said for said in lines)


def test_what_would_steer_a_terminal_is_shown_as_text() -> None:
    found = fleet({"\x1b[2Jh": hostile()}, TAKEN)
    told = "\n".join(text.table_lines(found))
    told += "\n".join("\n".join(text.problem_lines(one)) for one in found.problems)
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert r"\x1b[2Jh" in told


class Tags(HTMLParser):
    """Collects the tags of a page, and what events they would answer."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _value in attrs if name.startswith("on"))}


def test_whatever_a_host_says_is_only_text_in_the_page() -> None:
    """Also the names of what it says: a page of it has no tag that another has not."""
    page = html.page(fleet({"h": hostile()}, TAKEN), "t")
    assert Tags(page).found - {"bdi"} <= Tags(html.page(fleet(results(), TAKEN), "t")).found
    assert "\x1b" not in page


def test_metrics_are_what_prometheus_reads() -> None:
    found = samples(metrics.metrics(fleet(results(), TAKEN)))
    assert found["dsg_status_time_seconds", ()] == 1795254072
    assert of(found, "up", "one") == 1
    assert of(found, "up", "five") == 0
    assert of(found, "in_sync", "one") == 1
    assert of(found, "paths", "two", action="upload") == 2
    assert of(found, "path_states", "two", state="111 all differ") == 1
    assert of(found, "drift_paths", "two") == 1
    assert of(found, "pending_cleanups", "two") == 1
    assert of(found, "space_free_bytes", "one") == 10 << 30
    assert of(found, "problems", "two", severity="error") == 1
    assert of(found, "problems", "five", severity="error") == 1
    assert ("five", "dsg_snapshot") not in {
        (dict(labels).get("host"), name) for name, labels in found
    }


def test_metrics_tell_everything_that_waits_once() -> None:
    found = samples(metrics.metrics(fleet({"h": waits(2, 3, open_ones=1)}, TAKEN)))
    kinds = ("unfinished", "pending_cleanups", "open_transactions")
    assert [of(found, kind, "h") for kind in kinds] == [2, 3, 1]


def test_repositories_of_one_name_on_one_host_are_told_apart() -> None:
    """Also those that could not be looked at, by what the task was to look at."""
    places = [{"base": "/srv/a"}, {"base": "/srv/b/"}, {"type": "zfs", "dataset": "tank/dsg"}]
    told: list[dict[str, Any]] = [healthy(), away(), {"unreachable": True, "msg": "no route"}]
    told[0]["location"], told[1]["location"] = "/srv/a/docs", "/srv/b/docs"
    items = [{"name": "docs", "backend": place} for place in places]
    looped = [{**one, "item": item} for one, item in zip(told, items)]
    found = fleet({"h": {"results": looped}}, TAKEN)
    ups = {
        dict(labels)["location"]: value
        for (name, labels), value in samples(metrics.metrics(found)).items()
        if name == "dsg_up"
    }
    assert ups == {"/srv/a/docs": 1, "/srv/b/docs": 0, "tank/dsg/docs": 0}
    assert [one["location"] for one in found.data()["repositories"]] == list(ups)
    told[1].pop("location")
    assert [row.location for row in fleet({"h": {"results": looped}}, TAKEN).rows] == list(ups)


def test_labels_survive_whatever_they_hold() -> None:
    host = 'h"}\\\n# TYPE x'
    found = samples(metrics.metrics(fleet({host: hostile()}, TAKEN)))
    names = {dict(labels)["host"] for name, labels in found if labels}
    assert names == {host}


def test_nothing_told_is_still_a_report(tmp_path: Path) -> None:
    done = run_module(dsg_report, results={}, html=str(tmp_path / "r.html"))
    assert done["sentence"].endswith("no hosts; no problems.")
    assert "Nothing needs attention" in (tmp_path / "r.html").read_text()


def test_files_are_replaced_and_check_mode_writes_none(tmp_path: Path) -> None:
    forms = {form: str(tmp_path / f"s.{form}") for form in ("json", "html", "metrics")}
    announced = run_module(dsg_report, check=True, results=results(), **forms)
    assert announced["changed"] is True
    assert list(tmp_path.iterdir()) == []
    done = run_module(dsg_report, results=results(), **forms)
    assert sorted(done["written"]) == sorted(forms.values())
    assert sorted(map(str, tmp_path.iterdir())) == sorted(forms.values())
    assert (tmp_path / "s.html").stat().st_mode & 0o777 == 0o644
    assert run_module(dsg_report, results=results())["changed"] is False
    with pytest.raises(ModuleFailedError) as failed:
        run_module(dsg_report, results={}, html=str(tmp_path / "absent" / "r.html"))
    assert failed.value.result["error"]["code"] == "DSG-SYSTEM"


def test_the_data_has_everything_but_ansibles_own() -> None:
    one = {**healthy(), "ansible_loop_var": "item", "invocation": {}, "item": {"password": "x"}}
    found: Fleet = fleet({"one": {"results": [one]}}, TAKEN)
    (told,) = found.data()["repositories"]
    assert {"host", "state", "plan", "space", "problems"} <= told.keys()
    assert not {"item", "invocation", "ansible_loop_var"} & told.keys()


NONSENSE: dict[str, Any] = {
    "a time that is none": {"created_at": "yesterday"},
    "a list for a number": {"space": {**healthy()["space"], "size": []}},
    "no number": {"files": "many"},
    "not a number": {"bytes": float("nan")},
    "no list": {"snapshots": 7},
    "problems of nobody knows what kind": {"problems": [{"severity": "apocalypse"}]},
    "problems that are none": {"problems": "all"},
    "a summary that is none": {"summary": ["docs"]},
    "an error that is none": {"failed": True, "error": "x"},
    "a place in words": {"pending_cleanups": ["x"]},
    "unknown": {"unknown": [1]},
    "a deep one": {"states": {"x": {}}},
}
"""What a host may tell in the place of what it should."""


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_host_that_tells_nonsense_has_failed_and_the_others_are_told(
    tmp_path: Path, nonsense: str, loop: bool
) -> None:
    told = {**healthy(), **NONSENSE[nonsense], "item": {"name": "docs"}}
    evil = {"results": [told, healthy("second")]} if loop else told
    hosts = {"good": healthy(), "evil": evil, "fine": {"results": [healthy()]}}
    forms = {form: str(tmp_path / form) for form in ("json", "html", "metrics")}
    done = run_module(dsg_report, results=hosts, **forms)
    assert (done["totals"]["in_sync"], done["totals"]["failed"]) == (2 + loop, 1)
    table_of = {line.split()[0]: line for line in done["table"][2:] if "second" not in line}
    assert ["in sync" in table_of[host] for host in ("good", "evil", "fine")] == [True, False, True]
    assert "failed" in table_of["evil"]
    found = samples(Path(forms["metrics"]).read_text())
    assert [of(found, "up", host) for host in ("good", "evil", "fine")] == [1, 0, 1]
    assert of(found, "problems", "evil", severity="error") == 1
    assert [one["host"] for one in done["problems"]] == ["evil"]


@pytest.mark.parametrize("told", ["x", 7, [1], {"results": "abc"}, {"results": [1, "x", None]}])
def test_a_host_that_tells_anything_has_failed(told: Any) -> None:
    done = run_module(dsg_report, results={"good": healthy(), "evil": told})
    assert done["totals"]["in_sync"] == 1
    assert done["totals"]["failed"] >= 1
