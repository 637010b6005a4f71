# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run looks like to people and playbooks is shaped from one list of differences."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dsg.storage.plugins.module_utils import _report
from ansible_collections.dsg.storage.plugins.module_utils._core.manifest.entry import (
    DIRECTORY,
    FILE,
    LINK,
    Entry,
)
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.plan import ORDER, Plan, Step
from ansible_collections.dsg.storage.plugins.module_utils._core.plan.states import STATES


def file(path: str = "a", size: int = 1, content: str = "1", mode: int = 0o644) -> Entry:
    return Entry(path, FILE, size, 1_700_000_000_000_000_000, mode, content * 64, "", "ann")


def link(target: str) -> Entry:
    return Entry("a", LINK, 0, 0, 0, "", target, "ann")


EMPTY = Entry("a", DIRECTORY, 0, 0, 0, "", "", "ann")


def step(action: str, local: Any = None, remote: Any = None, **more: Any) -> Step:
    return Step("a", more.pop("state", "111"), action, local, None, remote, **more)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, file(size=9), "new, 9 bytes, mode 0644"),
        (None, file(mode=0o755), "new, 1 bytes, mode 0755"),
        (None, link("../b"), "new, link to ../b"),
        (None, EMPTY, "new, empty directory"),
        (file(), None, "deleted"),
        (file(size=5), file(size=7, content="2"), "changed, 5 -> 7 bytes"),
        (file(size=5), file(size=5, content="2"), "changed, 5 bytes"),
        (file(), file(mode=0o755), "mode 0644 -> 0755"),
        (file(), file(mode=0o600, content="2"), "changed, 1 bytes, mode 0644 -> 0600"),
        (file(), link("b"), "was 1 bytes, mode 0644, becomes link to b"),
        (link("b"), link("c"), "link to b -> c"),
        (EMPTY, file(), "was empty directory, becomes 1 bytes, mode 0644"),
    ],
)
def test_a_change_is_told_in_words(before: Any, after: Any, text: str) -> None:
    assert _report.describe_change(before, after) == text
    assert _report.describe(step("upload", local=after or file(), remote=before)) != ""


def test_uploads_and_downloads_are_told_from_old_to_new() -> None:
    old, new = file(size=1), file(size=2, content="2")
    assert _report.describe(step("upload", local=new, remote=old)) == "changed, 1 -> 2 bytes"
    assert _report.describe(step("download", local=old, remote=new)) == "changed, 1 -> 2 bytes"


def test_a_decided_conflict_names_the_winner() -> None:
    decided = step("upload", local=file(content="2"), remote=file(), taken="local")
    assert _report.describe(decided) == "changed, 1 bytes; conflict, the local version wins"


@pytest.mark.parametrize("action", ORDER)
def test_every_action_is_told_and_only_held_and_conflicts_change_nothing(action: str) -> None:
    differences = _report.Differences()
    differences.add_plan(Plan([step(action, local=file(), remote=file(content="2"))]))
    text = differences.diff("header", 10)["prepared"]
    assert differences.changed == (action not in ("held", "conflict"))
    assert bool(text) == differences.changed
    if differences.changed:
        assert text.splitlines()[0] == "header"
        assert text.splitlines()[1].startswith(action.replace("_", " ") + " ")


def test_what_was_put_off_is_not_announced_as_done() -> None:
    differences = _report.Differences()
    differences.add_plan(Plan([step("download", local=file(), remote=file())]), {"a"})
    assert not differences.changed


def test_a_long_diff_says_how_much_is_left_out() -> None:
    differences = _report.Differences()
    for number in range(12):
        differences.add("upload", f"f{number}")
    lines = differences.diff("header", 10)["prepared"].splitlines()
    assert len(lines) == 12
    assert lines[-1] == "... and 2 more"


def test_a_strange_name_stays_on_its_line() -> None:
    assert _report.shown_path("a\nupload  b") == "'a\\nupload  b'"
    assert _report.shown_path("größe/文字") == "größe/文字"


def test_lists_are_capped_and_counts_are_not() -> None:
    plan = Plan([Step(f"p{n}", "100", "upload", file(), None, None) for n in range(5)])
    data = _report.plan_data(plan, 3)
    assert data["counts"]["upload"] == 5
    assert data["paths"] == {"upload": ["p0", "p1", "p2"]}
    assert data["truncated"]
    whole = _report.plan_data(plan, 5)
    assert (len(whole["paths"]["upload"]), whole["truncated"]) == (5, False)


def test_a_conflict_shows_both_sides() -> None:
    state = next(state for state in STATES if state == "111 all differ")
    plan = Plan([step("conflict", local=file(mode=0o755), remote=link("b"), state=state)])
    assert _report.conflicts_data(plan, 10) == [
        {
            "path": "a",
            "state": "111 all differ",
            "clashes_with": "",
            "local": {
                "type": "file",
                "size": 1,
                "mode": "0755",
                "sha256": "1" * 64,
                "target": "",
                "mtime": "2023-11-14T22:13:20Z",
                "user": "ann",
            },
            "remote": {
                "type": "symlink",
                "size": 0,
                "mode": "",
                "sha256": "",
                "target": "b",
                "mtime": "",
                "user": "ann",
            },
        }
    ]
    absent = Plan([step("conflict", local=file(), state="101 L≠R")])
    assert _report.conflicts_data(absent, 10)[0]["remote"] is None
    assert _report.conflicts_data(plan, 0) == []


def test_a_summary_is_one_line() -> None:
    counts = Plan([step("upload", local=file()), step("conflict", local=file())]).counts()
    assert _report.summarise_counts(counts) == "1 upload, 1 conflict"
    assert _report.summarise_counts(Plan().counts()) == "none"
    assert (_report.summarise_snapshot(3), _report.summarise_snapshot(None)) == ("s3", "-")


EVIL = "\x1b]0;owned\x07\x1b[2J\u202etxt.exe\r\n\x9b31m"


def test_nothing_in_a_diff_is_a_command_for_a_terminal() -> None:
    """Ansible prints what is prepared as it is, and a storage host may have said it."""
    found = _report.Differences()
    found.add("recover", f"undone: {EVIL}", EVIL)
    found.add("fetch", "\N{SNOWMAN} d\u00e9j\u00e0 vu")
    lines = found.diff(f"recovery of {EVIL}", 10)["prepared"].split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert "\\x1b]0;owned" in lines[1]
    assert lines[2].endswith("\N{SNOWMAN} d\u00e9j\u00e0 vu")
