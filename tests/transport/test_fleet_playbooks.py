# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own playbooks on three hosts, two of them behind a real sshd; also killed in between."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.playbooks import HOSTS, FleetGround, Play
from tests.integration.support import provision, read
from tests.tools import slow_link
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.tools.sshd import Sshd, free_port, sshd
from tests.transport.cuts import below, cut_link, kill, switch_off
from tests.unit.trees import content, untouched

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

MIB = 1 << 20
ENOUGH = 120.0
"""Seconds after which something that must come, or end, is taken never to do so."""


class Ground(FleetGround):
    """Host ``h1`` is at hand, ``h2`` and ``h3`` are one server under two names."""

    def __init__(self, root: Path, installed: InstalledCollection, server: Sshd) -> None:
        self.server = server
        self.rate = 0
        self.away: tuple[str, ...] = ()
        super().__init__(root, installed)
        for host in HOSTS:
            provision(str(root / host))

    def define(self, *definitions: dict[str, Any], **variables: Any) -> None:
        """Write the inventory; the hosts ``away`` are said to be where nobody listens."""
        shared = {"dsg_repositories": list(definitions), **variables}
        python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        hosts: dict[str, Any] = {"h1": {"ansible_connection": "local", **python}}
        for host in HOSTS[1:]:
            hosts[host] = {**self.reached, **python}
            if host in self.away:
                hosts[host]["ansible_port"] = free_port()
        self.inventory.write_text(json.dumps({"storage": {"hosts": hosts, "vars": shared}}))

    @property
    def reached(self) -> dict[str, Any]:
        options = list(self.server.options)
        if self.rate:
            proxy = [sys.executable, slow_link.__file__, "%h", "%p", str(self.rate)]
            options += ["-o", f"ProxyCommand={shlex.join(proxy)}"]
        return {
            "ansible_host": self.server.host,
            "ansible_port": self.server.port,
            "ansible_user": self.server.user,
            "ansible_ssh_private_key_file": str(self.server.key),
            "ansible_ssh_common_args": shlex.join(options),
            "ansible_ssh_args": "-o ControlMaster=no",  # nothing may stay behind the test
        }

    def start(
        self, *arguments: str, output: int, inventory: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Begin a playbook in a session, and a process group, of its own."""
        where = inventory or self.inventory
        return self.installed.start("-i", where, *arguments, output=output)

    def find(self, pattern: str) -> bool:
        """Tell whether something is there."""
        return any(self.root.glob(pattern))


@pytest.fixture
def fragile(tmp_path: Path, installed_collection: InstalledCollection) -> Any:
    """Three hosts that hold nothing yet; the server's processes are those of this test alone."""
    with sshd(tmp_path / "ssh") as server:
        yield Ground(tmp_path, installed_collection, server)


def test_first_publication_clone_and_sync(fragile: Ground) -> None:
    """The playbooks as they are, by ssh; a host that is away is told of, in either transport."""
    ground = fragile
    announced = ground.run("init", "--check", "--diff").succeeded()
    assert not any(ground.live_of(host).exists() for host in HOSTS)
    done = ground.run("init", "--diff").succeeded()
    assert done.differences() == announced.differences()
    assert ground.published() == [True] * 3
    assert sorted(done.summary()) == list(HOSTS)
    ground.define({**ground.definition, "src": str(ground.ben), "user": "ben"})
    cloned = ground.play("clone", who="h2").succeeded()
    assert cloned.summary()["h2"].startswith("h2 docs clone s1 0 0 4 0 8 B "), cloned.said
    assert read(str(ground.ben)) == read(str(ground.ann))
    ground.write({"a.txt": "ben\n"}, ground.ben)
    ground.play("sync", who="h2").succeeded()
    ground.define(ground.definition)
    ground.write({"b.txt": "ann\n"})
    ground.run("sync").succeeded()
    assert (ground.ann / "a.txt").read_text() == "ben\n"
    assert ground.published() == [True] * 3
    again = ground.run("sync").succeeded()
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]
    ground.away = ("h3",)
    ground.define(ground.definition)
    ground.write({"c.txt": "c\n"})
    for transport, problem in (("auto", "DSG-CONNECT"), ("local", "unreachable")):
        played = ground.run("sync", dsg_transport=transport, dsg_max_fail_percentage=40)
        assert played.result.rc in (2, 4), played.result
        rows = played.summary()
        assert sorted(rows) == list(HOSTS)
        assert rows["h3"].endswith(problem), rows
        assert not rows["h2"].endswith(problem)
        assert [ground.published()[number] for number in (0, 2)] == [True, False]
    assert ground.leftovers() == []


# --- progress


class Line(NamedTuple):
    """What a line of progress says of the phase in which files travel."""

    host: str
    done: float
    rate: float

    @property
    def seconds(self) -> float:
        """Return how long the phase had taken."""
        return self.done / self.rate


_LINE = re.compile(
    r"^(h[123]): (?:stage|upload), \d/2 files, ([\d.]+) MiB of [\d.]+ MiB, ([\d.]+) (MiB|KiB)/s, "
    r"\d+:\d\d left$",
    re.M,
)


def lines(said: str) -> list[Line]:
    """Return the lines of progress with files, bytes, rate and remaining time."""
    found = _LINE.findall(said.replace("\r", ""))
    return [
        Line(host, float(done), float(rate) / (1 if unit == "MiB" else 1024))
        for host, done, rate, unit in found
    ]


def on_terminal(
    ground: Ground, *arguments: str, seen: Callable[[str], object] = lambda said: None
) -> str:
    """Return what a playbook prints on a terminal; ``seen`` gets what there is as it grows."""
    master, slave = pty.openpty()
    running = ground.start(*arguments, output=slave)
    os.close(slave)
    said = b""
    try:
        while part := os.read(master, 1 << 16):
            said += part
            seen(said.decode(errors="replace"))
    except OSError:  # how a terminal ends whose other side is gone
        pass
    finally:
        os.close(master)
    text = said.decode()
    assert running.wait() == 0, text
    return text


def in_log(ground: Ground, *arguments: str) -> str:
    """Return what a playbook writes into a file."""
    log = ground.root / "log"
    with log.open("wb") as output:
        running = ground.start(*arguments, output=output.fileno())
    status = running.wait()
    text = log.read_text()
    assert status == 0, text
    return text


def gaps(found: list[Line]) -> list[float]:
    """Return the seconds between neighbouring lines of one host, as the lines themselves tell."""
    by_host = [[line.seconds for line in found if line.host == host] for host in HOSTS]
    return [late - early for times in by_host for early, late in zip(times, times[1:])]


def test_progress_of_a_long_run(fragile: Ground) -> None:
    """Every second on a terminal, rarely in a log, never where it is not wanted; ``-v`` tells all."""
    ground = fragile
    ground.rate = 2 * MIB
    ground.define(ground.definition)
    sync = ("dsg.storage.sync", "--limit", "h2,h3")
    large = ground.ann / "large"

    def fill(size: int) -> None:
        large.write_bytes(os.urandom(size))
        ground.write({"a.txt": f"{size}\n"})

    (ground.ann / "b.txt").unlink()
    ground.run("init", "--limit", "h2,h3").succeeded()
    fill(10 * MIB)
    said = on_terminal(ground, *sync, "-v")
    found = lines(said)
    for host in HOSTS[1:]:
        assert len([line for line in found if line.host == host]) >= 2, said
    assert min(gaps(found)) > 0.8, found
    assert '"upload": ["a.txt", "large"]' in said.replace("\r\n", "\n"), "-v lists the paths"
    assert said.count("DELETED THERE") == 1
    fill(26 * MIB)
    said = in_log(ground, *sync)
    found = lines(said)
    assert {line.host for line in found} == {"h2", "h3"}, said
    assert all(line.seconds > 8 for line in found), found
    assert all(gap > 8 for gap in gaps(found)), found
    assert "\x1b" not in said
    assert '"upload"' not in said
    fill(6 * MIB)
    said = on_terminal(ground, *sync, "-e", "dsg_progress=none")
    assert not re.search(r"(?m)^h[123]: ", said), said
    assert "DELETED THERE" not in said
    assert ground.published()[1:] == [True, True]


def test_progress_where_all_is_at_hand(fragile: Ground) -> None:
    """A host with a local connection tells of its phases, also while it only waits."""
    ground = fragile
    sync = ("dsg.storage.sync", "--limit", "h1")
    ground.run("init", "--limit", "h1").succeeded()
    ground.write({"a.txt": "changed\n"})
    with ExitStack() as until:
        until.enter_context(kept_from_others(ground, "h1"))
        waits = re.compile(r"(?m)^h1: waiting for a lock, \d:\d\d so far\r?$")

        def let_go(said: str) -> None:
            if len(waits.findall(said)) > 1:
                until.close()

        said = on_terminal(ground, *sync, seen=let_go)
    assert len(waits.findall(said)) > 1, said
    assert (ground.live_of("h1") / "a.txt").read_text() == "changed\n"
    with (ground.ann / "large").open("wb") as large:
        large.truncate(4 << 30)  # holes: they take nothing but the time to hash them
    said = on_terminal(ground, *sync, "--check")
    told = (
        r"(?m)^h1: hash, \d/\d files, [\d.]+ [GM]iB of 4.0 GiB, [\d.]+ [GM]iB/s, \d+:\d\d left\r?$"
    )
    assert re.search(told, said), said


# --- two control nodes


def let_ben_join(ground: Ground) -> dict[str, Any]:
    """Return the definition by which Ben publishes what Ann does, from his own working copy."""
    definition = {**ground.definition, "src": str(ground.ben), "user": "ben"}
    ground.define(definition)
    ground.play("clone", who="h1").succeeded()
    ground.run("sync").succeeded()  # which finds the other hosts at the same tree
    ground.define(ground.definition)
    return definition


def test_two_control_nodes_at_once(fragile: Ground) -> None:
    """Ben's inventory names the hosts the other way round, and each takes them one by one."""
    ground = fragile
    ground.run("init").succeeded()
    definition = let_ben_join(ground)
    ground.define(definition)
    bens = ground.root / "bens.json"
    shared = json.loads(ground.inventory.read_text())["storage"]
    hosts = dict(reversed(shared["hosts"].items()))
    bens.write_text(json.dumps({"storage": {**shared, "hosts": hosts}}))
    ground.define(ground.definition)
    ground.write({"a.txt": "by ann\n"})
    ground.write({"b.txt": "by ben\n"}, ground.ben)
    logs = [ground.root / name for name in ("ann.log", "ben.log")]
    running = []
    for log, inventory in zip(logs, (ground.inventory, bens)):
        with log.open("wb") as output:
            argv = ("dsg.storage.sync", "--forks", "1")
            running.append(ground.start(*argv, inventory=inventory, output=output.fileno()))
    statuses = [one.wait(ENOUGH) for one in running]
    said = [log.read_text() for log in logs]
    for status, text in zip(statuses, said):
        assert status == 0 or re.search("DSG-(HELD|LOCKED|BEHIND|CONFLICT)", text), text
    assert ground.leftovers() == [], said
    assert not ground.find("ben/docs/.dsg/fleet")
    trees = [read(str(ground.live_of(host))) for host in HOSTS]
    assert trees == [trees[0]] * 3, said
    for status, name in zip(statuses, ("a.txt", "b.txt")):
        by = b"by ann\n" if name == "a.txt" else b"by ben\n"
        assert ((ground.live_of("h1") / name).read_bytes() == by) is (status == 0), said
    ground.run("sync").succeeded()
    ground.define(definition)
    ground.run("sync").succeeded()
    assert read(str(ground.ben)) == read(str(ground.live_of("h2")))
    assert {(ground.ben / name).read_text() for name in ("a.txt", "b.txt")} == {
        "by ann\n",
        "by ben\n",
    }


@contextmanager
def kept_from_others(ground: Ground, host: str) -> Iterator[None]:
    """Lock the repository of a host for the block, right behind whoever has it now."""
    with (ground.root / host / ".dsg" / "docs.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kill_between_commits(ground: Ground) -> None:
    """Have Ann's playbook killed, and its workers, when ``h1`` has committed and the others have not."""
    ground.rate = MIB
    ground.define(ground.definition)
    ground.write({"number.txt": "2"})
    (ground.ann / "large").write_bytes(os.urandom(4 * MIB))
    log = ground.root / "log"
    with log.open("wb") as output:
        running = ground.start("dsg.storage.sync", output=output.fileno())
    for host in HOSTS[1:]:
        await_that(lambda host=host: ground.find(f"{host}/.dsg/docs.stage.*"), running, log)
    with kept_from_others(ground, "h2"), kept_from_others(ground, "h3"):
        await_that(lambda: switched(ground, "h1"), running, log)
        await_that(lambda: not ground.find("h1/.dsg/docs.*.*"), running, log)
        started = below(running.pid)
        os.killpg(running.pid, signal.SIGKILL)
        kill(started)
        running.wait()
    await_end(started, ground.server)
    ground.rate = 0
    ground.define(ground.definition)
    assert ground.find("ann/docs/.dsg/fleet/*/decision")
    assert [switched(ground, host) for host in HOSTS] == [True, False, False]


@pytest.mark.parametrize("name", ["a.txt", "b.txt"], ids=["the same file", "another file"])
def test_one_of_two_control_nodes_is_killed_between_commits(fragile: Ground, name: str) -> None:
    """The other one is refused until the first one's decision is carried out everywhere."""
    ground = fragile
    ground.write({"number.txt": "1"})
    ground.run("init").succeeded()
    bens = let_ben_join(ground)
    ground.write({"a.txt": "by ann\n"})
    ground.write({name: "by ben\n"}, ground.ben)
    kill_between_commits(ground)
    lives = [ground.live_of(host) for host in HOSTS]
    before = untouched(*lives, ground.ann, ground.ben)
    held = [path for path in ground.leftovers() if ".held." in path]
    assert [path[:2] for path in held] == ["h2", "h3"]
    ground.define(bens)
    for options in (["--check"], []):
        refused = ground.run("sync", *options)
        told = {item["item"]["backend"]["base"][-2:]: item["error"] for item in errors(refused)}
        codes = {host: error["code"] for host, error in told.items()}
        assert options or codes.pop("h1") == ("DSG-CONFLICT" if name == "a.txt" else "DSG-BEHIND")
        for host in HOSTS[1:]:
            assert codes.get(host) == "DSG-HELD", codes
            assert host in (told[host]["host"], told[host]["object"].partition(":")[0])
            assert "ann@" in told[host]["message"]
            assert str(ground.ann) in told[host]["message"], "where it is to be recovered"
            assert "dsg.storage.recover" in told[host]["next_step"]
            assert told[host]["next_step"] in refused.said
    assert "Nothing was published on any host" in refused.said
    ground.run("recover").succeeded()
    assert untouched(*lives, ground.ann, ground.ben) == before, "nor can he decide it"
    assert [path for path in ground.leftovers() if ".held." in path] == held
    assert not ground.find("ben/docs/.dsg/fleet")
    ground.define(ground.definition)
    ground.run("recover").succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []
    ground.define(bens)
    if name == "a.txt":
        before = untouched(*lives, ground.ben)
        refused = ground.run("sync")
        assert {item["error"]["code"] for item in errors(refused)} == {"DSG-CONFLICT"}
        assert untouched(*lives, ground.ben) == before
        ground.run("sync", dsg_conflict="local").succeeded()
    else:
        done = ground.run("sync").succeeded().summary()
        assert all(done[host].startswith(f"{host} docs sync s3 1 0 ") for host in HOSTS), done
    trees = [content(root) for root in (*lives, ground.ben)]
    assert trees == [trees[0]] * 4
    assert (ground.live_of("h2") / name).read_text() == "by ben\n"
    assert (ground.live_of("h2") / "number.txt").read_text() == "2"
    ground.define(ground.definition)
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


def errors(play: Play) -> list[dict[str, Any]]:
    """Return what failed with an error of ours."""
    return [item for item in play.items() if "error" in item]


# --- stopped and killed


def await_that(event: Callable[[], bool], running: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until something is so while a playbook runs; fail where it ends before."""
    while not event():
        assert running.poll() is None, said.read_text()
        time.sleep(0.002)


def await_end(pids: list[int], server: Sshd) -> None:
    """Wait until processes are gone, and nothing runs on the server."""
    deadline = time.monotonic() + ENOUGH
    while any(runs(pid) for pid in pids) or below(server.pid):
        left = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if runs(pid)]
        assert time.monotonic() < deadline, (left, below(server.pid))
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Tell whether a process has not ended; one that nobody waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_playbook_that_is_stopped(fragile: Ground, number: int) -> None:
    """By ^C or from beside, while files are on their way to two hosts: nothing happened anywhere."""
    ground = fragile
    ground.run("init").succeeded()
    old = [read(str(ground.live_of(host))) for host in HOSTS]
    ground.rate = MIB
    ground.define(ground.definition)
    (ground.ann / "large").write_bytes(os.urandom(64 * MIB))
    log = ground.root / "log"
    with log.open("wb") as output:
        running = ground.start("dsg.storage.sync", "--limit", "h2,h3", output=output.fileno())
    for host in HOSTS[1:]:
        await_that(lambda host=host: ground.find(f"{host}/.dsg/docs.stage.*"), running, log)
    started = below(running.pid)
    os.killpg(running.pid, number)
    assert running.wait(ENOUGH) != 0
    await_end(started, ground.server)
    assert [read(str(ground.live_of(host))) for host in HOSTS] == old
    assert not ground.find("*/.dsg/docs.held.*")
    assert not ground.find("h[23]/.dsg/docs.stage.*"), "the agents have undone what they began"
    ground.rate = 0
    ground.define(ground.definition)
    ground.run("recover").succeeded()
    assert ground.leftovers() == []
    assert [read(str(ground.live_of(host))) for host in HOSTS] == old
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []


class Moment(NamedTuple):
    """What is seen on the hosts, or in the working copy, when a playbook is killed."""

    name: str
    seen: Callable[[Ground], bool]


def switched(ground: Ground, host: str) -> bool:
    """Tell whether a host publishes what the working copy holds."""
    text = "number.txt"
    return (ground.live_of(host) / text).read_bytes() == (ground.ann / text).read_bytes()


MOMENTS = (
    Moment("a connection is made", lambda ground: bool(below(ground.server.pid))),
    Moment("the record is begun", lambda ground: ground.find("ann/docs/.dsg/fleet/*/head")),
    Moment("h1 stages", lambda ground: ground.find("h1/.dsg/docs.stage.*")),
    Moment("h2 stages", lambda ground: ground.find("h2/.dsg/docs.stage.*")),
    Moment("h3 stages", lambda ground: ground.find("h3/.dsg/docs.stage.*")),
    Moment("one holds", lambda ground: ground.find("h?/.dsg/docs.held.*")),
    Moment("h2 holds", lambda ground: ground.find("h2/.dsg/docs.held.*")),
    Moment(
        "all hold", lambda ground: all(ground.find(f"{host}/.dsg/docs.held.*") for host in HOSTS)
    ),
    Moment("it is decided", lambda ground: ground.find("ann/docs/.dsg/fleet/*/decision")),
    Moment("one has switched", lambda ground: any(switched(ground, host) for host in HOSTS)),
    Moment("h2 has switched", lambda ground: switched(ground, "h2")),
    Moment("all have switched", lambda ground: all(switched(ground, host) for host in HOSTS)),
)


def at_every_moment(
    ground: Ground,
) -> Iterator[tuple[str, object, subprocess.Popen[bytes], Path]]:
    """Start a playbook for each moment, and give it when that has come.

    Yields the moment's name, the tree that was published before, the playbook and its log.
    """
    ground.write({f"d{number % 8}/f{number}": "x" * number for number in range(200)})
    ground.write({"number.txt": "0"})
    ground.run("init").succeeded()
    log = ground.root / "log"
    for number, moment in enumerate(MOMENTS, 1):
        old = read(str(ground.live_of("h1")))
        ground.write({"number.txt": str(number), f"n{number}": str(number)})
        with log.open("wb") as output:
            running = ground.start("dsg.storage.sync", output=output.fileno())
        await_that(lambda: moment.seen(ground), running, log)  # noqa: B023
        yield moment.name, old, running, log


@pytest.mark.parametrize(
    "workers",
    ["go on to their end", pytest.param("die as well", marks=pytest.mark.long)],
)
def test_a_playbook_that_is_killed_at_any_moment(fragile: Ground, workers: str) -> None:
    """Ansible's workers have process groups of their own; each ends with its task, if nothing ends it.

    Whatever was decided is what recovery makes of all hosts, and each next run finds its way.
    """
    ground = fragile
    ends = []
    for moment, old, running, _log in at_every_moment(ground):
        started = below(running.pid)
        os.killpg(running.pid, signal.SIGKILL)
        if workers == "die as well":
            kill(started)
        running.wait()
        await_end(started, ground.server)
        ends.append(recovered(ground, old, f"killed when {moment}"))
    assert ends[0] is False
    assert ends[-1] is True
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    verified = ground.run("verify").succeeded()
    assert verified.said.count(" yes ") == 3, verified.said


def recovered(ground: Ground, old: object, said: str) -> bool:
    """Recover; tell whether all hosts publish the new tree then, as was decided, or else the old one."""
    decisions = [path.read_text() for path in ground.ann.glob(".dsg/fleet/*/decision")]
    forward = any('"commit"' in text for text in decisions)
    forward = forward or any(switched(ground, host) for host in HOSTS)
    said += f": {ground.leftovers()}, forward: {forward}"
    ground.run("recover").succeeded()
    assert ground.leftovers() == [], said
    assert ground.published() == [forward] * 3, said
    assert forward or [read(str(ground.live_of(host))) for host in HOSTS] == [old] * 3, said
    return forward


@pytest.mark.parametrize("strike", [cut_link, pytest.param(switch_off, marks=pytest.mark.long)])
def test_a_link_that_is_lost_at_any_moment(fragile: Ground, strike: Callable[[Sshd], None]) -> None:
    """The playbook goes on to its end: it says what happened, and all hosts are brought to one state."""
    ground = fragile
    ends = []
    for moment, old, running, log in at_every_moment(ground):
        strike(ground.server)
        status = running.wait(ENOUGH)
        await_end([], ground.server)
        said = f"lost when {moment}, {log.read_text()}"
        # What was committed before the link was lost may be told as unfinished.
        assert status == 2 or (status == 0 and all(ground.published())), said
        ends.append(recovered(ground, old, said))
    assert {False, True} == set(ends), ends
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3


# --- a disk that runs full


class Shortage(NamedTuple):
    """What one host has too little of, until ``enlarged``, for so many new files of a size."""

    name: str
    mount: str
    enlarged: str
    files: int
    size: int


SHORTAGES = (
    Shortage("one large file", "size=8m", "size=64m", 1, 12 * MIB),
    Shortage("many files", "size=8m", "size=64m", 400, MIB // 32),
    Shortage("no inodes", "nr_inodes=300", "nr_inodes=3000", 400, MIB // 64),
)


@pytest.fixture(params=SHORTAGES, ids=lambda shortage: shortage.name)
def narrow(
    request: pytest.FixtureRequest, tmp_path: Path, installed_collection: InstalledCollection
) -> Iterator[tuple[Ground, Shortage]]:
    """Three hosts at s1, of which ``h2`` has a small file system of its own, and a tree that is too large for it."""
    small, shortage = tmp_path / "h2", request.param
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"{shortage.mount},mode=0755", "none", str(small)]
    subprocess.run(mount, check=True)
    try:
        with sshd(tmp_path / "ssh") as server:
            ground = Ground(tmp_path, installed_collection, server)
            ground.run("init").succeeded()
            for number in range(shortage.files):
                path = ground.ann / f"d{number % 8}" / f"f{number}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(os.urandom(shortage.size))
            yield ground, shortage
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


class Room(NamedTuple):
    """Blocks and inodes that are free."""

    blocks: int
    inodes: int


def room(place: Path) -> Room:
    """Return what is free on the file system of a place."""
    found = os.statvfs(place)
    return Room(found.f_bfree, found.f_ffree)


def test_a_host_that_runs_full_while_files_come_in(narrow: tuple[Ground, Shortage]) -> None:
    """Nobody publishes, and nothing of it is left; with more room the same play publishes everywhere."""
    ground, shortage = narrow
    hosts = [ground.root / host for host in HOSTS]
    before, free = untouched(*hosts, ground.ann), room(hosts[1])

    def check_as_before() -> None:
        assert untouched(*hosts, ground.ann) == before
        assert ground.leftovers() == []
        assert room(hosts[1]) == free

    def is_half_full() -> bool:
        now = room(hosts[1])
        return now.blocks < free.blocks / 2 or now.inodes < free.inodes / 2

    ground.rate = 4 * MIB
    ground.define(ground.definition)
    log = ground.root / "log"
    with log.open("wb") as output:
        running = ground.start("dsg.storage.sync", output=output.fileno())
    await_that(is_half_full, running, log)
    assert running.wait(ENOUGH) == 2
    assert "ENOSPC" in log.read_text()
    check_as_before()
    ground.rate = 0
    ground.define(ground.definition)
    play = ground.run("sync")
    error = play.failed("DSG-SYSTEM")["error"]
    assert error["host"] == "h2"
    assert "ENOSPC" in error["message"]
    assert error["object"].startswith("d"), "which file it was"
    assert "are unchanged" in error["unchanged"]
    assert "Remove the cause" in error["next_step"]
    assert error["next_step"] in play.said
    assert "Nothing was published on any host. Failed were h2: DSG-SYSTEM" in play.said
    ends = {"h1": " rolled back", "h2": " DSG-SYSTEM", "h3": " rolled back"}
    rows = play.summary()
    assert all(rows[host].endswith(end) for host, end in ends.items()), rows
    check_as_before()
    remount = ["mount", "-o", f"remount,{shortage.enlarged}", str(hosts[1])]
    subprocess.run(remount, check=True)
    ground.run("sync").succeeded()
    assert ground.published() == [True] * 3
    assert ground.leftovers() == []
    assert ground.run("verify").succeeded().said.count(" yes ") == 3
