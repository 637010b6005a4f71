# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A large file is carried by processes that could not hold half of it, on both sides."""

from __future__ import annotations

import filecmp
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _core.sync.verify import verify_repository
from _core.transport.destination import Destination

from tests.tools.collection import Result, run
from tests.transport import limited
from tests.transport.remote_site import SshSite

MIB = 1 << 20
SIZE = 512 * MIB
MOST = 248 * MIB
ONE_ARENA = "MALLOC_ARENA_MAX=1"
"""Each thread else reserves 64 MiB of addresses, which count although nothing is there."""

_LIMITED = """\
#!/bin/sh
ulimit -v {kib}
exec env {one_arena} {python} "$@"
"""


class Small:
    """A repository whose agents, and whose clients, have little memory."""

    def __init__(self, root: Path, reached: Destination) -> None:
        self.python = root / "python3"
        text = _LIMITED.format(kib=MOST // 1024, python=sys.executable, one_arena=ONE_ARENA)
        self.python.write_text(text, encoding="utf-8")
        self.python.chmod(0o755)
        (root / "site").mkdir()
        destination = reached._replace(interpreter=str(self.python))
        self.site = SshSite(str(root / "site"), destination)

    def client(self, job: str, **given: Any) -> Result:
        """Do a job in a process of its own; return what it said."""
        program = ["env", ONE_ARENA, sys.executable, limited.__file__, str(MOST), job]
        return run([*program, json.dumps(given)])

    def on_it(self, job: str, **given: Any) -> None:
        """Do a job with the repository, which has to go well."""
        backend, destination = self.site.backend, self.site.destination._asdict()
        place = {"repository": self.site.name, "backend": backend, "destination": destination}
        self.client(job, **place, **given).must_succeed()


@pytest.fixture
def small(tmp_path: Path, shared: Destination) -> Small:
    return Small(tmp_path, shared)


def make_large(path: Path) -> None:
    """Write a file that is mostly a hole, with random parts that blocks do not begin at."""
    dice = random.Random(1)
    with path.open("wb") as stream:
        stream.truncate(SIZE)
        for place in range(0, SIZE, SIZE // 16):
            stream.seek(place + 12_345)
            stream.write(dice.randbytes(MIB))


def change(path: Path) -> None:
    with path.open("r+b") as stream:
        for place in (SIZE // 3, SIZE // 2):
            stream.seek(place)
            stream.write(random.Random(2).randbytes(3 * MIB))


def test_neither_side_could_hold_the_file(small: Small) -> None:
    """Else the test below says nothing."""
    done = small.client("hold", size=SIZE)
    assert "MemoryError" in done.stderr
    small.client("hold", size=MIB).must_succeed()
    agent = [str(small.python), "-c", f"bytearray({SIZE})"]
    done_there = subprocess.run(agent, capture_output=True, text=True, check=False)
    assert "MemoryError" in done_there.stderr


def test_a_large_file_goes_every_way(small: Small, tmp_path: Path) -> None:
    site, name = small.site, "large"
    ann, bob = Path(site.copy("ann", {"a": "a"})), Path(site.copy("bob"))
    make_large(ann / name)
    small.on_it("sync", src=str(ann))
    small.on_it("sync", src=str(bob))
    assert filecmp.cmp(ann / name, bob / name, shallow=False)
    change(ann / name)
    small.on_it("sync", src=str(ann))
    small.on_it("sync", src=str(bob))
    assert filecmp.cmp(ann / name, bob / name, shallow=False)
    assert filecmp.cmp(ann / name, os.path.join(site.live, name), shallow=False)
    assert verify_repository(site.name, site.backend, site.destination, ("all",)).sound
    out = tmp_path / "out"
    small.on_it("fetch", dest=str(out), snapshot=1, paths=[name])
    make_large(tmp_path / name)
    assert filecmp.cmp(out / name, tmp_path / name, shallow=False)
