# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One function over many items in forked workers: for work that is many system calls per item.

Python's threads do not help where each item is a handful of short calls, and multiprocessing costs
more to import than most trees take to hash. Workers share the parent's memory as of the fork, pull
pieces of the work from a pipe, and send back bytes.
"""

from __future__ import annotations

import os
import select
import signal
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

from . import progress
from .durable import write_all

T = TypeVar("T")
Work = Callable[[Sequence[T]], Iterable[bytes]]

MAX_WORKERS = 8
ITEM_COST = 16 * 1024
"""What handling an item costs beside its bytes, expressed in bytes of hashing."""
MIN_COST = 16 * 1024 * 1024
"""Work below this (some 10 ms) is done in the calling process."""

_PIECES = 16  # per worker, so that a slow piece at the end does not leave the others idle
_MAX_PIECES = 1024  # their numbers fit into one page, the least that a pipe holds
_NUMBER = struct.Struct("<I")
_FRAME = struct.Struct("<III")  # number of the piece, number of results, bytes that follow
_FAILED = 0xFFFFFFFF  # instead of a number of results: an error follows
_READ = 1024 * 1024
_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


class WorkerError(RuntimeError):
    """A worker ended without its results: a fault of the program, or killed from outside."""


def default_workers() -> int:
    """Return how many workers this process may keep busy."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)


def fork_map(
    function: Work[T],
    items: Sequence[T],
    *,
    cost: Callable[[T], int] | None = None,
    workers: int | None = None,
) -> list[bytes]:
    """Return what ``function`` yields for ``items``, in their order.

    ``function`` gets a slice of ``items`` and yields exactly one ``bytes`` for each. It runs in a
    forked child, several times with different slices; what else it changes in memory is lost.
    ``cost(item)`` is its number of bytes to read or copy. Little work, or one worker, is done in the
    calling process.

    A :class:`DsgError` or ``OSError`` raised in a worker is raised here, other exceptions as
    :class:`WorkerError` with the worker's traceback; the other workers are then killed. A worker is
    killed when the calling thread ends, leaves no zombie, and never runs cleanup of its parent.
    """
    count = default_workers() if workers is None else workers
    costs = [ITEM_COST] * len(items) if cost is None else [ITEM_COST + cost(i) for i in items]
    pieces = _cut(costs, count * _PIECES)
    count = min(count, len(pieces))
    if count <= 1 or sum(costs) < MIN_COST:
        return _call(function, items)
    crew = _Crew(function, items, pieces)
    try:
        for _unused in range(count):
            crew.hire()
        return crew.results()
    finally:
        crew.dismiss()


def _call(function: Work[T], items: Sequence[T]) -> list[bytes]:
    results = list(function(items))
    if len(results) != len(items):
        raise WorkerError(f"{len(results)} results for {len(items)} items")
    return results


def _cut(costs: Sequence[int], number: int) -> list[tuple[int, int]]:
    """Cut the items into at most about ``number`` ranges of similar cost."""
    share = sum(costs) // min(max(number, 1), _MAX_PIECES // 2) + 1
    pieces = []
    start = total = 0
    for position, cost in enumerate(costs, 1):
        total += cost
        if total >= share:
            pieces.append((start, position))
            start, total = position, 0
    if start < len(costs):
        pieces.append((start, len(costs)))
    return pieces


class _Crew:
    """The workers of one call, seen from the parent."""

    def __init__(
        self,
        function: Callable[[Sequence[T]], Iterable[bytes]],
        items: Sequence[T],
        pieces: Sequence[tuple[int, int]],
    ) -> None:
        self._pieces = pieces
        self._job = lambda start, stop: _call(function, items[start:stop])
        self._queue = _queue(len(pieces))
        self._workers: dict[int, int] = {}  # read end of the worker's pipe: its process id
        self._received: dict[int, bytearray] = {}
        self._done: dict[int, list[bytes]] = {}

    def hire(self) -> None:
        """Start a worker. Signals wait meanwhile, lest the child runs the parent's handlers."""
        read_end, write_end = os.pipe()
        parent, number = os.getpid(), len(self._workers) + 1
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            pid = os.fork()
            if pid == 0:
                _live(parent, number, held, self._queue, write_end, self._pieces, self._job)
            self._workers[read_end] = pid
            self._received[read_end] = bytearray()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.close(write_end)

    def results(self) -> list[bytes]:
        """Collect until every piece is done."""
        poll = select.poll()
        for fd in self._workers:
            poll.register(fd, select.POLLIN)
        while self._workers:
            for fd, _event in poll.poll():
                data = os.read(fd, _READ)
                if data:
                    self._receive(self._received[fd], data)
                else:
                    poll.unregister(fd)
                    self._part(fd)
        missing = len(self._pieces) - len(self._done)
        if missing:
            raise WorkerError(f"{missing} of {len(self._pieces)} pieces were not done")
        return [result for number in range(len(self._pieces)) for result in self._done[number]]

    def _receive(self, received: bytearray, data: bytes) -> None:
        received += data
        start = 0
        while len(received) - start >= _FRAME.size:
            number, count, length = _FRAME.unpack_from(received, start)
            stop = start + _FRAME.size + length
            if len(received) < stop:
                break
            payload = bytes(received[start + _FRAME.size : stop])
            start = stop
            if count == _FAILED:
                raise _decode(payload)
            self._done[number] = list(_unpack(payload, count))
        del received[:start]

    def _part(self, fd: int) -> None:
        os.close(fd)
        pid = self._workers.pop(fd)
        status = os.waitpid(pid, 0)[1]
        if status != 0:
            raise WorkerError(f"worker {pid} ended with status {status}")

    def dismiss(self) -> None:
        """Kill and reap whoever is left; nobody is after a success."""
        os.close(self._queue)
        for fd, pid in self._workers.items():
            os.close(fd)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._workers.clear()


def _queue(length: int) -> int:
    """Return the read end of a pipe that holds the numbers of all pieces and then ends."""
    read_end, write_end = os.pipe()
    write_all(write_end, b"".join(map(_NUMBER.pack, range(length))))
    os.close(write_end)
    return read_end


# --- the worker's side ---


def _live(
    parent: int,
    worker: int,
    held: Iterable[int],
    queue: int,
    out: int,
    pieces: Sequence[tuple[int, int]],
    job: Callable[[int, int], list[bytes]],
) -> NoReturn:
    """A worker's whole life: it ends here, without the cleanup that belongs to the parent."""
    status = 1
    try:
        for number in _HELD:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        _die_with(parent)
        progress.count_as_worker(worker)
        _work(queue, out, pieces, job)
        status = 0
    finally:
        os._exit(status)


def _die_with(parent: int) -> None:
    import ctypes  # only who forks pays for it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def _work(
    queue: int,
    out: int,
    pieces: Sequence[tuple[int, int]],
    job: Callable[[int, int], list[bytes]],
) -> None:
    number = 0
    try:
        while True:
            data = os.read(queue, _NUMBER.size)  # a pipe hands out whole numbers
            if not data:
                return
            number = _NUMBER.unpack(data)[0]
            results = job(*pieces[number])
            payload = _pack(results)
            count = len(results)
            write_all(out, _FRAME.pack(number, count, len(payload)) + payload)
    except BaseException as exc:
        payload = _encode(exc)
        write_all(out, _FRAME.pack(number, _FAILED, len(payload)) + payload)


def _pack(results: Sequence[bytes]) -> bytes:
    lengths = struct.pack(f"<{len(results)}I", *map(len, results))
    return lengths + b"".join(results)


def _unpack(payload: bytes, count: int) -> Iterator[bytes]:
    start = count * _NUMBER.size
    for length in struct.unpack_from(f"<{count}I", payload):
        yield payload[start : start + length]
        start += length


def _encode(exc: BaseException) -> bytes:
    from .. import error_codec  # it costs start-up time, and only failures need it

    return error_codec.encode(exc)


def _decode(payload: bytes) -> Exception:
    from .. import error_codec

    return error_codec.decode(payload, WorkerError)
