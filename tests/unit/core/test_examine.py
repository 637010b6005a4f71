# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A large directory is read in parts: one that cannot be entered is a finding, whichever it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from _core.manifest.scan import scan_tree
from _core.posix.beneath import Beneath
from _core.upkeep.examine import UNREADABLE, examine

FILES = 200


@pytest.mark.parametrize("failing", [{1}, {2}, {1, 2, 3}, {1, 2, 3, 4}])
def test_no_part_is_left_out_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: set[int]
) -> None:
    (tmp_path / "many").mkdir()
    for number in range(FILES):
        (tmp_path / "many" / f"f{number:03}").write_text(str(number))
    entries = scan_tree(str(tmp_path), checksum=True).entries
    assert examine(str(tmp_path), entries, {}, learn=False, workers=1).files == FILES
    entered: list[str] = []
    directory = Beneath.directory

    def fails(self: Beneath, path: str) -> int:
        if path == "many":
            entered.append(path)
            if len(entered) in failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return directory(self, path)

    monkeypatch.setattr(Beneath, "directory", fails)
    found = examine(str(tmp_path), entries, {}, learn=False, workers=1)
    assert [(one.path, one.what) for one in found.findings] == [("many", UNREADABLE)]
    assert "not checked" in found.findings[0].detail
    assert found.files < FILES
