# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of a large file that changed in place, grew or shrank, only what differs travels."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from _core.posix.blocks import BLOCK
from _core.posix.progress import Meter, Progress
from _core.sync.engine import run
from _core.transport import sending

from tests.integration.support import make
from tests.transport.remote_site import SshSite

SIZE = 40 * BLOCK + 12_345
Change = Callable[[bytearray], None]


class Case(NamedTuple):
    """What is done to the file, and how many bytes of content may travel for it at most."""

    change: Change
    most: int


def _somewhere(content: bytearray) -> None:
    for number in (3, 17, 29):
        content[number * BLOCK + 5 : number * BLOCK + 9] = b"edit"


def _grown(content: bytearray) -> None:
    content += b"more" * 1000


def _shrunk(content: bytearray) -> None:
    del content[20 * BLOCK + 1 :]


def _other(content: bytearray) -> None:
    content[:] = random.Random(2).randbytes(len(content))


def _shifted(content: bytearray) -> None:
    content.insert(0, 1)


ROOM = 200  # what frames the ranges
CASES = {
    "in place": Case(_somewhere, 3 * BLOCK + ROOM),
    "grown": Case(_grown, 12_345 + 4000 + ROOM),
    "shrunk": Case(_shrunk, 1 + ROOM),
    "another": Case(_other, SIZE + 50 * ROOM),
    "shifted": Case(_shifted, SIZE + 50 * ROOM),
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes of content that go out."""
    counted: list[int] = []
    flush = sending.Sender._flush

    def counting(self: sending.Sender) -> None:
        counted.append(self._held)
        flush(self)

    monkeypatch.setattr(sending.Sender, "_flush", counting)
    return counted


@pytest.mark.parametrize("name", list(CASES))
def test_only_what_differs_travels(site: SshSite, sent: list[int], name: str) -> None:
    src = make(os.path.join(site.root, "wc"), {"small": "s"})
    path = Path(src, "big")
    content = bytearray(random.Random(1).randbytes(SIZE))
    path.write_bytes(content)
    run(site.request(src))
    CASES[name].change(content)
    path.write_bytes(content)
    path.chmod(0o640)
    sent.clear()
    assert run(site.request(src)).snapshot == 2
    assert sum(sent) <= CASES[name].most
    live, old = Path(site.live, "big"), Path(site.kept(1), "big")
    assert live.read_bytes() == content
    assert live.stat().st_mode & 0o777 == 0o640
    assert old.read_bytes() == random.Random(1).randbytes(SIZE), "the older snapshot is untouched"
    assert not run(site.request(src, checksum=True)).changed


class Every(Meter):
    """Keeps every moment in which something was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Progress] = []

    def advance(self, files: int, size: int) -> None:
        super().advance(files, size)
        self.told.append(self.moment())


@pytest.mark.parametrize("name", list(CASES))
def test_progress_counts_what_needs_not_travel_as_done(site: SshSite, name: str) -> None:
    """The total is that of the files: a small change of a large one is not 1% of it, and then the end."""
    src = make(os.path.join(site.root, "wc"), {"small": "s"})
    content = bytearray(random.Random(1).randbytes(SIZE))
    Path(src, "big").write_bytes(content)
    run(site.request(src))
    CASES[name].change(content)
    make(src, {"small": "longer"})
    Path(src, "big").write_bytes(content)
    with Every() as meter:
        run(site.request(src))
    uploads = [one for one in meter.told if one.phase == "upload"]
    counted = [one.bytes for one in uploads]
    assert counted == sorted(counted)
    last = uploads[-1]
    assert (last.files, last.bytes) == (last.files_total, last.bytes_total)
    assert last.bytes_total == len(content) + len("longer")


def test_a_second_name_of_the_old_file_keeps_its_content(site: SshSite) -> None:
    """The published file may be linked to from elsewhere, as it is from the older snapshots."""
    src = make(os.path.join(site.root, "wc"), {"small": "s"})
    content = bytearray(random.Random(1).randbytes(SIZE))
    Path(src, "big").write_bytes(content)
    run(site.request(src))
    os.link(os.path.join(site.live, "big"), os.path.join(site.root, "kept"))
    _somewhere(content)
    Path(src, "big").write_bytes(content)
    run(site.request(src))
    assert Path(site.live, "big").read_bytes() == content
    assert Path(site.root, "kept").read_bytes() == random.Random(1).randbytes(SIZE)
