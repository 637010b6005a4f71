# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads a tree while it is replaced, and what a transaction costs."""

from __future__ import annotations

from collections.abc import Callable

from tests.zfs.link import Guest

Say = Callable[[object], None]
COMMITS = 100


def test_a_reader_sees_whole_trees_only(guest: Guest, say: Say) -> None:
    """Old, then new: never an error, never a mixture, never back."""
    seen = guest.do("readers.oracle", commits=COMMITS)
    say(seen)
    assert (seen["errors"], seen["mixtures"], seen["back"]) == (0, 0, 0)
    assert (
        seen["last"] == int(str(COMMITS + 1) * 3)
        and seen["generations"] > COMMITS // 2
        and seen["reads"] > 1000
    )


def test_a_transaction_starts_few_processes(guest: Guest, say: Say) -> None:
    """How long it takes next to the bare commands is told; a busy machine must not fail a test."""
    figures = guest.do("readers.cost", rounds=3)
    say(figures)
    assert figures["processes"] <= 18
