# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random edits, clients, policies, crashes and writes behind our back, against a small oracle.

Three working copies share one repository. Every sync is announced by check mode, compared with what
``oracle.sync`` works out, and looked at on all sides: content, users, records, snapshots. A run that
is killed leaves, after recovery, exactly the state before or exactly the state after.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, Union

import pytest
from _core.errors import DsgError
from _core.sync.engine import run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.integration import oracle
from tests.integration.children import Killed, die_at, in_child
from tests.integration.oracle import Outcome, Owned, same_bytes
from tests.integration.support import (
    EMPTY,
    Link,
    Node,
    Script,
    Site,
    Tree,
    put,
    read,
    refused,
    sync_as_announced,
)

MEMORY = "/dev/shm"
"""A file system in memory, with all the calls that are needed: thousands of steps in a minute."""

clients = st.sampled_from(["ann", "bob", "cyd"])
names = st.sampled_from(["a", "b", "A", "é", "d"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
texts = st.sampled_from(["", "1", "22", "333", "x" * 30])
nodes = st.one_of(
    texts,
    texts,
    texts.map(Script),
    st.sampled_from([Link("a"), Link("b/d"), Link("nowhere")]),
    st.just(EMPTY),
)
directions = st.sampled_from(["both", "both", "push", "pull"])
choices = st.sampled_from(["fail", "local", "remote"])
limits = st.sampled_from([100, 100, 100, 50, 0])
changes = st.dictionaries(paths, st.none() | nodes, max_size=4)


Changes = dict[str, Union[Node, None]]


class Model(RuleBasedStateMachine):
    """``known`` and ``remote`` are the oracle's C of each client and R."""

    @initialize()
    def set_up(self) -> None:
        self.site = Site(tempfile.mkdtemp(prefix="dsg-model-", dir=MEMORY))
        self.known: dict[str, Owned | None] = dict.fromkeys(("ann", "bob", "cyd"))
        self.remote: Owned | None = None
        self.snapshots: list[Tree] = []

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        try:
            if self.snapshots:
                self.site.check_sound()
            for number, tree in enumerate(self.snapshots[:-1], 1):
                assert self.site.snapshot(number) == tree, f"s{number} is not what it was"
        finally:
            shutil.rmtree(self.site.root)

    def src(self, client: str) -> str:
        return self.site.copy(client)

    def local(self, client: str) -> Owned:
        """Read L from disk, and attribute it as the design says: a user goes with the content."""
        src = self.src(client)
        return {
            path: (node, self.owner(client, path, node))
            for path, node in (read(src) if os.path.isdir(src) else {}).items()
        }

    def owner(self, client: str, path: str, node: Node) -> str:
        for side in (self.known[client], self.remote):
            if side and path in side and same_bytes(side[path][0], node):
                return side[path][1]
        return client

    # --- edits ---

    @rule(client=clients, changes=changes)
    def write(self, client: str, changes: Changes) -> None:
        """Write, replace (whatever kind it was) and delete."""
        for path, node in changes.items():
            self.edit(client, lambda src, path=path, node=node: put_anyway(src, path, node))

    @rule(client=clients, path=paths)
    def append(self, client: str, path: str) -> None:
        def change(src: str) -> None:
            with open(os.path.join(src, path), "a") as stream:
                stream.write("+")

        if isinstance(self.node(client, path), (str, Script)):
            self.edit(client, change)

    @rule(client=clients, path=paths)
    def chmod(self, client: str, path: str) -> None:
        node = self.node(client, path)
        if isinstance(node, (str, Script)):
            mode = 0o755 if isinstance(node, str) else 0o644
            self.edit(client, lambda src: os.chmod(os.path.join(src, path), mode))

    @rule(client=clients, old=names, new=paths)
    def rename(self, client: str, old: str, new: str) -> None:
        """Move a file or a whole directory."""

        def change(src: str) -> None:
            if not os.path.lexists(os.path.join(src, old)):
                return
            put_anyway(src, new, "makes its directories")
            os.unlink(os.path.join(src, new))
            os.rename(os.path.join(src, old), os.path.join(src, new))

        if new.split("/")[0] != old:
            self.edit(client, change)

    @rule(client=clients)
    def touch(self, client: str) -> None:
        src = self.src(client)
        for path, node in read(src).items() if os.path.isdir(src) else ():
            if isinstance(node, (str, Script)):
                os.utime(os.path.join(src, path))

    def node(self, client: str, path: str) -> Node | None:
        src = self.src(client)
        return read(src).get(path) if os.path.isdir(src) else None

    def edit(self, client: str, change: Callable[[str], object]) -> None:
        """Make a change to a working copy, unless its names would exclude each other then."""
        src = self.src(client)
        os.makedirs(src, exist_ok=True)
        trial = src + ".trial"
        shutil.copytree(src, trial, symlinks=True, ignore=lambda *_unused: [".dsg"])
        change(trial)
        if oracle.is_valid(read(trial)):
            change(src)
        shutil.rmtree(trial)

    # --- syncs ---

    def expected(self, client: str, direction: str, choice: str, limit: int) -> Outcome:
        local, known = self.local(client), self.known[client]
        if self.remote is None:
            direction = "push" if direction == "push" else "both"
        elif known is None and not local:
            direction = "pull"  # a clone
        return oracle.sync(local, known or {}, self.remote or {}, direction, choice, limit)

    def request(self, client: str, direction: str, choice: str, limit: int) -> Any:
        return self.site.request(
            self.src(client), direction=direction, conflict=choice, max_delete=f"{limit}%"
        )

    def may(self, client: str, direction: str) -> bool:
        """Tell whether there is anything to sync: somebody has to create the repository."""
        return self.remote is not None or (os.path.isdir(self.src(client)) and direction != "pull")

    def meanwhile(
        self, client: str, mine: Changes, other: str, theirs: Changes, clash: bool
    ) -> None:
        """Let the other one work and publish, then this one work: on the same paths if ``clash``."""
        if clash:
            mine = dict(zip(theirs, mine.values()))
        if other != client and self.may(other, "both"):
            self.write(other, theirs)
            self.sync(other, "both", "local", 100)
        self.write(client, mine)

    @rule(client=clients, mine=changes, other=clients, theirs=changes, clash=st.booleans(),
          direction=directions, choice=choices, limit=limits)  # fmt: skip
    def work_and_sync(
        self, client: str, mine: Changes, other: str, theirs: Changes, clash: bool,
        direction: str, choice: str, limit: int,
    ) -> None:  # fmt: skip
        self.meanwhile(client, mine, other, theirs, clash)
        self.sync(client, direction, choice, limit)

    @rule(client=clients, direction=directions, choice=choices, limit=limits)
    def sync(self, client: str, direction: str, choice: str, limit: int) -> None:
        if not self.may(client, direction):
            return
        wanted = self.expected(client, direction, choice, limit)
        request = self.request(client, direction, choice, limit)
        if wanted.code:
            with pytest.raises(DsgError) as caught:
                sync_as_announced(self.site, request)
            assert caught.value.code == wanted.code
            if wanted.code == "DSG-CONFLICT":
                told = {line.rsplit(" (", 1)[0] for line in caught.value.details if line[0] != " "}
                assert told == {p for p, a in wanted.actions.items() if a == "conflict"}
            self.check(client, self.known[client], self.remote)
            return
        result = sync_as_announced(self.site, request)
        assert {s.path: s.action for s in result.plan.steps} == wanted.actions
        self.accept(client, wanted)
        assert result.snapshot == len(self.snapshots)
        again = run(request)
        assert not again.changed

    def accept(self, client: str, wanted: Outcome) -> None:
        """Take over what a sync must have come to, and look whether it has."""
        if wanted.publishes or self.remote is None:
            self.snapshots.append({path: node for path, (node, _unused) in wanted.remote.items()})
        self.remote = wanted.remote
        self.known[client] = wanted.cache
        assert read(self.src(client)) == {p: node for p, (node, _unused) in wanted.local.items()}
        self.check(client, wanted.cache, wanted.remote)

    def check(self, client: str, cache: Owned | None, remote: Owned | None) -> None:
        if remote is None:
            assert not os.path.lexists(self.site.live)
            return
        assert read(self.site.live) == {path: node for path, (node, _unused) in remote.items()}
        users = {path: entry.user for path, entry in self.site.remote().items()}
        assert users == {path: user for path, (_unused, user) in remote.items()}
        known = {path: entry.user for path, entry in self.site.cache(self.src(client)).items()}
        assert known == {path: user for path, (_unused, user) in (cache or {}).items()}
        assert self.site.manifest().header.snapshot == len(self.snapshots)
        if os.path.isdir(os.path.join(self.src(client), ".dsg")):
            self.site.check_tidy(self.src(client))

    @rule(
        client=clients,
        mine=changes,
        other=clients,
        theirs=changes,
        direction=directions,
        choice=st.sampled_from(["local", "remote"]),
        number=st.integers(0, 60) | st.integers(30, 60),
        after=st.booleans(),
        cure=st.sampled_from(["recover", "repository first", "run again"]),
    )
    def crash(
        self, client: str, mine: Changes, other: str, theirs: Changes,
        direction: str, choice: str, number: int, after: bool, cure: str,
    ) -> None:  # fmt: skip
        """Kill a run at one of its changing calls; then recover, or simply run again."""
        self.meanwhile(client, mine, other, theirs, clash=number % 2 == 0)
        if not self.may(client, direction):
            return
        wanted = self.expected(client, direction, choice, 100)
        request = self.request(client, direction, choice, 100)
        src = self.src(client)
        before = read(src) if os.path.isdir(src) else {}
        try:
            in_child(lambda: run(request), before=die_at(number, after=after))
        except Killed:
            pass
        except DsgError as exc:
            assert exc.code == wanted.code
        if cure == "run again" and not wanted.code:
            run(request)
            self.accept(client, wanted)
            self.site.check_sound()
            return
        if cure == "repository first":
            self.site.recover()
        self.site.recover(src)
        assert self.site.recover(src) == []
        if wanted.code or self.is_as_before(client, before):
            self.check(client, self.known[client], self.remote)
        else:
            self.accept(client, wanted)

    def is_as_before(self, client: str, before: Tree) -> bool:
        """Tell whether both sides and the record are as before; if not, they must be as wanted."""
        src, head = self.src(client), self.site.repository.head()
        known = {path: entry.user for path, entry in self.site.cache(src).items()}
        return (
            (read(src) if os.path.isdir(src) else {}) == before
            and known
            == {path: user for path, (_unused, user) in (self.known[client] or {}).items()}
            and (0 if head is None else head.snapshot) == len(self.snapshots)
        )

    # --- behind our back ---

    @precondition(lambda self: self.remote)
    @rule(client=clients, data=st.data())
    def drift(self, client: str, data: st.DataObject) -> None:
        """Write to the published tree; whoever wants to publish is refused; then undo it."""
        wanted = self.expected(client, "both", "local", 100)
        if not wanted.publishes:
            return
        assert self.remote is not None
        path = data.draw(st.sampled_from(sorted(self.remote)))
        undo = data.draw(st.sampled_from(DRIFTS))(self.site.live, path, self.remote[path][0])
        if undo is None:
            return
        request = self.request(client, "both", "local", 100)
        for check in (True, False):
            asked = request._replace(check=check)
            refused(self.site, "DSG-DRIFT", lambda asked=asked: run(asked))
        undo()
        self.check(client, self.known[client], self.remote)


def put_anyway(src: str, path: str, node: Node | None) -> None:
    """Put a node even where a parent is a file or a link: that one becomes a directory."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        parent = os.path.join(src, *parts[:count])
        if os.path.lexists(parent) and (os.path.islink(parent) or not os.path.isdir(parent)):
            if node is None:
                return
            os.unlink(parent)
    put(src, path, node)


Undo = Callable[[], object]


def add(live: str, path: str, node: Node) -> Undo:
    full = os.path.join(live, os.path.dirname(path), "behind")
    with open(full, "w"):
        pass
    return lambda: os.unlink(full)


def remove(live: str, path: str, node: Node) -> Undo:
    full, aside = os.path.join(live, path), os.path.join(os.path.dirname(live), "aside")
    os.rename(full, aside)
    return lambda: os.rename(aside, full)


def change_mode(live: str, path: str, node: Node) -> Undo | None:
    full = os.path.join(live, path)
    if not isinstance(node, (str, Script)):
        return None
    mode = os.stat(full).st_mode & 0o777
    os.chmod(full, mode ^ 0o044)
    return lambda: os.chmod(full, mode)


def write_in_place(live: str, path: str, node: Node) -> Undo | None:
    full = os.path.join(live, path)
    if not isinstance(node, (str, Script)):
        return None
    found = os.stat(full)
    with open(full, "ab") as stream:
        stream.write(b"!")

    def undo() -> None:
        os.truncate(full, found.st_size)
        os.utime(full, ns=(found.st_atime_ns, found.st_mtime_ns))

    return undo


DRIFTS = [add, remove, change_mode, write_in_place]

TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, derandomize=True, database=None
)
