# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The delegated model: a service user with grants, and the root-owned helper behind one sudo rule."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from _core.backends.zfs.delegated import Delegated
from _core.backends.zfs.layout import Layout
from _core.backends.zfs.repository import ZfsRepository
from _core.backends.zfs.rights import REQUIRED
from _core.backends.zfs.transaction import ZfsTransaction
from _core.errors import DsgError
from _core.upkeep.prune import PruneResult, prune
from _core.upkeep.retention import Keep
from _core.zfs import mounts
from _core.zfs.command import Runner
from guest.as_user import as_user
from guest.before import Before
from guest.lab import COUNTS, PARENT, Lab, provision, sh
from host import _program

USER = "dsg"
OTHER = "tank/other"
PROGRAM = "/usr/local/libexec/dsg-storage"
CONFIGURATION = "/etc/dsg/helper.json"
SUDO_RULE = "/etc/sudoers.d/dsg-storage"


def provision_user(parents: Sequence[str] = (PARENT,)) -> None:
    """Do by hand what the role ``delegation`` does."""
    os.makedirs("/etc/dsg", exist_ok=True)
    os.makedirs(os.path.dirname(PROGRAM), exist_ok=True)
    _write(PROGRAM, _program.build("/usr/bin/python3"), 0o755)
    _configure(dict.fromkeys(parents, USER))
    _write(SUDO_RULE, f"{USER} ALL=(root) NOPASSWD: {PROGRAM} helper\n".encode(), 0o440)
    sh("visudo", "-cf", SUDO_RULE)
    for parent in parents:
        _grant(parent)


def _grant(parent: str = PARENT) -> None:
    sh("zfs", "allow", "-u", USER, ",".join(REQUIRED), parent)
    for place in (parent, f"{parent}/.dsg"):
        sh("zfs", "allow", "-l", "-u", USER, "create", place)


def _configure(parents: dict[str, str]) -> None:
    _write(CONFIGURATION, json.dumps({"format": 1, "parents": parents}).encode(), 0o644)


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
    os.chmod(path, mode)


# --- what the service user can do


def it_works_without_a_right_too_many() -> None:
    """The user publishes; as root's files are, nobody can write to what is published."""
    lab = Lab("byuser")
    lab.put("a", "1")
    assert lab.sync().operation == "init"
    lab.put("a", "22")
    assert lab.sync().snapshot == 2
    assert lab.published() == lab.local()
    lab.clean()
    for path in (f"{lab.path}/a", f"{lab.path}/new", f"{lab.mountpoint}/new"):
        said = str(_fails(lambda path=path: os.open(path, os.O_WRONLY | os.O_CREAT)))  # type: ignore[misc]
        assert "Read-only" in said or "Permission denied" in said, said
    lab.destroy()


def a_helper_ends_with_its_repository() -> None:
    """Not with the process that asked for it, which may go on with many other repositories."""
    lab = Lab("ended")

    def ask_and_forget() -> bool:
        Delegated(Runner(), Layout(lab.parent, lab.name)).require()
        gc.collect()
        until = time.monotonic() + 60
        with suppress(ChildProcessError):  # somebody has collected it already
            while os.waitpid(-1, os.WNOHANG) == (0, 0):
                if time.monotonic() > until:
                    return False
                time.sleep(0.1)
        return True

    assert lab.acting(ask_and_forget)
    lab.clean_absent()


def publish_and_leave() -> None:
    """Publish, for :func:`refused_and_removed` to find when the delegation was taken back."""
    lab = Lab("left")
    lab.put("a", "1")
    lab.sync()


def refused_and_removed() -> None:
    """What was published is still there; its user is refused, and told which role grants it."""
    lab = Lab("left")
    assert lab.published().keys() == {"a"}
    another = Lab("another")
    another.put("a", "1")
    assert "dsg.storage.delegation" in another.refused("DSG-RIGHTS").next_step
    another.clean_absent()
    lab.destroy()


def a_private_mount_is_private() -> None:
    """While a transaction is filled, nobody but root and the user's own group can look into it."""
    from _core.backends import tree

    lab = Lab("private")
    lab.put("a", "1")
    seen: list[Any] = []
    upload = tree.upload

    def looking(source: str, work: str, uploads: Any) -> Any:
        seen.append((work, sh("stat", "-c", "%U %G %a", os.path.dirname(work))))
        raise DsgError("looked", details=[*seen[-1]], next_step="none")

    tree.upload = looking
    error = lab.refused("DSG-INTERNAL", "looked")
    tree.upload = upload
    work, holder = error.details[:2]
    assert holder.split() == ["root", USER, "710"], holder
    assert work.startswith("/run/dsg/mnt/")
    lab.clean_absent()
    lab.put("a", "2")
    lab.sync()
    lab.destroy()


# --- what is missing is named before anything starts


def a_lock_left_by_a_kill_is_mended() -> None:
    """Its group was set, its mode was not yet: the helper died between the two."""
    lab = Lab("halflocked")
    lab.put("a", "1")
    lab.sync()
    lock = Layout(lab.parent, lab.name).lock
    os.chmod(lock, 0o600)
    lab.put("a", "22")
    assert lab.sync().snapshot == 2
    assert os.stat(lock).st_mode & 0o777 == 0o640, "who may lock it may not fill root's memory"
    assert lab.published() == lab.local()
    lab.clean()
    lab.destroy()


def names_without_end_get_no_locks() -> None:
    """Each takes memory of root's until the next boot; what is there goes on."""
    lab, new = Lab("locked"), Lab("unlocked")
    for one in (lab, new):
        one.put("a", "1")
    lab.sync()
    lock = Layout(new.parent, "invented").lock
    invented = [lock.replace("invented", f"invented{number}") for number in range(10_000)]
    for path in invented:
        os.close(os.open(path, os.O_CREAT, 0o600))
    try:
        new.refused("DSG-ARGUMENT", "may have 10000")
        lab.put("a", "22")
        assert lab.sync().snapshot == 2
    finally:
        for path in invented:
            os.unlink(path)
    for one in (lab, new):
        one.sync()
        one.destroy()


def a_missing_grant_is_named() -> None:
    """Every single one; nothing has begun, and check mode says the same."""
    lab = Lab("lacks")
    lab.put("a", "1")
    lab.sync()
    lab.put("a", "22")
    sh("zpool", "sync", "tank")  # sizes are told as of the last transaction group
    before = (lab.facts(), lab.published(), lab.local())
    for number, right in enumerate(REQUIRED):
        sh("zfs", "unallow", "-u", USER, right, PARENT)
        dry = number % 2 == 0
        lab.refused("DSG-RIGHTS", right, PARENT, USER, "dsg.storage.delegation", check=dry)
        _grant()
    for place in (PARENT, f"{PARENT}/.dsg"):
        sh("zfs", "unallow", "-u", USER, "create", place)
        lab.refused("DSG-RIGHTS", "create, for it and for its container", PARENT, USER)
        _grant()
    after = (lab.facts(), lab.published(), lab.local())
    assert after == before, {"before": before, "after": after}
    assert lab.sync().snapshot == 2
    _refuses_to_prune(lab)
    lab.destroy()


def _refuses_to_prune(lab: Lab) -> None:
    """What the run is refused for the dry run is, and neither removes anything."""

    def work(check: bool) -> PruneResult:
        return prune(ZfsRepository(lab.parent, lab.name), Keep(last=1), check=check)

    sh("zfs", "unallow", "-u", USER, "destroy", PARENT)
    for check in (True, False):
        said = str(_fails(lambda check=check: work(check)))  # type: ignore[misc]
        assert "[DSG-RIGHTS]" in said and "destroy" in said, said
    _grant()
    assert lab.snapshots() == ["s1", "s2"]
    assert lab.acting(lambda: work(False)).removed == ["s1"]


def a_grant_to_a_group_or_everyone_counts() -> None:
    """How the right was given does not matter."""
    lab = Lab("bygroup")
    lab.put("a", "1")
    sh("zfs", "unallow", "-u", USER, PARENT)
    sh("zfs", "unallow", "-u", USER, f"{PARENT}/.dsg")
    lab.refused("DSG-RIGHTS", "clone", "create")
    every = ("create", *REQUIRED)  # more than needed: older versions granted it
    sh("zfs", "allow", "-g", USER, ",".join(every[:4]), PARENT)
    sh("zfs", "allow", "-s", "@rest", ",".join(every[4:]), PARENT)
    sh("zfs", "allow", "-e", "@rest", PARENT)
    assert lab.sync().snapshot == 1
    sh("zfs", "unallow", "-g", USER, PARENT)
    sh("zfs", "unallow", "-e", PARENT)
    sh("zfs", "unallow", "-s", "@rest", PARENT)
    sh("zfs", "allow", "-l", "-u", USER, ",".join(every), PARENT)
    lab.put("a", "22")
    lab.refused("DSG-RIGHTS", "create")
    sh("zfs", "allow", "-d", "-u", USER, ",".join(every), PARENT)
    assert lab.sync().snapshot == 2
    sh("zfs", "unallow", "-u", USER, PARENT)
    above = PARENT.rpartition("/")[0]
    sh("zfs", "allow", "-d", "-u", USER, ",".join(every), above)
    try:
        lab.put("a", "333")
        assert lab.sync().snapshot == 3
    finally:
        sh("zfs", "unallow", "-u", USER, above)
    _grant()
    lab.clean()
    lab.destroy()


def a_missing_helper_is_named() -> None:
    """No program, no rule, no configuration, or one that names somebody else."""
    lab = Lab("nohelper")
    lab.put("a", "1")
    for path in (PROGRAM, SUDO_RULE, CONFIGURATION):
        os.rename(path, f"{path}.away~")  # sudo does not read files with such names
        error = lab.refused("DSG-ARGUMENT" if path == CONFIGURATION else "DSG-RIGHTS")
        assert "dsg.storage.delegation" in error.next_step
        os.rename(f"{path}.away~", path)
    for parents in ({}, {OTHER: USER}, {PARENT: "root"}, {PARENT: "nobody-there"}):
        _configure(parents)
        lab.refused("DSG-ARGUMENT", "delegat" if parents != {PARENT: "nobody-there"} else "exist")
    _configure({PARENT: USER})
    os.chmod(CONFIGURATION, 0o666)
    lab.refused("DSG-ARGUMENT", "only root can write")
    os.chmod(CONFIGURATION, 0o644)
    lab.clean_absent()
    lab.sync()
    lab.destroy()


def a_tree_of_somebody_else_is_not_begun() -> None:
    """Root published it; the user could not change the files, and is told so at once."""
    lab = Lab("ofroot")
    lab.put("a", "1")
    lab.user, user = "", lab.user
    lab.sync()
    lab.user = user
    lab.put("a", "22")
    sh("zpool", "sync", "tank")  # sizes are told as of the last transaction group
    before = (lab.facts(), lab.published())
    for check in (True, False):
        lab.refused("DSG-RIGHTS", "belongs to root", check=check)
    after = (lab.facts(), lab.published())
    assert after == before, {"before": before, "after": after}
    lab.destroy()


def root_leaves_a_users_tree_to_the_user() -> None:
    """What root publishes into it, the user can change and delete later."""
    lab = Lab("mixed")
    lab.put("a", "1")
    lab.put("d/b", "1")
    lab.sync()
    lab.user, user = "", lab.user
    lab.put("a", "22")
    lab.put("new/deep/c", "c")
    lab.sync()
    lab.user = user
    lab.put("a", "333")
    lab.put("new/deep/c", None)
    lab.put("new/deep/d", "d")
    assert lab.sync().snapshot == 3
    assert lab.published() == lab.local()
    owners = sh("find", lab.path, "!", "-path", "*/.dsg/*", "!", "-user", USER)
    assert owners == "", owners
    lab.clean()
    lab.destroy()


# --- escapes


def _fails(work: Callable[[], Any]) -> Exception:
    def tried() -> str:
        try:
            work()
        except (DsgError, OSError) as exc:
            return str(exc)
        raise AssertionError("it was allowed")

    return OSError(as_user(USER, tried))


def _sudo(*command: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with sudo as the service user."""

    def run() -> Any:
        return subprocess.run(
            ["sudo", "-n", *command], input=said, capture_output=True, text=True, check=False
        )

    return as_user(USER, run)


def the_sudo_rule_allows_one_command_line() -> None:
    """Other arguments, other programs, environment, editors, shells: all refused."""
    for command in (
        ("id",),
        ("-s",),
        (PROGRAM,),
        (PROGRAM, "recover"),
        (PROGRAM, "helper", "x"),
        (PROGRAM, "helper helper"),
        (f"{PROGRAM}x", "helper"),
        ("/usr/local/libexec/../libexec/dsg-storage", "recover"),
        ("-u", USER, "id"),
        ("-e", CONFIGURATION),
        ("PYTHONPATH=/tmp", PROGRAM, "helper"),
        ("PYTHONSTARTUP=/tmp/x", PROGRAM, "helper"),
        ("-E", "PATH=/tmp", PROGRAM, "helper"),
        ("zfs", "set", "mountpoint=/etc", PARENT),
        ("zfs", "mount", "tank"),
        ("mount", "-t", "zfs", PARENT, "/mnt"),
    ):
        done = _sudo(*command)
        assert done.returncode != 0, (command, done)
        assert "uid=0" not in done.stdout, (command, done)


class _Helper:
    """The helper, as an attacker talks to it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["sudo", "-n", PROGRAM, "helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def say(self, **request: Any) -> Any:
        return self.raw(json.dumps(request).encode())

    def raw(self, line: bytes) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or '{"error": {"code": "gone"}}')

    def end(self) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


def _attack(requests: list[dict[str, Any]]) -> list[Any]:
    def talk() -> list[Any]:
        helper = _Helper()
        answers = [helper.say(**request) for request in requests]
        helper.end()
        return answers

    return list(as_user(USER, talk))


def the_helper_takes_no_other_place() -> None:
    """Other datasets, paths, options, newlines, parents that are not the user's: refused."""
    _provision_other()
    lab = Lab("target")
    lab.put("a", "1")
    lab.sync()
    before = _picture()
    plain = {"parent": PARENT, "name": "target"}
    work = {**plain, "kind": "stage", "txn": "x"}
    requests: list[dict[str, Any]] = [
        {"verb": "publish", "parent": OTHER, "name": "x"},
        {"verb": "mount", **work, "parent": OTHER},
        {"verb": "publish", "parent": "tank", "name": "dsg"},
        {"verb": "publish", "parent": f"{PARENT}/target", "name": "x"},
        {"verb": "publish", "parent": f"{PARENT}/.dsg", "name": "x"},
        {"verb": "publish", "parent": f"{PARENT}\n{OTHER}", "name": "x"},
        {"verb": "publish", "parent": f"{PARENT}/../other", "name": "x"},
        *({"verb": "publish", "parent": PARENT, "name": name} for name in
          (".dsg", "..", "../other/x", "/etc", "-o", "a b", "a\nb", "a@s1", "", "absent")),
        {"verb": "mount", **work},
        {"verb": "mount", **work, "kind": "old"},
        {"verb": "mount", **work, "kind": "stage.x", "txn": "y"},
        {"verb": "mount", **work, "txn": "../../../etc"},
        {"verb": "mount", **work, "txn": "a/b"},
        {"verb": "mount", **work, "txn": "x\n"},
        {"verb": "unmount", **plain, "txn": ".."},
        {"verb": "unmount", **plain, "txn": "../../../srv"},
        {"verb": "carry-over", **plain, "txn": "x"},
        {"verb": "mount", **work, "directory": "/etc"},
        {"verb": "mount", **work, "options": "suid"},
        {"verb": "run", **plain},
        {"verb": "destroy", **plain},
        {"verb": ["publish"], **plain},
        {"verb": "publish", "parent": PARENT, "name": {"a": 1}},
    ]  # fmt: skip
    for request, answer in zip(requests, _attack(requests)):
        error = answer.get("error", {})
        assert error.get("code") in ("DSG-ARGUMENT", "DSG-REPOSITORY", "DSG-ZFS"), (request, answer)
    assert not os.path.lexists("/srv/dsg/absent")
    after = _picture()
    assert after == before, set(before) ^ set(after)
    lab.clean()
    lab.destroy()
    sh("zfs", "destroy", "-r", OTHER)


def the_helper_takes_whole_lines_only() -> None:
    """What is no request is answered as that, and the next one is served; what is too long ends it."""
    hello = {"verb": "hello", "parent": PARENT, "name": "target"}
    good = json.dumps(hello).encode()
    lines = [
        *(b"", b" ", b"publish", b"null", b"1e999", b"[]", b'{"verb": "publish"', b"{}", b"\0\0"),
        *(b"\xff\xfe" + good, good[:-1], good + good, b"[" * 4000, b'{"verb":' * 500, good.upper()),
        *(good.replace(b"hello", b"hello\\u0000"), good.replace(b"target", b"\\ud800")),
        *(good.replace(b"target", b"t" * 3000), good[:-1] + b', "kind": "stage"}'),
    ]

    def talk() -> tuple[list[Any], list[Any], Any, int]:
        helper = _Helper()
        refused = [helper.raw(line) for line in lines]
        after = [helper.raw(b"{"), helper.say(**hello)]
        long = helper.raw(good + b" " * 5000)
        return refused, after, long, helper.end()

    refused, after, long, status = as_user(USER, talk)
    for line, answer in zip(lines, refused):
        assert answer.get("error", {}).get("code") == "DSG-ARGUMENT", (line, answer)
    assert after[1] == {"done": []}, after
    assert long["error"]["code"] == "DSG-ARGUMENT" and status == 1, (long, status)


def _provision_other() -> None:
    """Make a publish parent that is not the service user's."""
    provision(OTHER, "/srv/other")
    assert sh("zfs", "allow", OTHER) == ""


def _picture() -> list[str]:
    """Return every mount, dataset and local property of the host."""
    found = sh("zfs", "get", "-Hp", "-r", "-s", "local", "-o", "name,property,value", "all", "tank")
    listed = sh("zfs", "list", "-H", "-t", "all", "-o", "name,guid", "-r", "tank")
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        return [*found.splitlines(), *listed.splitlines(), *stream.read().splitlines()]


def what_a_property_says_is_no_other_property() -> None:
    """The user sets what looks like lines of others: nothing is mounted, set or recovered by them."""
    _provision_other()
    lab = Lab("lines")
    lab.put("a", "1")
    lab.sync()
    place = os.path.dirname(PROGRAM)
    txn = sh("zfs", "get", "-H", "-o", "value", "dsg:txn", lab.live).strip()
    invented = f"x\tlocal\n{lab.live}\tmountpoint\t{place}\tinherited from {PARENT}"
    marked = f"1\tlocal\n{OTHER}\tdsg:parent\t1"

    def setting(value: str, dataset: str = lab.live) -> None:
        as_user(
            USER, lambda: subprocess.run(["/usr/sbin/zfs", "set", value, dataset], check=True).args
        )

    before = _mounted()
    publish = {"verb": "publish", "parent": PARENT, "name": "lines"}
    for rest in ("", f"\n{lab.live}\tdsg:y\tz", f"\n{lab.live}\tdsg:open\t-", "\n"):
        setting(f"dsg:txn={invented}{rest}")
        (answer,) = _attack([publish])
        assert answer.get("error", {}).get("code") == "DSG-ZFS", answer
        lab.refused("DSG-ZFS", "end of line")
        sh(PROGRAM, "recover", check=False)
        assert _mounted() == before
    setting(f"dsg:txn={txn}")
    setting(f"dsg:parent={marked}", f"{PARENT}/.dsg")
    sh(PROGRAM, "recover", check=False)
    assert _mounted() == before
    sh("zfs", "inherit", "dsg:parent", f"{PARENT}/.dsg")
    assert "tank/other" not in sh(PROGRAM, "recover")
    setting("org:x=a\nsetuid\ton\nmountpoint=/srv/dsg:y\tz\nsharenfs\ton")
    lab.put("a", "22")
    assert lab.sync().snapshot == 2
    own = sh("zfs", "get", "-H", "-s", "local", "-o", "property", "all", lab.live).split()
    assert set(own) - set(COUNTS) == {"dsg:txn", "org:x"}, own
    lab.clean()
    lab.destroy()
    sh("zfs", "destroy", "-r", OTHER)


def a_parent_of_the_users_own_is_none() -> None:
    """What he makes look like a publish parent, root's recovery at boot does not even look at."""
    lab = Lab("own")
    lab.put("a", "1")
    lab.sync()
    fake = f"{PARENT}/fake"
    for name in (fake, f"{fake}/.dsg", f"{fake}/T"):  # as older versions allowed him to
        sh("zfs", "create", "-u", name)

    def marking() -> None:
        for words in (("dsg:parent=1", fake), ("dsg:txn=x", f"{fake}/T")):
            subprocess.run(["/usr/sbin/zfs", "set", *words], check=True)

    as_user(USER, marking)
    told = sh(
        "zfs", "get", "-H", "-s", "local", "-o", "value", "dsg:parent,dsg:txn", fake, f"{fake}/T"
    )
    assert told == "1\nx\n", told
    before = _mounted()
    try:
        assert "fake" not in sh(PROGRAM, "recover")
        unmark = ["/usr/sbin/zfs", "inherit", "dsg:parent", PARENT]
        as_user(USER, lambda: subprocess.run(unmark, check=True).args)
        assert "fake" not in sh(PROGRAM, "recover")
    finally:
        sh("zfs", "set", "dsg:parent=1", PARENT)
    assert _mounted() == before
    sh("zfs", "destroy", "-r", fake)
    lab.clean()
    lab.destroy()


def links_lead_nowhere() -> None:
    """Symbolic links that the user plants where the helper works are not followed."""
    lab = Lab("links")
    lab.put("a", "1")
    os.symlink("/etc", lab.copy("wc") + "/etc-link")
    for place in ("/run/dsg/x", "/run/dsg/mnt/x", "/srv/dsg/x", "/etc/dsg/x"):
        said = str(_fails(lambda place=place: os.symlink("/etc", place)))  # type: ignore[misc]
        assert "Permission denied" in said or "Read-only" in said, (place, said)
    lab.refused("DSG-PATH", "etc-link")  # nor does such a link get published
    os.unlink(lab.copy("wc") + "/etc-link")
    lab.sync()
    lab.clean()
    lab.destroy()


def _mounted() -> set[tuple[str, str]]:
    """Return what of OpenZFS is mounted, and where."""
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        fields = [line.split() for line in stream]
    return {(source, point) for source, point, kind, *_unused in fields if kind == "zfs"}


def _rename_until(over: str, one: str, two: str) -> None:
    """Rename a dataset back and forth, as whoever this process is, until there is that file."""
    while not os.path.exists(over):
        for names in ((one, two), (two, one)):
            subprocess.run(
                ["/usr/sbin/zfs", "rename", "-u", *names], capture_output=True, check=False
            )


def a_race_of_names_stays_below_the_parent() -> None:
    """The user renames datasets while the helper mounts: nothing but his own is ever mounted."""
    _provision_other()
    lab = Lab("race")
    lab.put("a", "1")
    lab.sync()
    over = "/run/dsg-tests.race-is-over"  # a process of its own renames: no event reaches it
    one, two = (f"{lab.container}/race.stage.{txn}" for txn in ("one", "two"))

    def renaming() -> None:
        clone = ["/usr/sbin/zfs", "clone", f"{lab.live}@s1", one]
        subprocess.run(clone, capture_output=True, check=False)
        _rename_until(over, one, two)

    thread = threading.Thread(target=lambda: as_user(USER, renaming))
    thread.start()
    mount = {"verb": "mount", "parent": PARENT, "name": "race", "kind": "stage", "txn": "one"}
    unmount = {"verb": "unmount", "parent": PARENT, "name": "race", "txn": "one"}
    before = _mounted()
    seen = []
    try:
        for _unused in range(60):
            _attack([mount])
            seen += _mounted() - before
            _attack([unmount])
            if len(seen) >= 5:
                break
    finally:
        with open(over, "w", encoding="utf-8"):
            thread.join()
        os.unlink(over)
    assert seen, "the helper never came first"
    ours = f"{lab.container}/race.stage."
    place = Layout(PARENT, "race").mount("one")
    assert {(point, source.startswith(ours)) for source, point in seen} == {(place, True)}, seen
    assert _mounted() == before
    lab.recover()
    lab.recover()
    lab.clean()
    assert mounts.mounted_at("/srv/other") == OTHER
    lab.destroy()
    sh("zfs", "destroy", "-r", OTHER)


def roots_work_is_roots_alone() -> None:
    """Nothing that the user asks for takes a mount from root's running transaction, or joins it."""
    lab = Lab("shared")
    lab.put("a", "1")
    lab.sync()
    lab.user, user = "", lab.user
    lab.put("a", "22")
    names = {"parent": PARENT, "name": lab.name}
    answers: list[Any] = []

    def attack() -> None:
        (directory,) = Layout(lab.parent, lab.name).mounts()
        before = os.lstat(directory), _mounted()
        txn = os.path.basename(os.path.dirname(directory)).rpartition("%")[2]
        asked: list[dict[str, Any]] = [
            {"verb": "unmount", **names, "txn": txn},
            {"verb": "mount", **names, "kind": "stage", "txn": txn},
            {"verb": "release", **names},
            {"verb": "publish", **names},
        ]
        answers.extend(_attack(asked))
        stage, other = (f"{lab.container}/shared.stage.{one}" for one in (txn, "other"))
        _as_user_zfs("rename", "-u", stage, other)
        answers.extend(_attack([{"verb": "mount", **names, "kind": "stage", "txn": "other"}]))
        _as_user_zfs("rename", "-u", other, stage)
        assert (os.lstat(directory), _mounted()) == before
        assert isinstance(_fails(lambda: os.listdir(directory)), OSError)

    with Before(attack, "prepare"):
        assert lab.sync().snapshot == 2
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == ["DSG-REPOSITORY", "DSG-REPOSITORY", None, None, "DSG-REPOSITORY"], answers
    assert all("root has mounted" in answer["error"]["message"] for answer in answers[:2]), answers
    assert lab.published() == lab.local()
    _die_in_prepare(lab)
    left = lab.left()
    stage = next(one for one in left if ".stage." in one).split()[1]
    lab.user = user
    lab.put("a", "4444")
    assert lab.sync().snapshot == 3, "what root left is not in the way"
    lab.put("a", "55555")
    assert lab.sync().snapshot == 4
    assert lab.published() == lab.local()
    assert lab.left() == left, "and is root's to undo"
    lab.user = ""
    assert any(stage in done for done in lab.recover())
    lab.clean()
    lab.destroy()


def root_works_in_nothing_that_others_have_open() -> None:
    """Whoever may rename puts what they sit in into the place of root's clone: root does not mount it."""
    lab = Lab("seated")
    lab.put("a", "1")
    lab.sync()
    names = {"parent": PARENT, "name": lab.name, "txn": "mine"}
    mine = f"{lab.container}/seated.stage.mine"
    _as_user_zfs("clone", "-o", "dsg:txn=mine", f"{lab.live}@s1", mine, fails=True)  # not mounted
    (answer,) = _attack([{"verb": "mount", **names, "kind": "stage"}])
    assert "done" in answer, answer
    directory = Layout(lab.parent, lab.name).mount("mine")
    with (
        subprocess.Popen(["sleep", "600"], cwd=directory, user=USER, group=USER) as sitting,
        ExitStack() as stack,
    ):
        stack.callback(sitting.kill)
        _attack([{"verb": "release", "parent": PARENT, "name": lab.name}])
        assert not os.path.lexists(directory), "it is in no list of mounts any more"
        lab.user, user = "", lab.user
        lab.put("a", "22")

        def swap(transaction: Any) -> None:
            _as_user_zfs("rename", "-u", transaction.dataset, f"{lab.container}/seated.stage.aside")
            _as_user_zfs("rename", "-u", mine, transaction.dataset)

        before = lab.published()
        with _before_mounting(swap):
            lab.refused("DSG-REPOSITORY", "is in it, or renamed it")
        assert lab.published() == before
    lab.recover()
    lab.user = user
    assert lab.sync().snapshot == 2
    lab.clean()
    lab.destroy()


@contextmanager
def _before_mounting(act: Callable[[Any], None]) -> Iterator[None]:
    """Do something between the clone and its mounting."""
    saved = ZfsTransaction._clone

    def late(transaction: Any, snapshot: str) -> None:
        saved(transaction, snapshot)
        act(transaction)

    ZfsTransaction._clone = late  # type: ignore[method-assign]
    try:
        yield
    finally:
        ZfsTransaction._clone = saved  # type: ignore[method-assign]


def _as_user_zfs(*words: str, fails: bool = False) -> None:
    """Run zfs as the service user."""

    def run() -> tuple[int, str]:
        done = subprocess.run(
            ["/usr/sbin/zfs", *words], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    status, said = as_user(USER, run)
    assert (status != 0) == fails, said


def _die_in_prepare(lab: Lab) -> None:
    """Sync in a child that is killed while its work dataset is mounted."""
    lab.put("a", "333")
    with Before(lambda: os.kill(os.getpid(), signal.SIGKILL), "prepare"):
        child = os.fork()
        if not child:
            lab.sync()
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status


def grants_do_not_reach_further() -> None:
    """What is never delegated: places, devices, other datasets."""
    _provision_other()
    lab = Lab("reach")
    lab.put("a", "1")
    lab.sync()
    before = _picture()

    def trying() -> list[str]:
        allowed = []
        for command in (
            ("set", "mountpoint=/etc", lab.live),
            ("set", "canmount=off", lab.live),
            ("set", "readonly=off", lab.live),
            ("set", "setuid=on", lab.live),
            ("set", "devices=on", lab.live),
            ("set", "sharenfs=on", lab.live),
            ("allow", "-u", USER, "mountpoint", lab.live),
            ("create", "-u", f"{OTHER}/x"),
            ("create", "-u", "tank/x"),
            ("create", "-u", f"{lab.live}/x"),
            ("clone", f"{lab.live}@s1", f"{lab.live}/x"),
            ("create", "-u", f"{PARENT}/.dsg/x/y"),
            ("snapshot", f"{OTHER}@x"),
            ("rename", "-u", lab.live, f"{OTHER}/x"),
            ("set", "dsg:parent=1", OTHER),
            ("destroy", "-r", OTHER),
            ("mount", lab.live),
        ):
            done = subprocess.run(["/usr/sbin/zfs", *command], capture_output=True, check=False)
            if done.returncode == 0:
                allowed.append(" ".join(command))
        return allowed

    assert as_user(USER, trying) == []
    assert _picture() == before
    lab.destroy()
    sh("zfs", "destroy", "-r", OTHER)
