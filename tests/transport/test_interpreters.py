# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent on every Python that there is here: nothing but that Python, and no environment."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
from _core.sync.engine import run
from _core.sync.status import inspect
from _core.sync.verify import verify_repository
from _core.transport.destination import Destination

from tests.integration.support import EMPTY, Link, Script, make, read
from tests.tools.environments import Interpreter, interpreters
from tests.transport.remote_site import SshSite
from tests.transport.test_fetch import bring

FIRST = {"a": "a", "d/b": "b" * 100_000, "d/s": Script("s"), "d/l": Link("../a"), "e": EMPTY}

_ALONE = """\
#!/bin/sh
echo started >> {log}
exec env -i {python} "$@"
"""


class Remote(SshSite):
    """A site whose agents run on one interpreter; each start of it is noted."""

    def __init__(self, root: Path, reached: Destination, python: Interpreter) -> None:
        self.log, script = root / "started", root / f"python{python.name}"
        words = {"log": shlex.quote(str(self.log)), "python": shlex.quote(python.path)}
        script.write_text(_ALONE.format(**words), encoding="utf-8")
        script.chmod(0o755)
        (root / "site").mkdir()
        super().__init__(str(root / "site"), reached._replace(interpreter=str(script)))

    def starts(self) -> int:
        return len(self.log.read_text(encoding="ascii").splitlines()) if self.log.exists() else 0


@pytest.fixture(params=interpreters().values(), ids=lambda python: python.name)
def remote(tmp_path: Path, shared: Destination, request: pytest.FixtureRequest) -> Remote:
    return Remote(tmp_path, shared, request.param)


def test_publication_clone_and_sync(remote: Remote) -> None:
    ann, bob = remote.copy("ann", FIRST), remote.copy("bob")
    assert remote.sync(ann).operation == "init"
    assert remote.sync(bob).operation == "clone"
    make(bob, {"a": "changed", "c": "c", "d/b": None, "e": None})
    assert remote.sync(bob).snapshot == 2
    assert remote.sync(ann).plan.counts()["download"] == 2
    assert read(ann) == read(bob) == read(remote.live)
    remote.check_sound()
    assert remote.starts() == 8, "every run and every dry run"


def test_a_part_of_a_large_file(remote: Remote) -> None:
    """Blocks are hashed there, and what differs is put into a copy."""
    ann = remote.copy("ann", {"a": "a"})
    content = bytearray(random.Random(1).randbytes(5_000_000))
    large = Path(ann, "large")
    large.write_bytes(content)
    assert run(remote.request(ann)).changed
    content[3_000_000:3_000_004] = b"edit"
    content += b"more"
    large.write_bytes(content)
    assert run(remote.request(ann)).changed
    assert Path(remote.live, "large").read_bytes() == content
    assert remote.starts() == 2


def test_what_else_is_asked_of_it(remote: Remote, tmp_path: Path) -> None:
    ann = remote.copy("ann", FIRST)
    remote.sync(ann)
    make(ann, {"a": "changed"})
    remote.sync(ann)
    before = remote.starts()
    assert inspect(remote.request(ann)).snapshots == [1, 2]
    assert verify_repository(remote.name, remote.backend, remote.destination, ("all",)).sound
    out = str(tmp_path / "out")
    assert bring(remote, out, snapshot=1).changed
    assert read(out) == FIRST
    assert remote.recover(ann) == []
    assert remote.starts() == before + 4
