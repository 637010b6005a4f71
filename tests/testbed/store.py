# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the test bed keeps things, and the locks that let several builders and users share it.

    <cache>/images/<recipe>/<build>/     root disk, kernel, keys, manifest.json; never changed
    <cache>/images/<recipe>/<build>/states/<machine>/   a booted guest: disk and memory
    <cache>/beds/<bed>/                  the running hosts of one user of the test bed

``<cache>`` is ``$DSG_TESTBED_CACHE``, otherwise ``.cache/testbed`` of the checkout.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


class BedError(Exception):
    """The test bed cannot do what was asked; the message says why and what to do."""


def cache() -> Path:
    """Return the cache folder, made if it was missing."""
    chosen = os.environ.get("DSG_TESTBED_CACHE")
    path = Path(chosen).resolve() if chosen else CHECKOUT / ".cache" / "testbed"
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(message: str) -> None:
    """Tell the person at the terminal what takes its time."""
    print(f"testbed: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file, waiting for it if need be. The kernel frees it when the process ends."""
    descriptor = claim(path)
    if descriptor is None:
        say(f"waiting for another run that holds {path.name}")
        descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def claim(path: Path) -> int | None:
    """Take the lock file for as long as the returned descriptor stays open; None if it is taken."""
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock(path: Path, how: int) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # Whoever held it may have deleted it: then this is a lock that nobody else will see.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        os.close(descriptor)
