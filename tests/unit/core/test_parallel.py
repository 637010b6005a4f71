# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forked workers: results in order, errors as data, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from _core.errors import SourceChanged
from _core.posix.parallel import MIN_COST, WorkerError, fork_map

ITEMS = tuple(range(500))


def fork(function, items=ITEMS, workers=2):
    return fork_map(function, items, cost=lambda _unused: MIN_COST, workers=workers)


def squares(items: Sequence[int]) -> Iterator[bytes]:
    for item in items:
        yield b"%d" % (item * item)


def fail_at_300(error: BaseException):
    def function(items: Sequence[int]) -> Iterator[bytes]:
        for item in items:
            if item == 300:
                raise error
            yield b""

    return function


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """Every test: no child of it remains, dead or alive, and no descriptor stays open.

    Other tests of the same process may have children that live on: virtual hosts.
    """
    before, children = os.listdir("/proc/self/fd"), _children()
    yield
    assert _children() <= children
    assert len(os.listdir("/proc/self/fd")) == len(before)


def _children() -> set[str]:
    """Return the process ids of this process's children, dead ones that nobody waited for as well."""
    found: set[str] = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as stream:
            found.update(stream.read().split())
    return found


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert fork(squares, workers=workers) == list(squares(ITEMS))


def test_results_may_be_empty_or_large() -> None:
    def blow_up(items: Sequence[int]) -> Iterator[bytes]:
        for item in items:
            yield b"x" * (item % 3 * 300_000)

    assert fork(blow_up, ITEMS[:20]) == list(blow_up(ITEMS[:20]))


def test_no_items_are_fine() -> None:
    assert fork(squares, []) == []


def test_the_work_is_done_in_other_processes(tmp_path: Path) -> None:
    def who(items: Sequence[int]) -> Iterator[bytes]:
        (tmp_path / str(os.getpid())).touch()
        while len(os.listdir(tmp_path)) < 2:  # let the other worker have some
            time.sleep(0.001)
        for _unused in items:
            yield b"%d" % os.getpid()

    workers = set(fork(who))
    assert b"%d" % os.getpid() not in workers
    assert len(workers) == 2


def test_little_work_stays_in_this_process() -> None:
    def who(items: Sequence[int]) -> Iterator[bytes]:
        return (b"%d" % os.getpid() for _unused in items)

    assert set(fork_map(who, ITEMS, workers=2)) == {b"%d" % os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_ours_arrives_whole(workers: int) -> None:
    sent = SourceChanged("went", object="a/\udcff", details=["one"], next_step="step")
    with pytest.raises(SourceChanged) as caught:
        fork(fail_at_300(sent), workers=workers)
    assert caught.value.as_dict() == sent.as_dict()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_system_error_keeps_its_number_and_name(workers: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fork(fail_at_300(FileNotFoundError(2, "No such file", "x\udcff")), workers=workers)
    assert (caught.value.errno, caught.value.filename) == (2, "x\udcff")


def test_a_fault_arrives_with_its_traceback() -> None:
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        fork(fail_at_300(ZeroDivisionError("oops")))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_result_too_few_is_an_error(workers: int) -> None:
    with pytest.raises(WorkerError, match="results for"):
        fork(lambda items: [b""] * (len(items) - 1), workers=workers)


def test_a_killed_worker_is_an_error() -> None:
    def die(items: Sequence[int]) -> Iterator[bytes]:
        if 300 in items:
            os.kill(os.getpid(), signal.SIGKILL)
        return squares(items)

    with pytest.raises(WorkerError):
        fork(die)


def test_a_worker_that_leaves_quietly_is_an_error() -> None:
    def leave(items: Sequence[int]) -> Iterator[bytes]:
        if 300 in items:
            os._exit(0)
        return squares(items)

    with pytest.raises(WorkerError, match="not done"):
        fork(leave)


def test_workers_do_not_run_the_cleanup_of_their_parent(tmp_path: Path) -> None:
    """A signal that reaches the whole group must not make a worker roll back for its parent."""
    witness = tmp_path / "handlers"
    code = f"""
import atexit, os, signal, sys
sys.path.insert(0, {str(Path(sys.modules["_core"].__file__).parents[1])!r})
from _core.posix.parallel import MIN_COST, WorkerError, fork_map

def cleanup(*_):
    with open({str(witness)!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")

atexit.register(cleanup)
signal.signal(signal.SIGTERM, cleanup)

def work(items):
    try:
        for item in items:
            if item == 50:
                os.kill(os.getpid(), signal.SIGTERM)
            yield b""
    finally:
        pass

try:
    fork_map(work, range(100), cost=lambda _: MIN_COST, workers=2)
except WorkerError as exc:
    print(os.getpid(), exc)
"""
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert "status 15" in result.stdout
    parent = result.stdout.split()[0]
    assert witness.read_text().split() == [parent]


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
sys.path.insert(0, {str(Path(sys.modules["_core"].__file__).parents[1])!r})
from _core.posix.parallel import MIN_COST, fork_map

def hang(items):
    print(os.getpid(), flush=True)
    time.sleep(20)
    print("survived", flush=True)
    yield b""

fork_map(hang, range(2), cost=lambda _: MIN_COST, workers=2)
"""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        for _unused in range(2):
            parent.stdout.readline()
        parent.kill()
        # The pipe ends when the last process that holds it is gone.
        assert parent.stdout.read() == ""
