# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees while a run goes on."""

from __future__ import annotations

import queue
import threading

import pytest
from ansible_collections.dsg.storage.plugins.module_utils._core.posix.progress import (
    Progress,
    advance,
    begin,
)
from ansible_collections.dsg.storage.plugins.plugin_utils._progress_lines import (
    duration,
    line,
    progress_lines,
    size,
)

GIB = 1 << 30
ENOUGH = 60.0
"""Seconds after which a line that must come is taken never to do so."""


def test_a_line_has_files_bytes_rate_and_remaining_time() -> None:
    moment = Progress("upload", 1200, 20_000, GIB // 2, GIB, 4.0)
    assert line("store1", moment) == (
        "store1: upload, 1,200/20,000 files, 512.0 MiB of 1.0 GiB, 128.0 MiB/s, 0:04 left"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert line("store1", Progress("prepare", 0, 0, 0, 0, 75.0)) == "store1: prepare, 1:15 so far"
    assert line("store1", Progress("scan", 1200, 0, 0, 0, 1.0)) == (
        "store1: scan, 1,200 files, 0:01 so far"
    )
    assert line("store1", Progress("plan", 0, 0, GIB, 0, 4.0)) == (
        "store1: plan, 1.0 GiB, 256.0 MiB/s, 0:04 so far"
    )
    assert line("store1", Progress("upload", 0, 2, 0, 9, 0.0)) == (
        "store1: upload, 0/2 files, 0 B of 9 B, 0:00 so far"
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


def test_a_short_run_says_nothing() -> None:
    said: list[str] = []
    with progress_lines("store1", said.append, interval=3600.0):
        begin("upload", 2, 10)
        advance(1, 5)
    assert said == []


def test_lines_come_at_intervals_also_while_nothing_moves() -> None:
    said: queue.Queue[str] = queue.Queue()
    before = threading.active_count()

    def come(expected: str) -> None:
        while not said.get(timeout=ENOUGH).startswith(expected):
            pass

    with progress_lines("store1", said.put, interval=0.01):
        come("store1: start, 0:00 so far")
        begin("upload", 2, 10)
        come("store1: upload, 0/2 files, 0 B of 10 B")
        advance(1, 5)
        for _unused in range(3):
            come("store1: upload, 1/2 files, 5 B of 10 B, ")
    assert threading.active_count() == before, "nothing speaks behind the end of a run"
    advance(1, 5)  # nobody counts any more


def test_a_run_that_fails_is_silent_afterwards() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), progress_lines("store1", print, interval=3600.0):
        raise KeyError
    assert threading.active_count() == before
