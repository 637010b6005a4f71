# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""History and mounted snapshots of a storage host, asked for by ansible-playbook over a real sshd."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _core.posix import mounted

from tests.integration.playbooks import Play
from tests.integration.support import Site, make, put, read
from tests.integration.test_report_playbooks import tables_of
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.tools.sshd import Sshd
from tests.transport.test_playbooks import logins
from tests.transport.world import World, world

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

ODD = "sub/ü v.txt"
NOTE = "Ben was here"


class Ground:
    """One repository with three snapshots: Ann published, then Ben, then Ann again.

    It is that of the host ``here``, which is this machine, and of ``there``, which is behind a server.
    """

    def __init__(self, root: Path, installed: InstalledCollection, server: Sshd) -> None:
        self.root, self.installed, self.server = root, installed, server
        self.site = site = Site(str(root))
        ann = site.copy("ann", {"a": "a", "sub/b": "b", ODD: "odd"})
        site.sync(ann)
        ben = site.copy("ben", {})
        site.sync(ben)
        make(ben, {"a": "Ben's", "sub/b": "Ben's, too", ODD: None})
        site.sync(ben, message=NOTE)
        site.sync(ann)
        put(ann, "a", "Ann's again")
        site.sync(ann)

    def play(self, *plays: dict[str, Any], **variables: Any) -> Play:
        """Run plays on the group ``storage``; variables are for the host behind the server alone."""
        python = {"ansible_python_interpreter": sys.executable}
        there = {
            "ansible_host": self.server.host,
            "ansible_port": self.server.port,
            "ansible_user": self.server.user,
            "ansible_ssh_private_key_file": str(self.server.key),
            "ansible_ssh_common_args": shlex.join(self.server.options),
            "ansible_ssh_args": "-o ControlMaster=no",  # nothing may stay behind the test
            **variables,
        }
        repository = {"name": self.site.name, "src": "/nowhere", "backend": self.site.backend}
        storage = {
            "hosts": {"here": {"ansible_connection": "local"}, "there": there},
            "vars": {**python, "dsg_repositories": [repository]},
        }
        (self.root / "inventory.json").write_text(json.dumps({"storage": storage}))
        (self.root / "plays.json").write_text(json.dumps(plays))
        inventory = ("-i", self.root / "inventory.json")
        return Play(self.installed.playbook(self.root / "plays.json", *inventory))

    def there(self, *tasks: dict[str, Any], **variables: Any) -> Play:
        """Run tasks on the host behind the server; see :meth:`task`."""
        return self.play({"hosts": "there", "gather_facts": False, "tasks": tasks}, **variables)

    def task(self, state: str, **keywords: Any) -> dict[str, Any]:
        """Return a task that mounts s1, or unmounts it."""
        options = {"repository": self.site.name, "backend": self.site.backend, "snapshot": 1}
        options.update(state=state, path=str(self.seen))
        return {"dsg.storage.dsg_snapshot": options, **keywords}

    @property
    def seen(self) -> Path:
        return self.root / "seen"


@pytest.fixture
def ground(tmp_path: Path, installed_collection: InstalledCollection, server: Sshd) -> Ground:
    return Ground(tmp_path, installed_collection, server)


ASKED: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = [
    (
        {"dsg_blame": True},
        [("a", "s3", "ann", "changed", ""), ("sub/b", "s2", "ben", "changed", NOTE)],
    ),
    (
        {"dsg_blame": True, "dsg_deleted": True, "dsg_paths": ["/sub"], "dsg_author": "b*"},
        [("sub/b", "s2", "ben", "changed", NOTE), (ODD, "s2", "ben", "deleted", NOTE)],
    ),
    (
        {"dsg_path": ODD},
        [(ODD, "s2-s3", "ben", "deleted", NOTE), (ODD, "s1", "ann", "added", "")],
    ),
    ({"dsg_path": ODD, "dsg_until": 1}, [(ODD, "s1", "ann", "added", "")]),
]
"""What ``log`` is asked, and what its rows say beside times, sizes and hashes."""
COLUMNS = ({"path"}, {"snapshot", "snapshots"}, {"user"}, {"change"}, {"message"})


def test_who_changed_a_path_is_told_by_ssh_as_it_is_over_there(ground: Ground) -> None:
    """Rows and data; a path that another one deleted, and whose name is not ASCII, is among them."""
    asked = [
        {"import_playbook": "dsg.storage.log", "vars": variables} for variables, _rows in ASKED
    ]
    before = logins(ground.server)
    play = ground.play(*asked).succeeded()
    assert logins(ground.server) > before
    answers: dict[str, list[dict[str, Any]]] = {"here": [], "there": []}
    for task in play.result.tasks:
        if task["action"] == "dsg.storage.dsg_history":
            (answer,) = task["result"]["results"]
            answers[task["host"]].append(answer)
    assert answers["there"] == answers["here"]
    for (variables, wanted), answer in zip(ASKED, answers["there"]):
        rows = [
            tuple(next(row[key] for key in keys if key in row) for keys in COLUMNS)
            for row in answer["table"]
        ]
        assert rows == wanted, variables
    tables = tables_of(play)
    assert len(tables) == len(answers["there"]) == len(ASKED)
    for (_variables, wanted), rows in zip(ASKED, tables):
        here, there = ([row[1:] for row in rows if row[0] == host] for host in answers)
        assert there == here
        assert len(there) == len(wanted)


@pytest.fixture
def seen(ground: Ground) -> Iterator[Path]:
    """A path to mount at; nothing stays mounted, whatever becomes of the test."""
    yield ground.seen
    if mounted.is_mountpoint(str(ground.seen)):
        subprocess.run(["umount", ground.seen], check=True)


def changes(play: Play) -> list[bool]:
    """Return what each task says of having changed anything."""
    return [task["result"]["changed"] for task in play.succeeded().result.tasks]


@pytest.mark.root
def test_root_mounts_a_snapshot_by_ssh_and_unmounts_it(ground: Ground, seen: Path) -> None:
    """The path is one of the storage host's; what is seen there stays while others publish."""
    first = read(ground.site.kept(1))
    mount, unmount, dry = ground.task("mounted"), ground.task("unmounted"), {"check_mode": True}
    assert changes(ground.there({**mount, **dry}, mount, mount)) == [True, True, False]
    assert mounted.is_mountpoint(str(seen))
    assert read(str(seen)) == first
    with pytest.raises(OSError, match="Read-only"):
        (seen / "a").write_text("no")
    ann = ground.site.copy("ann")
    put(ann, "a", "newer")
    ground.site.sync(ann)
    assert read(str(seen)) == first
    assert changes(ground.there({**unmount, **dry}, unmount, unmount)) == [True, True, False]
    assert not mounted.is_mountpoint(str(seen))
    assert list(seen.iterdir()) == []
    assert read(ground.site.kept(1)) == first


@pytest.fixture(scope="module")
def host() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.mark.root
def test_another_user_has_to_become_root_to_mount(ground: Ground, host: World, seen: Path) -> None:
    """That host's mounts are its own: what is there is told by tasks."""
    ground.server = host.server
    user = {"ansible_user": "freely", "ansible_python_interpreter": "/usr/bin/python3"}
    refused = ground.there(ground.task("mounted"), **user).failed("DSG-ARGUMENT")
    assert "Become root" in refused["error"]["next_step"]
    assert not seen.exists()
    look = {"ansible.builtin.command": {"argv": ["cat", f"{seen}/a"]}, "become": True}
    mount, unmount = (ground.task(state, become=True) for state in ("mounted", "unmounted"))
    play = ground.there(mount, look, unmount, {**look, "failed_when": False}, **user)
    results = [task["result"] for task in play.succeeded().result.tasks]
    assert [result["snapshot"] for result in (results[0], results[2])] == [1, 1]
    assert results[1]["stdout"] == "a"
    assert results[3]["rc"] == 1, "nothing is there any more"
    assert list(seen.iterdir()) == []
