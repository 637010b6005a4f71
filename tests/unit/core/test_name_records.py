# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of what syncs renamed: which one is the newest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from _core.client import names
from _core.client.working_copy import WorkingCopy
from _core.errors import WorkingCopyError
from _core.manifest.portable import Rename, Retarget


@pytest.mark.parametrize("later", ["20260101T000000Z-00", "20250101T000000Z-ff"])
def test_the_newest_record_is_the_last_one_written_whatever_the_clock_says(tmp_path, later):
    """Of two within one second, the chance of their ids decided; a clock set back hid the newer."""
    copy = WorkingCopy(str(tmp_path))
    for txn, renamed in (("20260101T000000Z-ff", "first"), (later, "second")):
        path = Path(copy.root, names.new_path(copy, txn))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(names.encode([Rename(renamed, "new")], [], {"new": "file"}))
    newest = names.newest(copy)
    assert newest.renames == [Rename("second", "new")]
    assert newest.kinds == {"new": "file"}
    assert Path(copy.root, newest.path) == path


def test_a_record_of_before_kinds_were_written_is_read(tmp_path):
    copy = WorkingCopy(str(tmp_path))
    path = Path(copy.root, names.new_path(copy, "20260101T000000Z-ff"))
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 1, "renames": [["a:", "a_"]], "links": [["l", "a:", "a_"]]}\n')
    newest = names.newest(copy)
    assert newest.renames == [Rename("a:", "a_")]
    assert newest.retargets == [Retarget("l", "a:", "a_")]
    assert newest.kinds == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"renames": [["../victim", "new"]]},
        {"renames": [["old", "/victim"]]},
        {"renames": [["old", "d/../../victim"]]},
        {"renames": [["old", ".dsg/journal"]]},
        {"renames": [["old", 1]]},
        {"renames": [["old"]]},
        {"renames": "ab"},
        {"links": [["../victim", "a", "b"]]},
        {"links": [["l", "a", None]]},
        {"kinds": ["file"]},
        {"renames": [["\ud800", "new"]]},
    ],
    ids=str,
)
def test_a_record_names_only_what_is_in_the_tree(tmp_path, changed):
    copy = WorkingCopy(str(tmp_path))
    path = Path(copy.root, names.new_path(copy, "20260101T000000Z-ff"))
    path.parent.mkdir(parents=True)
    whole = {"format": 1, "renames": [["old", "new"]], "links": [["l", "a", "b"]], "kinds": {}}
    path.write_text(json.dumps(whole))
    assert names.newest(copy).renames == [Rename("old", "new")]
    path.write_text(json.dumps({**whole, **changed}))
    with pytest.raises(WorkingCopyError, match="damaged") as caught:
        names.newest(copy)
    assert caught.value.object == str(path)


def test_a_record_that_is_a_link_is_none(tmp_path):
    copy = WorkingCopy(str(tmp_path / "copy"))
    path = Path(copy.root, names.new_path(copy, "20260101T000000Z-ff"))
    path.parent.mkdir(parents=True)
    (tmp_path / "theirs").write_bytes(names.encode([Rename("old", "new")], [], {}))
    os.symlink(tmp_path / "theirs", path)
    with pytest.raises(WorkingCopyError, match="none of our records"):
        names.newest(copy)
