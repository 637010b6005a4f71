# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook of docs/transactions.md: unarchive, copy and template become one atomic step."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.playbooks import Play
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.zfs.link import HOME, Guest
from tests.zfs.playbooks import StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

Say = Callable[[object], None]

PLAYBOOK = Path(__file__).parent / "playbooks" / "atomic.yml"
ONE_STEP = Path(__file__).parent / "playbooks" / "one_step.yml"
SNAPSHOT = "zfs snapshot tank/dsg/website@daily"
WRITE = (
    "cd /srv/dsg && mount -o remount,rw website && touch website/theirs"
    " && mount -o remount,ro website"
)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "transactions.md"
FILES = ("version.txt", "static/page.txt", "static/notice.txt", "settings.txt")


class Website:
    """A repository that the playbook fills; each of a release's files holds the release's number."""

    def __init__(self, root: Path, installed: InstalledCollection, guest: Guest) -> None:
        self.ground = StorageGround(root, installed, guest.host, "website")
        self.root = root

    def release(
        self, number: int, *options: str, broken: bool = False, meanwhile: str = ""
    ) -> Play:
        """Run the playbook; a broken release lacks a variable of its template.

        ``meanwhile`` is a command that somebody gives on the host while the directory is filled.
        """
        archive = self.root / f"release-{number}.tar.gz"
        self._pack(archive, number)
        known = {"release_archive": str(archive), "release_number": number}
        if not broken:
            known["release_setting"] = number
        if meanwhile:  # the template asks for it, and nothing else does
            known["meanwhile"] = shlex.join(self.ground.host.ssh_argv("sh", "-c", meanwhile))
            known["release_setting"] = "{{ lookup('pipe', meanwhile) }}"
        arguments = ("-i", str(self.ground.inventory), "--limit", "ann", *options)
        return Play(
            self.ground.installed.playbook(
                PLAYBOOK, *arguments, "-e", json.dumps(known), ANSIBLE_PIPELINING="true"
            )
        )

    def _pack(self, archive: Path, number: int) -> None:
        with tarfile.open(archive, "w:gz") as packed:
            for name in FILES[:2]:
                content = f"{number}\n".encode()
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = len(content), 1_700_000_000 + number, 0o644
                packed.addfile(info, io.BytesIO(content))

    def left(self) -> list[str]:
        """Name what a transaction has left behind on the host."""
        container = f"{self.ground.parent}/.dsg"
        found = [name for name in self.ground.datasets() if name.startswith(container)]
        marked = self.ground.zfs("get", "-Hr", "-s", "local", "-o", "name,property", "all", "tank")
        found += [
            line
            for line in marked.splitlines()
            if "website" in line and ("dsg:open" in line or "dsg:commit" in line)
        ]
        mounted = self.ground.host.run("ls", "/run/dsg/mnt").stdout.split()
        return found + [name for name in mounted if "website" in name]


@contextmanager
def _polled(guest: Guest, path: str) -> Iterator[dict[str, Any]]:
    """Poll the published tree for the length of the block; the figures are filled in at its end."""
    figures: dict[str, Any] = {}
    stop = "/run/stop-polling"
    code = (
        "import json; from guest.readers import poll;"
        f"print(json.dumps(poll({path!r}, {stop!r}, {FILES!r}, 0.02)))"
    )
    guest.host.run("rm", "-f", stop)
    argv = guest.host.ssh_argv("env", f"PYTHONPATH={HOME}", "nice", "python3", "-c", code)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as reader:
        try:
            yield figures
        finally:
            guest.host.run("touch", stop)
            said, _unused = reader.communicate()
    figures.update(json.loads(said))


def test_unarchive_copy_and_template_are_one_step(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest, say: Say
) -> None:
    """Old, then new, for who reads all the time; a release that breaks in the middle is no release."""
    site = Website(tmp_path, installed_collection, guest)
    ground = site.ground
    assert site.release(1, "--check", "--diff").succeeded().changed() == 1
    assert ground.datasets() == []
    site.release(1).succeeded()
    first = ground.tree(ground.live)
    assert set(first) == set(FILES) and ground.datasets()[1:] == ["tank/dsg/website@s1"]
    with _polled(guest, ground.live) as seen:
        announced = site.release(2, "--check", "--diff").succeeded()
        assert "not known in check mode" in announced.result.stdout
        assert ground.tree(ground.live) == first
        done = site.release(2, "--diff").succeeded()
        assert done.changed() == 4
        second = ground.tree(ground.live)
        assert all(second[name] != first[name] for name in FILES)
        assert site.left() == []

        failed = site.release(3, broken=True)
        assert failed.result.rc == 2
        assert "Release 3 was not published" in failed.said
        assert "release_setting" in failed.said
        assert ground.tree(ground.live) == second
        assert site.left() == []

        again = site.release(2).succeeded()
        assert again.changed() == 0
        assert ground.tree(ground.live) == second
        assert ground.datasets()[1:] == ["tank/dsg/website@s1", "tank/dsg/website@s2"]
        assert site.left() == []
    say(seen)
    assert (seen["errors"], seen["mixtures"], seen["back"]) == (0, 0, 0)
    assert (seen["last"], seen["generations"]) == (2, 2)
    assert seen["reads"] > 1000


def test_a_commit_that_is_refused_is_rolled_back(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> None:
    """A snapshot of another, then a write, between begin and commit: the old tree, nothing left."""
    site = Website(tmp_path, installed_collection, guest)
    ground = site.ground
    site.release(1).succeeded()
    old = ground.tree(ground.live)
    taken = ground.datasets()
    _refused(site.release(3, meanwhile=SNAPSHOT))
    assert (ground.tree(ground.live), site.left()) == (old, [])
    assert ground.datasets() == [*taken, "tank/dsg/website@daily"]
    _refused(site.release(3, meanwhile=WRITE))
    now = ground.tree(ground.live)
    assert "theirs" in now, "it is not ours to remove"
    assert ({name: now[name] for name in old}, len(now), site.left()) == (old, len(old) + 1, [])
    ground.zfs("rollback", "tank/dsg/website@daily")


def _refused(release: Play) -> None:
    """Assert that nothing but the commit failed, and that it is told."""
    told = [task["result"] for task in release.result.tasks if task["status"] == "failed"]
    assert [result["error"]["code"] for result in told if "error" in result] == ["DSG-DRIFT"], told
    assert release.result.rc == 2 and "Release 3 was not published" in release.said


class Steps:
    """A release whose transaction is begun, prepared and committed by separate runs of Ansible."""

    def __init__(self, root: Path, installed: InstalledCollection, guest: Guest) -> None:
        self.ground = StorageGround(root, installed, guest.host, "release")

    def play(self, state: str, txn: str = "", content: str = "", *options: str) -> Play:
        given = {"step_state": state, "step_txn": txn, "step_content": content}
        known = {name: value for name, value in given.items() if value}
        argv = ["-i", str(self.ground.inventory), "--limit", "ann", *options]
        argv += ["-e", json.dumps(known)]
        installed = self.ground.installed
        return Play(installed.playbook(ONE_STEP, *argv, ANSIBLE_PIPELINING="true"))

    def state(self) -> list[Any]:
        """Return all that a step may change: datasets with their properties, and the tree."""
        facts = self.ground.zfs(
            "get", "-Hrp", "-s", "local", "-o", "name,property,value", "all", "tank/dsg"
        )
        ours = sorted(line for line in facts.splitlines() if "release" in line)
        there = "tank/dsg/release" in self.ground.datasets()
        return [ours, self.ground.datasets(), self.ground.tree(self.ground.live) if there else None]

    def step(
        self, state: str, txn: str = "", content: str = "", *, changed: int = 1
    ) -> dict[str, Any]:
        """Announce a step, do it, and repeat it; return what the module said when it was done."""
        before = self.state()
        announced = self.play(state, txn, "", "--check").succeeded()
        assert announced.changed() == min(changed, 1) and self.state() == before
        done = self.play(state, txn, content).succeeded()
        assert done.changed() == changed
        after = self.state()
        assert self.play(state, txn, content).succeeded().changed() == 0
        assert but_for_leases(self.state()) == but_for_leases(after)
        result: dict[str, Any] = done.result.tasks[0]["result"]
        return result


def but_for_leases(state: list[Any]) -> list[Any]:
    """Leave out when leases end: a transaction that is begun again is left alone from then on."""
    ours, *others = state
    return [[re.sub(r"(?<=dsg:open\t)[0-9]+", "", line) for line in ours], *others]


def test_a_transaction_goes_on_in_later_runs(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> None:
    """Begun, prepared, committed, rolled back and recovered: announced, done, repeated."""
    steps = Steps(tmp_path, installed_collection, guest)
    ground = steps.ground
    files = {"first.txt", "second.txt"}

    steps.step("begun", "r1", "one", changed=2)
    told = steps.step("prepared", "r1")
    assert (
        set(told["paths"]["added"]) == files and ground.live not in ground.host.run("mount").stdout
    )
    told = steps.step("committed", "r1")
    assert (told["operation"], told["snapshot"], set(ground.tree(ground.live))) == (
        "init",
        1,
        files,
    )
    first = ground.tree(ground.live)

    steps.step("begun", "r2", "two", changed=2)
    assert steps.step("prepared", "r2")["paths"]["counts"] == {
        "added": 0,
        "changed": 2,
        "deleted": 0,
    }
    steps.step("rolled_back", "r2")
    assert ground.tree(ground.live) == first

    steps.step("begun", "r3", "three", changed=2)
    steps.step("prepared", "r3")
    steps.step("begun", "r4", "four", changed=2)
    told = steps.step("recovered")
    assert [line for line in told["recovered"] if "r3" in line and "r4" not in line]
    assert [line for line in told["recovered"] if "r4" in line]
    assert ground.tree(ground.live) == first
    assert ground.datasets() == ["tank/dsg/release", "tank/dsg/release@s1"]
    for lost in ("r3", "r4"):
        failed = steps.play("committed", lost)
        assert failed.result.rc == 2 and "no open transaction" in failed.said


def test_the_docs_show_this_very_playbook() -> None:
    """What is documented is what is tested."""
    shown = PLAYBOOK.read_text(encoding="utf-8").partition("---\n")[2]
    assert f"```yaml\n{shown}```" in DOCS.read_text(encoding="utf-8")
