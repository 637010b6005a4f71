# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job finds out of a repository before it takes the lock, and what only behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Union, cast

import pytest
from _core.backends.base import LocalRepository
from _core.errors import DsgError, ManifestError, RepositoryError, Unfinished
from _core.upkeep.settled import settled

HEADER = object()
Answer = Union[object, DsgError, None]


class Fake:
    """A repository whose head is the next of ``heads`` each time; tells what is asked of it."""

    location = "fake:T"

    def __init__(self, *heads: Answer, unfinished: tuple[str, ...] = ()) -> None:
        self.heads = list(heads)
        self.left = list(unfinished)
        self.asked: list[str] = []

    def head(self) -> Any:
        self.asked.append("head")
        head = self.heads.pop(0)
        if isinstance(head, DsgError):
            raise head
        return head

    def unfinished(self) -> list[str]:
        return self.left

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        self.asked.append("lock")
        yield
        self.asked.append("unlock")

    def require_rights(self) -> None:
        self.asked.append("rights")

    def recover(self) -> list[str]:
        self.asked.append("recover")
        return self.left


def enter(fake: Fake, *, check: bool = False) -> list[str]:
    with settled(cast(LocalRepository, fake), 0, check=check) as done:
        return list(done)


def test_a_job_holds_the_lock_of_what_is_there() -> None:
    fake = Fake(HEADER, HEADER, unfinished=("undid it",))
    assert enter(fake) == ["undid it"]
    assert fake.asked == ["head", "rights", "lock", "recover", "head", "unlock"]


@pytest.mark.parametrize(
    "broken", [Unfinished("not mounted"), ManifestError("damaged")], ids=["hidden", "damaged"]
)
def test_what_a_crash_left_unreadable_is_recovered(broken: DsgError) -> None:
    fake = Fake(broken, HEADER, unfinished=("finished it",))
    assert enter(fake) == ["finished it"]


def test_somebody_may_finish_it_while_we_look() -> None:
    """A first publication shows for a moment as unfinished; then there is nothing left to finish."""
    assert enter(Fake(Unfinished("not mounted"), HEADER)) == []


@pytest.mark.parametrize("check", [False, True])
def test_what_is_no_repository_is_not_locked(check: bool) -> None:
    for head, kind in ((None, RepositoryError), (ManifestError("none"), ManifestError)):
        fake = Fake(head)
        with pytest.raises(kind):
            enter(fake, check=check)
        assert fake.asked == ["head"]


def test_what_is_taken_away_before_we_hold_it_is_refused() -> None:
    fake = Fake(HEADER, None)
    with pytest.raises(RepositoryError, match="does not exist"):
        enter(fake)
    assert fake.asked[:3] == ["head", "rights", "lock"]


def test_a_dry_run_takes_no_lock() -> None:
    fake = Fake(HEADER, unfinished=("to be undone",))
    assert enter(fake, check=True) == ["to be undone"]
    assert fake.asked == ["head", "rights"]
