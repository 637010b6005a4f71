# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is damaged over there is told as it is on one host."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from _core.backends import tree
from _core.backends.base import Upload
from _core.errors import DsgError
from _core.manifest.entry import FILE, Entry
from _core.posix.beneath import Beneath
from _core.sync.engine import run
from _core.transport.channel import Channel
from _core.transport.connect import connect
from _core.transport.remote import RemoteRepository

from tests.integration.support import make, read
from tests.transport.remote_site import SshSite
from tests.transport.wrapped import Wrapped, wrapped

MARK = b"here it strikes"


class Damaging(Wrapped):
    """A channel on which a bit of :data:`MARK` turns over."""

    def __init__(self, channel: Channel, struck: list[int]) -> None:
        super().__init__(channel)
        self._struck = struck

    def write(self, *buffers: Any) -> None:
        data = bytearray(b"".join(buffers))
        place = data.find(MARK)
        if place >= 0:
            data[place] ^= 1
            self._struck.append(place)
        self._channel.write(data)


@pytest.mark.parametrize("size", [1000, 3_000_000], ids=["a whole file", "a part of a large one"])
def test_a_byte_that_is_damaged_on_its_way(site: SshSite, size: int) -> None:
    content = bytearray(random.Random(1).randbytes(size // 2).hex().encode())
    src = site.copy("wc", {"a": "a"})
    path = Path(src, "changed")
    path.write_bytes(content)
    site.sync(src)
    content[size // 2 : size // 2 + len(MARK)] = MARK
    path.write_bytes(content)
    struck: list[int] = []
    with wrapped(lambda channel: Damaging(channel, struck)):
        error = site.refused("DSG-SOURCE-CHANGED", src)
    assert len(struck) == 1
    assert (error.object, error.host) == ("changed", "store1")
    assert site.staged() == []
    assert site.sync(src).snapshot == 2
    assert Path(site.live, "changed").read_bytes() == content
    site.check_sound()


@pytest.mark.parametrize("content", ["short", None])
def test_a_published_file_that_is_not_what_it_was(site: SshSite, content: str | None) -> None:
    src = make(os.path.join(site.root, "wc"), {"a": "a", "b": "a longer text"})
    run(site.request(src))
    live = Path(site.live, "b")
    live.unlink() if content is None else live.write_text(content)
    clone = os.path.join(site.root, "clone")
    with pytest.raises(DsgError) as caught:
        run(site.request(clone))
    error = caught.value
    assert (error.code, error.object, error.host) == ("DSG-DRIFT", "b", "store1")
    assert "unchanged" in error.unchanged and "verify" in error.next_step
    assert read(clone) == {}, "nothing of it is left behind"


def test_a_step_of_the_history_that_is_gone_costs_only_its_shortcut(site: SshSite) -> None:
    ann = make(os.path.join(site.root, "ann"), {"a": "a"})
    ben = os.path.join(site.root, "ben")
    run(site.request(ann))
    run(site.request(ben))
    make(ann, {"a": "new"})
    run(site.request(ann))
    os.unlink(os.path.join(site.live, ".dsg", "history", "s1.jsonl"))
    assert run(site.request(ben)).plan.counts()["download"] == 1
    assert read(ben) == {"a": "new"}


def test_a_file_that_is_published_read_only_may_be_patched(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("x")
    (tmp_path / "locked").chmod(0o444)
    (tmp_path / "twice").write_text("x")
    os.link(tmp_path / "twice", tmp_path / "again")
    uploads = [
        Upload(Entry(name, FILE, 1, 0, 0o444, "", "", "ann"), (1, 0, 0), True)
        for name in ("locked", "twice", "gone")
    ]
    with Beneath(str(tmp_path)) as work:
        assert [item.patch for item in tree.patchable(work, uploads)] == [True, False, False]
    assert (tmp_path / "locked").stat().st_mode & 0o777 == 0o600


def test_an_agent_whose_channel_ends_undoes_what_is_not_prepared(site: SshSite) -> None:
    """By itself: no recovery has been asked for yet."""
    src = make(os.path.join(site.root, "wc"), {"a": "a"})
    run(site.request(src))
    remote = RemoteRepository(site.destination, site.backend, site.name, connect)
    with remote.lock(5.0):
        remote.begin("20260101T000000Z-000000000009", remote.manifest()).stage(src, [], {"a"})
        assert len(site.staged()) == 1
        remote.close()
        remote._session.lost = True  # as a client sees it that is cut off here
    with site.repository.lock(30.0):  # the agent lets go when it has ended
        assert site.staged() == []
    assert read(site.live) == {"a": "a"}
