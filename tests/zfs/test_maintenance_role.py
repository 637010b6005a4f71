# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role ``maintenance`` on a storage host: what it sets, what that does under systemd, and its end."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pages import Page
from tests.testbed.bed import Host
from tests.tools.collection import InstalledCollection
from tests.tools.fixtures import clean_copy, installed_collection, shared_tmp
from tests.tools.smtp import ALIASES, ROOT_READS_AT, Mail, Server, sendmail_script, smtp_server
from tests.zfs.link import Guest
from tests.zfs.playbooks import StorageGround

__all__ = ["clean_copy", "installed_collection", "shared_tmp"]

INBOX = "/root/inbox.json"
HOOK = "/usr/local/bin/dsg-test-hook"
SENDMAIL, MAIL_ALIASES = "/usr/local/sbin/dsg-test-sendmail", "/etc/dsg-test-aliases"
TEAM = "storage-team@example.org"
TASKS = ("verify", "scrub", "prune", "collect")
TRACES = (
    "find /etc/systemd/system /etc/dsg /var/lib/dsg-storage -name 'dsg-[!r]*' -o -name maintenance.json "
    "-o -path '/var/lib/dsg-storage*' 2>/dev/null; true"
)
FLIP = """
import os, sys
seen = os.stat(sys.argv[1])
with open(sys.argv[1], "r+b") as stream:
    first = stream.read(1)
    stream.seek(0)
    stream.write(bytes([first[0] ^ 1]))
os.utime(sys.argv[1], ns=(seen.st_atime_ns, seen.st_mtime_ns))
"""


@pytest.fixture
def ground(
    tmp_path: Path, installed_collection: InstalledCollection, guest: Guest
) -> StorageGround:
    name = f"kept{len(guest.host.run('zfs', 'list', '-H', '-d', '1', 'tank').stdout.split())}"
    ground = StorageGround(
        tmp_path, installed_collection, guest.host, name, f"tank/{name}", f"/srv/{name}"
    )
    ground.definition.update(mountpoint=f"/srv/{name}", keep={"last": 2})
    hook = f"#!/bin/sh\ncat > {INBOX}.new && mv {INBOX}.new {INBOX}\n"
    ground.host.run("sh", "-c", f"rm -f {INBOX}; cat > {HOOK}; chmod 755 {HOOK}", input=hook)
    return ground


def define(ground: StorageGround, **variables: Any) -> None:
    ground.define(ground.definition, dsg_alert_command=[HOOK], **variables)


def traces(ground: StorageGround) -> list[str]:
    return ground.host.run("sh", "-c", TRACES).stdout.split()


def start(ground: StorageGround, unit: str) -> int:
    """Have systemd run a service to its end; return its exit status."""
    ground.host.run("systemctl", "reset-failed")
    ground.host.run("systemctl", "start", unit, check=False)
    return int(ground.host.run("systemctl", "show", "-P", "ExecMainStatus", unit).stdout)


def report(ground: StorageGround, unit: str) -> dict[str, Any]:
    said = ground.host.run("cat", f"/var/lib/dsg-storage/{unit}/report.json").stdout
    found: dict[str, Any] = json.loads(said)
    return found


def verified(ground: StorageGround, unit: str) -> set[str]:
    """Return the trees that a unit found sound when it ran last."""
    (result,) = report(ground, unit)["results"]
    (line,) = result["done"]
    return set(re.findall(r"\bs\d+\b", line))


def snapshots(ground: StorageGround) -> list[str]:
    return [name.rpartition("@")[2] for name in ground.datasets() if "@" in name]


def publish(ground: StorageGround, *verbs: str) -> None:
    for verb in verbs:
        ground.write("ann", {"a": f"{verb} upon {len(snapshots(ground))}", "d/b": "bb"})
        ground.play(verb).succeeded()


def damage(ground: StorageGround) -> None:
    """Change a byte of a published file, its size and time as they were."""
    ground.host.run("mount", "-o", "remount,rw", ground.live)
    ground.host.run("python3", "-c", FLIP, f"{ground.live}/d/b")
    ground.host.run("mount", "-o", "remount,ro", ground.live)


def let_timers_fire(ground: StorageGround, tasks: tuple[str, ...]) -> None:
    """Let a month go by, and wait until every task has run by itself; then it is today again."""
    reports = " ".join(f"/var/lib/dsg-storage/dsg-{task}/report.json" for task in tasks)
    ground.host.run("sh", "-c", f"rm -f {reports}; date -s '+32 days'")
    wait = f"for one in {reports}; do until test -s $one; do sleep 0.2; done; done"
    try:
        ground.host.run("timeout", "600", "sh", "-c", wait)
    finally:
        ground.host.run("date", "-s", f"@{int(time.time())}")


def message(ground: StorageGround) -> dict[str, Any]:
    """Wait for an alert, and forget it."""
    wait = f"until test -s {INBOX}; do sleep 0.2; done; cat {INBOX}; rm {INBOX}"
    found: dict[str, Any] = json.loads(ground.host.run("timeout", "120", "sh", "-c", wait).stdout)
    return found


@contextmanager
def mail_server(host: Host) -> Iterator[Server]:
    """Run an SMTP server that the host reaches at the same port of its own loopback, by a sendmail."""
    with smtp_server() as server:
        there = f"127.0.0.1:{server.port}"
        ssh, *words = host.ssh_argv("sh", "-c", "echo ready; exec cat")
        forwarded = [ssh, "-o", "ExitOnForwardFailure=yes", "-R", f"{there}:{there}", *words]
        script = sendmail_script("/usr/bin/msmtp", server.port, MAIL_ALIASES)
        host.run("sh", "-c", f"cat > {MAIL_ALIASES}", input=ALIASES)
        host.run("sh", "-c", f"cat > {SENDMAIL}; chmod 755 {SENDMAIL}", input=script)
        with subprocess.Popen(forwarded, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tunnel:
            assert tunnel.stdin and tunnel.stdout and tunnel.stdout.readline() == b"ready\n"
            yield server
            tunnel.stdin.close()


def mails(ground: StorageGround, server: Server) -> list[Mail]:
    """Return what arrived by the end of the unit that alerts, which systemd starts when one fails."""
    ended = (
        "until systemctl show -P ActiveState $1 | grep -Eqx 'inactive|failed'; do sleep 0.2; done"
    )
    began = "until systemctl show -P InvocationID $1 | grep -q .; do sleep 0.2; done"
    unit = "dsg-alert@dsg-verify.service"
    ground.host.run("timeout", "120", "sh", "-c", f"{began}; {ended}", "sh", unit)
    return server.mails()


def test_timers_look_after_what_is_published(ground: StorageGround) -> None:
    define(ground)
    ground.play("provision").succeeded()
    publish(ground, "init", "sync")
    assert traces(ground) == []

    # From a host's start on, systemd spreads what it catches up with over this time.
    present = {"dsg_maintenance": "present", "maintenance_randomized_delay": "1s"}
    define(ground, maintenance_verify_snapshots=["all"], **present)
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert traces(ground) == []
    done = ground.play("provision", "--diff").succeeded()
    assert done.changed() == announced.changed() > 0
    for options in (["--check"], []):
        assert ground.play("provision", *options).succeeded().changed() == 0
    for task in TASKS:
        timer = (
            "systemctl",
            "show",
            "-P",
            "ActiveState",
            "-P",
            "UnitFileState",
            f"dsg-{task}.timer",
        )
        assert ground.host.run(*timer).stdout.split() == ["active", "enabled"]
    let_timers_fire(ground, TASKS)
    assert [report(ground, f"dsg-{task}")["status"] for task in TASKS] == [0] * len(TASKS)

    assert start(ground, "dsg-verify.service") == 0
    assert verified(ground, "dsg-verify") == {"s1", "s2"}
    publish(ground, "sync")
    damage(ground)
    assert start(ground, "dsg-verify.service") == 1
    told = message(ground)
    assert (told["unit"], told["status"], told["ended"]) == ("dsg-verify", 1, "exit-code")
    assert "d/b" in str(told["results"][0]["findings"])

    assert start(ground, "dsg-scrub.service") == 0
    assert start(ground, "dsg-scrub.service") == 0
    assert "not scrubbed" in report(ground, "dsg-scrub")["results"][0]["done"][0]

    ground.zfs("create", "-u", f"{ground.parent}/.dsg/{ground.name}.init.dead-1")
    assert start(ground, "dsg-collect.service") == 0
    assert not [name for name in ground.datasets() if "dead-1" in name]

    assert start(ground, "dsg-prune.service") == 0
    assert snapshots(ground) == ["s2", "s3"], "mounted to be verified or not"
    page = Page("roles/maintenance/README.md", ground.inventory.parent)
    ((_program, playbook, *options),) = page.commands("ansible-playbook")
    ground.play(playbook.replace("dsg.storage.", ""), *options).succeeded()
    assert message(ground)["unit"] == "test"

    define(ground, dsg_maintenance="absent")
    announced = ground.play("provision", "--check", "--diff").succeeded()
    assert traces(ground)
    done = ground.play("provision", "--diff").succeeded()
    assert done.changed() == announced.changed() > 0
    assert traces(ground) == []
    assert "dsg-verify" not in ground.host.run("systemctl", "list-timers", "--all").stdout
    assert ground.host.run("test", "-x", "/usr/local/libexec/dsg-storage").returncode == 0
    for options in (["--check"], []):
        assert ground.play("provision", *options).succeeded().changed() == 0


def test_a_service_users_repository_is_looked_after_by_them(ground: StorageGround) -> None:
    users = [{"name": "keeper", "parents": [ground.parent]}]
    ground.home = "/home/keeper/played"
    ground.definition["src"] = f"{ground.home}/{{{{ inventory_hostname }}}}"
    define(ground, dsg_service_users=users)
    ground.play("provision").succeeded()
    looked_after = {"dsg_maintenance": "present", "maintenance_verify_snapshots": ["all"]}
    define(ground, dsg_service_users=users, **looked_after)
    announced = ground.play("provision", "--check", "--diff").succeeded()
    done = ground.play("provision", "--diff").succeeded()
    assert done.changed() == announced.changed() > 0
    ground.host.run("install", "-d", "-m", "700", "-o", "keeper", "/home/keeper/.ansible/tmp")
    for number in range(4):
        ground.write("ann", {"a": f"edit {number}"})
        ground.host.run("chown", "-R", "keeper", ground.home)
        ground.play(
            "init" if not number else "sync", "--become", "--become-user", "keeper"
        ).succeeded()
    for task in ("verify", "prune", "collect"):
        unit = f"dsg-{task}-keeper"
        assert start(ground, f"{unit}.service") == 0, report(ground, unit)
    assert verified(ground, "dsg-verify-keeper") == {"s1", "s2", "s3", "s4"}
    assert snapshots(ground) == ["s3", "s4"]
    define(ground, dsg_service_users=users, dsg_maintenance="absent")
    ground.play("provision").succeeded()
    assert traces(ground) == []


@pytest.mark.parametrize("owner", ["", "archivist"], ids=["root's", "a user's"])
def test_directories_are_looked_after(ground: StorageGround, owner: str) -> None:
    """On a file system that the services may write to nowhere else."""
    base = f"/var/lib/{ground.name}{owner}"  # nothing of OpenZFS counts those before
    ground.live = f"{base}/{ground.name}"
    ground.definition.update(backend={"type": "directory", "base": base})
    del ground.definition["mountpoint"]
    become = belong_to(ground, owner) if owner else []
    define(ground, dsg_maintenance="present")
    ground.play("provision").succeeded()
    for number in range(4):
        ground.write("ann", {"a": f"edit {number}", "d/b": "bb"})
        if owner:
            ground.host.run("chown", "-R", owner, ground.home)
        ground.play("sync" if number else "init", *become).succeeded()
    left = f"{base}/.dsg/{ground.name}.stage.20260101T000000Z-0123456789ab"
    ground.host.run("install", "-d", "-o", owner or "root", left)
    units = {task: f"dsg-{task}-{owner}" if owner else f"dsg-{task}" for task in TASKS}
    for task in ("verify", "prune", "collect"):
        assert start(ground, f"{units[task]}.service") == 0, report(ground, units[task])
        user = ground.host.run("systemctl", "show", "-P", "User", f"{units[task]}.service").stdout
        assert (user.strip() or "root") == (owner or "root")
    assert ground.host.run("ls", f"{base}/.dsg/{ground.name}").stdout.split() == ["s3"]
    assert ground.host.run("test", "-e", left, check=False).returncode == 1
    ground.host.run("python3", "-c", FLIP, f"{ground.live}/d/b")
    assert start(ground, f"{units['verify']}.service") == 1
    told = message(ground)
    assert told["unit"] == units["verify"]
    assert "d/b" in str(told["results"][0]["findings"])
    define(ground, dsg_maintenance="absent")
    ground.play("provision").succeeded()
    assert traces(ground) == []


def test_findings_are_mailed_by_systemd(ground: StorageGround) -> None:
    """From the unit that failed, in its own surroundings, through a sendmail to a real SMTP server."""
    with mail_server(ground.host) as server:
        ground.define(
            ground.definition,
            dsg_maintenance="present",
            dsg_alert_mail_to=[TEAM, "root"],
            maintenance_sendmail=SENDMAIL,
        )
        ground.play("provision").succeeded()
        publish(ground, "init")
        assert start(ground, "dsg-verify.service") == 0
        damage(ground)
        assert start(ground, "dsg-verify.service") == 1
        (mail,) = mails(ground, server)
        assert mail.recipients == [TEAM, ROOT_READS_AT]
        assert (
            mail.message["Subject"] == f"dsg.storage on {ground.host.name}: verify: 1 with findings"
        )
        assert "d/b" in mail.message.get_content()
        state = ("systemctl", "show", "-P", "Result", "dsg-alert@dsg-verify.service")
        assert ground.host.run(*state).stdout == "success\n"


def belong_to(ground: StorageGround, owner: str) -> list[str]:
    """Have the base directory be a new user's, who publishes; return the options to act as them."""
    ground.host.run("useradd", "--create-home", owner)
    ground.host.run("install", "-d", "-m", "700", "-o", owner, f"/home/{owner}/.ansible/tmp")
    ground.home = f"/home/{owner}/played"
    ground.definition.update(owner=owner, src=f"{ground.home}/{{{{ inventory_hostname }}}}")
    return ["--become", "--become-user", owner]
