# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who decides for a fleet: the process that started the task's worker, as long as it is there."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

from ansible_collections.dsg.storage.plugins.action import dsg_sync

FORK = multiprocessing.get_context("fork")


def worker(answer: Connection, *, orphaned: bool) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while orphaned and os.getppid() == parent.pid:
        os.sched_yield()
    answer.send(dsg_sync._of_the_fleet("h1"))


def playbook(answer: Connection, *, orphaned: bool) -> None:
    """Start a worker as Ansible does; wait for it, or be killed."""
    started = FORK.Process(target=worker, args=(answer,), kwargs={"orphaned": orphaned})
    started.start()
    answer.send(os.getpid())
    if orphaned:
        os._exit(0)
    started.join()


def told(*, orphaned: bool) -> tuple[int, dict[str, object]]:
    """Return the number of the process in between, and what its worker would tell a phase."""
    here, there = FORK.Pipe()
    running = FORK.Process(target=playbook, args=(there,), kwargs={"orphaned": orphaned})
    running.start()
    said = [here.recv(), here.recv()]
    running.join()
    said.sort(key=lambda one: isinstance(one, dict))
    return said[0], said[1]


def test_the_coordinator_is_who_started_the_worker() -> None:
    number, found = told(orphaned=False)
    assert found["fleet_coordinator"] == number
    assert str(found["fleet"]).endswith(f"-{number}")


def test_a_worker_whose_playbook_was_killed_begins_nothing() -> None:
    """Its new parent is another one, and perhaps never ends: nobody could recover what it holds."""
    _number, found = told(orphaned=True)
    assert found == {"fleet_host": "h1"}
