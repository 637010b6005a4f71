# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleet transactions for the crash tests: three hosts below one root, all steps in one process.

``h1`` and ``h2`` are at s1 and have something to update, ``h3`` holds nothing yet. The process that does
the steps is its own coordinator, so that who kills it kills that as well.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

from _core.client.fleet import COMMIT, ROLLBACK
from _core.errors import DsgError
from _core.plan.policy import Policy
from _core.sync.fleet.decision import decide
from _core.sync.phases import run
from _core.sync.recovery import recover
from _core.sync.request import FULL, PREPARE, SyncRequest
from _core.sync.status import inspect
from _core.sync.verify import verify_repository

from .jobs import OURS, Work, come_up, copy_tree, told, write_out
from .scenarios import REPOSITORY, Tree, backend, pinned, provision, request
from .state import state

HOSTS = ("h1", "h2", "h3")
FLEET = "f-1"

CASES = {
    "fleet commit": (COMMIT, ""),
    "fleet rollback": (ROLLBACK, ""),
    "recover decided fleet": (COMMIT, "decided"),
    "recover undecided fleet": (COMMIT, "prepared"),
}
"""By name: what is decided, and where the process died whose recovery is swept ('': none did)."""


def fleet_build(*, root: str, keep: str) -> Work:
    """Make the state before at ``root`` and keep a copy of it at ``keep``."""

    def work() -> object:
        for old in (root, keep):
            shutil.rmtree(old, ignore_errors=True)
        _build(root)
        copy_tree(root, keep)
        return fleet_state(root)

    return work


def fleet_build_here(*, root: str) -> Work:
    """Make the state before at ``root``, where file systems are mounted, and have it on disk."""

    def work() -> object:
        _build(root)
        write_out(root)
        return fleet_state(root)

    return work


def fleet_attempt(*, case: str, root: str, keep: str = "") -> Work:
    """Put the state before in place, then do all steps, or the recovery after a death."""
    if keep:
        shutil.rmtree(root, ignore_errors=True)
        copy_tree(keep, root)
    decision, crash = CASES[case]
    if not crash:
        return lambda: told(lambda: _steps(root, decision))
    pid = os.fork()
    if pid == 0:
        _steps(root, decision, until=crash)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    return lambda: told(lambda: _recover(root))


def fleet_aftermath(*, root: str) -> Work:
    """Look at what was left, recover twice, look again, and let the next transaction work."""

    return lambda: _aftermath(root)


def fleet_after_cut(*, root: str, images: dict[str, str]) -> Work:
    """Come up after a power cut: mount copies of the images in place, and see to what is there."""

    def work() -> object:
        come_up(images)
        return _aftermath(root)

    return work


def fleet_rerun(*, root: str) -> Work:
    """Sync every host alone, with nobody calling for a recovery."""

    def work() -> object:
        def sync() -> object:
            for number, host in enumerate(HOSTS, OURS):
                with pinned(number):
                    run(_request(root, host, FULL))
            return None

        return {"outcome": told(sync), "state": fleet_state(root)}

    return work


def look_at_fleet(*, root: str) -> Work:
    """Return the state of all."""
    return lambda: fleet_state(root)


JOBS: dict[str, Callable[..., Work]] = {
    job.__name__: job
    for job in (
        fleet_build,
        fleet_build_here,
        fleet_attempt,
        fleet_aftermath,
        fleet_after_cut,
        fleet_rerun,
        look_at_fleet,
    )
}


def fleet_state(root: str) -> dict[str, object]:
    """Return the working copy's state, each host's, and what is left."""
    seen = {host: state(os.path.join(root, host), "../wc") for host in HOSTS}
    left = sorted({f"{host}: {line}" for host in HOSTS for line in _left(seen[host])})
    return {
        "client": seen[HOSTS[0]]["client"],
        "repositories": {host: seen[host]["repository"] for host in HOSTS},
        "left": left,
    }


def _build(root: str) -> None:
    for host in HOSTS:
        provision(os.path.join(root, host))
    tree = Tree(os.path.join(root, "wc"))
    tree.write("same", "same\n")
    tree.write("change", "old\n")
    tree.write("gone/away", "old\n")
    for number, host in enumerate(HOSTS[:2], 1):
        with pinned(number):
            run(_request(root, host, FULL))
    tree.write("change", "new, and longer\n")
    tree.write("new/file", "new\n")
    tree.link("new/link", "file")
    tree.remove("gone")


def _aftermath(root: str) -> dict[str, object]:
    seen: dict[str, object] = {"at_once": fleet_state(root)}
    seen["status"] = told(lambda: [line for h in HOSTS for line in _unfinished(root, h)])
    for turn in ("first", "second"):
        seen[turn] = told(lambda: _recover(root))
        seen[f"{turn}_state"] = fleet_state(root)
    seen["next"] = told(lambda: _steps(root, COMMIT))
    seen["next_state"] = fleet_state(root)
    seen["sound"] = told(lambda: [_is_sound(root, host) for host in HOSTS])
    return seen


def _left(seen: dict[str, object]) -> list[str]:
    assert isinstance(seen["left"], list)
    return seen["left"]


def _steps(root: str, decision: str, until: str = "") -> object:
    prepared = []
    for number, host in enumerate(HOSTS, OURS):
        with pinned(number):
            prepared.append(run(_request(root, host, PREPARE)).txn_id)
    if until == "prepared":
        return None
    src = os.path.join(root, "wc")
    stands = decide(src, FLEET, decision, [txn_id for txn_id in prepared if txn_id])
    if until == "decided":
        return None
    results = [run(_request(root, host, stands)) for host in HOSTS]
    return {"decision": stands, "snapshots": [result.snapshot for result in results]}


def _request(root: str, host: str, phase: str) -> SyncRequest:
    asked = request(os.path.join(root, host), "auto", Policy(max_delete="100%"))
    asked = asked._replace(src=os.path.join(root, "wc"))
    if phase == FULL:
        return asked
    return asked._replace(phase=phase, fleet=FLEET, host=host, coordinator=os.getpid())


def _recover(root: str) -> list[str]:
    src = os.path.join(root, "wc")
    done = []
    for host in HOSTS:
        done += recover(src, REPOSITORY, backend(os.path.join(root, host)), 0.0)
    return done


def _unfinished(root: str, host: str) -> list[str]:
    return inspect(_request(root, host, FULL)).unfinished


def _is_sound(root: str, host: str) -> bool:
    try:
        return verify_repository(REPOSITORY, backend(os.path.join(root, host))).sound
    except DsgError as exc:
        return str(exc) == ""
