# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads a tree while it is replaced, and what a transaction costs."""

from __future__ import annotations

from collections.abc import Callable

from tests.zfs.link import Guest

Say = Callable[[object], None]
COMMITS = 100
COMMIT = ["zfs get", "zfs set", "zfs rename", "zfs rename", "zfs get", "zfs inherit"]


def test_readers_see_whole_trees_only(guest: Guest, say: Say) -> None:
    """Old, then new: never an error, never a mixture, never back; one has its own namespace."""
    found = guest.do("readers.oracle", commits=COMMITS)
    say(found)
    assert set(found) == {"of the host", "of a namespace"}
    for seen in found.values():
        assert (seen["errors"], seen["mixtures"], seen["back"]) == (0, 0, 0)
        assert (
            seen["last"] == int(str(COMMITS + 1) * 3)
            and seen["generations"] > COMMITS // 2
            and seen["reads"] > 1000
        )


def test_what_readers_of_other_namespaces_see(guest: Guest) -> None:
    """Who follows the host's mounts gets the new tree; what docs/transactions.md says of the others."""
    guest.do("namespaces.readers")


def test_a_transaction_starts_few_processes(guest: Guest, say: Say) -> None:
    """How long it takes next to the bare commands is told; a busy machine must not fail a test."""
    figures = guest.do("readers.cost", rounds=3)
    say(figures)
    assert figures["processes"] <= 18


def test_a_commit_is_the_same_for_any_number_of_files(guest: Guest, say: Say, stride: int) -> None:
    """The same few processes from the fence to the switched tree; how long it takes is told."""
    sizes = (1, 20_000 if stride == 1 else 1_000)
    found = [guest.do("readers.commit_of", files=files, rounds=2) for files in sizes]
    say(found)
    commits = [commands for figures in found for commands in figures["commits"]]
    assert len(commits) == 4
    for first, *others in commits:  # what mounting alone has written may have to be told from more
        assert [first, *(one for one in others if one != "zfs diff")] == COMMIT
        assert others.count("zfs diff") <= 1
