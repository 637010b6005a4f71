# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees while a run goes on."""

from __future__ import annotations

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._core.sync.progress import Meter, Progress
from ansible_collections.dsg.storage.plugins.plugin_utils._progress_lines import (
    ProgressLines,
    duration,
    line,
    size,
)

GIB = 1 << 30


def test_a_line_has_files_bytes_rate_and_remaining_time() -> None:
    moment = Progress("upload", 1200, 20_000, GIB // 2, GIB, 4.0)
    assert line("store1", moment) == (
        "store1: upload, 1,200/20,000 files, 512.0 MiB of 1.0 GiB, 128.0 MiB/s, 0:04 left"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert line("store1", Progress("scan", 0, 0, 0, 0, 1.0)) == "store1: scan"
    assert line("store1", Progress("upload", 0, 2, 0, 9, 0.0)) == (
        "store1: upload, 0/2 files, 0 B of 9 B"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (3600, "1:00:00"), (90_061, "25:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 60, "5120.0 PiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


def test_lines_come_at_intervals_and_not_for_a_short_run() -> None:
    said: list[str] = []
    short = Meter(ProgressLines("store1", said.append, interval=3600.0))
    short.begin("upload", 2, 10)
    short.advance(1, 5)
    assert said == []
    every = Meter(ProgressLines("store1", said.append, interval=0.0))
    every.begin("upload", 2, 10)
    every.advance(1, 5)
    assert [text.partition(", ")[2][:9] for text in said] == ["0/2 files", "1/2 files"]
