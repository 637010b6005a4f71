# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What timers start on a storage host: what it does, how it ends, and who is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _core.sync.phases import run as prepare

from tests.integration.support import Site, put, read, site

__all__ = ["site"]

CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
START = """
import os, sys
from _core.program import tasks
from _core.program.main import main
tasks._LOCK_SECONDS = float(os.environ.get("LOCK_SECONDS", tasks._LOCK_SECONDS))
sys.exit(main(sys.argv[1:]))
"""
SECRET = "s3cr3t-t0k3n"


class Host:
    """The program with its configuration, and those who are told."""

    def __init__(self, site: Site, root: Path) -> None:
        self.site = site
        self.root = root
        self.path = root / "etc" / "maintenance.json"
        self.path.parent.mkdir(mode=0o755)
        self.state = root / "state"
        self.inbox = root / "inbox"
        self.inbox.mkdir()
        self.hook = self.receiver("hook")
        self.sendmail = self.receiver("sendmail")
        self.repository = {"name": site.name, "backend": site.backend, "user": "root"}
        self.configure()

    def receiver(self, name: str, status: int = 0) -> str:
        """Make a program that keeps its arguments and its standard input, and prints a secret."""
        path = self.root / name
        path.write_text(
            f"#!/bin/sh\necho {SECRET}\necho {SECRET} >&2\nprintf '%s\\n' \"$@\" > {self.inbox}/{name}.argv\n"
            f"cat > {self.inbox}/{name}.$$\nexit {status}\n"
        )
        path.chmod(0o755)
        return str(path)

    def configure(
        self,
        alerts: dict[str, Any] | None = None,
        others: tuple[dict[str, Any], ...] = (),
        **repository: Any,
    ) -> None:
        content = {
            "format": 1,
            "repositories": [{**self.repository, **repository}, *others],
            "state": str(self.state),
            "alerts": {
                "mail_to": ["storage-team@example.org"],
                "sendmail": self.sendmail,
                "command": [self.hook, SECRET],
                **(alerts or {}),
            },
        }
        self.path.write_text(json.dumps(content))
        self.path.chmod(0o644)

    def run(self, *words: str, invocation: str = "", **environment: str) -> Any:
        """Run a verb as systemd does, in the unit dsg-<verb>."""
        state = self.state / f"dsg-{words[0]}"
        state.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [sys.executable, "-c", START, words[0], "--config", str(self.path), *words[1:]],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CORE),
                "STATE_DIRECTORY": str(state),
                "INVOCATION_ID": invocation,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def messages(self, name: str = "hook") -> list[str]:
        """Return what arrived, and forget it."""
        found = sorted(p for p in self.inbox.glob(f"{name}.*") if p.suffix != ".argv")
        texts = [path.read_text() for path in found]
        for path in found:
            path.unlink()
        return texts


@pytest.fixture
def host(site: Site, tmp_path: Path) -> Host:
    src = site.copy("wc", {"a": "first", "d/b": "bb"})
    site.sync(src)
    for number in range(3):
        put(src, "a", f"edit {number}")
        site.sync(src, message=f"edit {number}")
    return Host(site, tmp_path)


def flip(path: str) -> None:
    """Change a byte under the file's own name, and leave no other trace."""
    seen = os.stat(path)
    with open(path, "r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def test_a_sound_repository(host: Host) -> None:
    done = host.run("verify", invocation="i-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sound: s4" in done.stdout
    kept = json.loads((host.state / "dsg-verify" / "report.json").read_text())
    assert (kept["task"], kept["status"], kept["invocation"]) == ("verify", 0, "i-1")
    assert json.loads(host.run("verify", "--json", host.site.name).stdout)["status"] == 0


def test_damage_is_found_and_told(host: Host) -> None:
    flip(os.path.join(host.site.live, "d/b"))
    done = host.run("verify", invocation="i-1")
    assert done.returncode == 1
    assert "d/b" in done.stderr
    told = host.run("alert", "dsg-verify", MONITOR_INVOCATION_ID="i-1",
                    MONITOR_SERVICE_RESULT="exit-code")  # fmt: skip
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    (text,) = host.messages()
    message = json.loads(text)
    assert (message["unit"], message["task"], message["status"]) == ("dsg-verify", "verify", 1)
    (result,) = message["results"]
    assert result["subject"].startswith(host.site.name)
    assert any("d/b" in line for line in result["findings"])
    (mail,) = host.messages("sendmail")
    assert "Subject: dsg.storage on" in mail and "d/b" in mail
    argv = (host.inbox / "sendmail.argv").read_text().split()
    assert argv == ["-i", "--", "storage-team@example.org"]


def test_the_same_is_told_once_and_news_at_once(host: Host) -> None:
    flip(os.path.join(host.site.live, "d/b"))
    for number in (1, 2):
        host.run("verify")
        assert host.run("alert", "dsg-verify").returncode == 0
        assert len(host.messages()) == (1 if number == 1 else 0)
    flip(os.path.join(host.site.live, "a"))
    host.run("verify")
    host.run("alert", "dsg-verify")
    assert len(host.messages()) == 1
    host.configure(alerts={"repeat_hours": 0})
    host.run("alert", "dsg-verify")
    assert len(host.messages()) == 1


def test_what_was_mended_and_returns_is_told_again(host: Host) -> None:
    """Though it is the same, and soon: who was told took it for mended."""
    damaged = os.path.join(host.site.live, "d/b")
    for _again in range(3):
        flip(damaged)
        for count in (1, 0):
            assert host.run("verify").returncode == 1
            assert host.run("alert", "dsg-verify").returncode == 0
            assert len(host.messages()) == len(host.messages("sendmail")) == count
        flip(damaged)
        assert host.run("verify").returncode == 0


def test_a_unit_that_died_again_after_it_had_ended_well(host: Host) -> None:
    died = {"MONITOR_INVOCATION_ID": "dead", "MONITOR_SERVICE_RESULT": "oom-kill"}
    for _again in range(2):
        host.run("verify", invocation="i-1")
        for count in (1, 0):
            host.run("alert", "dsg-verify", **died)
            assert len(host.messages()) == count


@pytest.mark.parametrize("broken", [("hook",), ("sendmail",), ("hook", "sendmail")])
def test_who_was_not_reached_is_told_at_the_next_run(host: Host, broken: tuple[str, ...]) -> None:
    """And said to be so each time; who was reached is not told twice."""
    flip(os.path.join(host.site.live, "d/b"))
    said = {"hook": "the command failed with status 3", "sendmail": "sendmail failed with status 3"}
    reached = {"hook", "sendmail"} - set(broken)
    for name in broken:
        host.receiver(name, 3)
    for first in (True, False):
        host.run("verify")
        done = host.run("alert", "dsg-verify")
        assert done.returncode == 2
        assert sorted(done.stderr.splitlines()) == sorted(said[name] for name in broken)
        for name in said:
            assert len(host.messages(name)) == (first or name not in reached)
    for name in broken:
        host.receiver(name)
    for first in (True, False):
        host.run("verify")
        assert host.run("alert", "dsg-verify").returncode == 0
        for name in said:
            assert len(host.messages(name)) == (first and name in broken)


@pytest.mark.parametrize(
    "left", ["", "[]", '{"dsg-verify": ["x", 1.0]}', '{"dsg-verify": {"mail": [1]}}']
)
def test_a_record_of_what_was_told_that_makes_no_sense(host: Host, left: str) -> None:
    flip(os.path.join(host.site.live, "d/b"))
    host.run("verify")
    (host.state / "alerts").mkdir(parents=True)
    (host.state / "alerts" / "told.json").write_text(left)
    for count in (1, 0):
        assert host.run("alert", "dsg-verify").returncode == 0
        assert len(host.messages()) == count


@pytest.mark.parametrize(
    "left",
    [
        '{"results": []}',
        '{"results": [{"status": 1}], "task": "verify", "host": "h"}',
        '{"results": [{"status": 1}], "task": "verify", "host": null, "time": "t"}',
        '{"results": [1], "task": "verify", "host": "h", "time": "t"}',
        '{"results": {}, "task": "verify", "host": "h", "time": "t"}',
        "[]",
        "{",
        "[" * 100_000,
    ],
    ids=["bare", "no time", "no host", "a number", "no list", "a list", "cut off", "deep"],
)
def test_a_report_that_makes_no_sense_is_told_as_such(host: Host, left: str) -> None:
    """An alert that is not sent because of what it is about would be silence."""
    state = host.state / "dsg-verify"
    state.mkdir(parents=True)
    (state / "report.json").write_text(left)
    told_as_unreadable(host)
    host.run("verify")
    assert json.loads((state / "report.json").read_text())["status"] == 0


@pytest.mark.parametrize("content", ["", '{"results": [], "task": "v", "host": "h", "time": "t"}'])
def test_a_report_that_is_a_pipe_is_told_as_such(host: Host, content: str) -> None:
    """Whoever holds its other end may say what he likes, or nothing yet."""
    path = host.state / "dsg-verify" / "report.json"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with path.open("r+b", buffering=0) as pipe:
        pipe.write(content.encode())
        told_as_unreadable(host)
        assert content.encode() == (pipe.read(len(content)) if content else b""), "it was read"


def test_a_report_that_is_a_directory_is_told_as_such(host: Host) -> None:
    (host.state / "dsg-verify" / "report.json").mkdir(parents=True)
    told_as_unreadable(host)


def told_as_unreadable(host: Host) -> None:
    """See that all who are to be told of a unit's report are told that it cannot be read, once."""
    for count in (1, 0):
        done = host.run("alert", "dsg-verify", MONITOR_SERVICE_RESULT="exit-code")
        assert (done.returncode, done.stderr) == (0, "")
        texts, mails = host.messages(), host.messages("sendmail")
        assert (len(texts), len(mails)) == (count, count)
        if not count:
            break
        message = json.loads(texts[0])
        assert (message["unit"], message["task"], message["status"]) == ("dsg-verify", "verify", 2)
        assert "unreadable" in message["results"][0]["findings"][0]
        assert "unreadable" in mails[0]


def test_a_unit_that_died_without_a_report(host: Host) -> None:
    host.run("verify", invocation="i-1")
    told = host.run("alert", "dsg-verify", MONITOR_INVOCATION_ID="i-2",
                    MONITOR_SERVICE_RESULT="oom-kill")  # fmt: skip
    assert told.returncode == 0
    message = json.loads(host.messages()[0])
    assert (message["ended"], message["results"], message["status"]) == ("oom-kill", [], 2)
    assert "oom-kill" in host.messages("sendmail")[0]


def test_a_test_message(host: Host) -> None:
    for _again in range(2):
        assert host.run("alert", "test").returncode == 0
        assert json.loads(host.messages()[0])["unit"] == "test"
        assert "Subject: dsg.storage on" in host.messages("sendmail")[0]


@pytest.mark.parametrize("way", ["fails", "absent", "quiet"])
def test_who_cannot_be_told(host: Host, way: str) -> None:
    """One way that fails does not keep the other from being gone; nothing secret is logged."""
    command = {
        "fails": [host.receiver("failing", 3), SECRET],
        "absent": [str(host.root / "absent"), SECRET],
        "quiet": [],
    }[way]
    host.configure(alerts={"command": command})
    done = host.run("alert", "test")
    assert done.returncode == (0 if way == "quiet" else 2)
    assert SECRET not in done.stdout + done.stderr
    assert len(host.messages("sendmail")) == 1


def test_what_cannot_be_looked_at(host: Host) -> None:
    os.unlink(os.path.join(host.site.live, ".dsg", "manifest.jsonl"))
    assert host.run("verify").returncode in (1, 2)
    host.configure(name="absent")
    done = host.run("verify")
    assert done.returncode == 2
    assert "DSG-REPOSITORY" in done.stderr
    host.run("alert", "dsg-verify")
    assert json.loads(host.messages()[0])["results"][0]["error"]["code"] == "DSG-REPOSITORY"


def test_a_configuration_that_others_can_write_is_refused(host: Host) -> None:
    for mode in (0o664, 0o646):
        host.path.chmod(mode)
        done = host.run("verify")
        assert done.returncode == 2
        assert "nobody else may write it" in done.stderr
        assert host.run("alert", "test").returncode == 2
    host.path.chmod(0o644)
    host.path.parent.chmod(0o777)
    assert host.run("verify").returncode == 2
    host.path.parent.chmod(0o755)
    os.chown(host.path, 1, 1)
    assert host.run("verify").returncode == 2
    target = host.path.rename(host.path.with_name("other.json"))
    os.chown(target, 0, 0)
    host.path.symlink_to(target)
    assert host.run("verify").returncode == 2
    assert host.messages() == []


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "other": 1}',
     '{"format": 1, "repositories": [{"name": "x"}]}',
     '{"format": 1, "repositories": [{"name": "x", "backend": {"type": "tape"}}]}',
     '{"format": 1, "pools": ["-f"]}', '{"format": 1, "pools": "tank"}',
     '{"format": 1, "alerts": {"command": "rm -rf"}}', '{"format": 1, "alerts": {"command": ["rm"]}}',
     '{"format": 1, "alerts": {"mail_to": ["-Xfile"]}}',
     '{"format": 1, "alerts": {"mail_to": ["a@b, c@d"]}}', '{"format": 1, "alerts": {"mail_to": [""]}}',
     '{"format": 1, "alerts": {"repeat_hours": "12"}}', '{"format": 1, "alerts": {"repeat_hours": NaN}}',
     '{"format": 1, "scrub_after_days": true}', '{"format": 1, "scrub_after_days": -1}'],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense(host: Host, content: str) -> None:
    host.path.write_text(content)
    assert host.run("verify").returncode == 2


@pytest.mark.parametrize("number", [2.0, True, "2", None])
def test_rules_that_make_no_sense(host: Host, number: object) -> None:
    """A number that is none would end pruning on the way, without a word of what is wrong."""
    host.configure(keep={"last": 1, "daily": number})
    done = host.run("prune")
    assert done.returncode == 2
    assert "[DSG-ARGUMENT]" in done.stderr and "keep.daily is a whole number" in done.stderr
    assert len(os.listdir(os.path.join(host.site.base, ".dsg", host.site.name))) == 3


def test_names_and_words(host: Host) -> None:
    assert host.run("verify", "absent").returncode == 2
    said = host.run("verify", "absent").stderr
    assert (
        "absent: this is not looked after here" in said and f"There are: {host.site.name}." in said
    )
    usage = host.run("verify", "--fast")
    assert usage.returncode == 2 and "dsg-storage verify" in usage.stderr
    assert host.run("alert").returncode == 2
    assert host.run("alert", "../../etc").returncode == 2


def test_nothing_to_look_after_is_no_success(host: Host) -> None:
    """Who asks as another user is told whom to ask as; a user may be given by number."""
    host.configure(user="somebody-else")
    done = host.run("verify")
    assert (done.returncode, done.stdout) == (2, "")
    assert "only as somebody-else" in done.stderr
    assert "are unchanged.\n" in done.stderr and "\n  Run it as one of those" in done.stderr
    host.configure(user=str(os.geteuid()))
    done = host.run("verify")
    assert done.returncode == 0 and host.site.name in done.stdout, done.stderr


def test_two_repositories_of_one_name_are_both_looked_after(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other-base"
    shutil.copytree(host.site.base, other, symlinks=True)
    flip(os.path.join(host.site.live, "d/b"))
    host.configure(
        others=({**host.repository, "backend": {"type": "directory", "base": str(other)}},)
    )
    for names in ([], [host.site.name]):
        done = host.run("verify", *names)
        assert done.returncode == 1, done.stdout
        assert "d/b" in done.stderr and str(other) in done.stdout


def test_pruning_by_rules(host: Host) -> None:
    assert host.run("prune").returncode == 0
    assert host.site.repository.snapshots() == [1, 2, 3, 4]
    host.configure(keep={"last": 1, "messages": ["edit 0"]})
    done = host.run("prune")
    assert done.returncode == 0, done.stderr
    assert host.site.repository.snapshots() == [2, 4]
    assert "removed s1" in done.stdout
    assert host.run("verify").returncode == 0
    host.configure(keep={"daily": -7})
    assert host.run("prune").returncode == 2


def test_what_somebody_works_on_is_left_for_the_next_run(host: Host) -> None:
    """A long sync is no failure; a repository that is never free is a finding, and told once."""
    host.configure(keep={"last": 1})
    report = host.state / "dsg-prune" / "report.json"
    with host.site.repository.lock(0):
        assert host.run("prune", STATE_DIRECTORY="", LOCK_SECONDS="0").returncode == 2
        for _again in range(2):
            done = host.run("prune", LOCK_SECONDS="0")
            assert (done.returncode, done.stderr) == (0, ""), done
            assert f"another process works on it (pid {os.getpid()}" in done.stdout
        kept = json.loads(report.read_text())
        (result,) = kept["results"]
        assert (result["status"], kept["sound_runs"]) == (0, 0)
        result["busy_since"] = "2026-01-01T00:00:00Z"
        report.write_text(json.dumps(kept))
        for count in (1, 0):
            assert host.run("prune", LOCK_SECONDS="0").returncode == 1
            assert host.run("alert", "dsg-prune").returncode == 0
            texts = host.messages()
            assert len(texts) == count
            assert all("at every run since 2026-01-01T00:00:00Z" in text for text in texts)
        assert host.site.repository.snapshots() == [1, 2, 3, 4]
    assert host.run("prune").returncode == 0
    assert host.site.repository.snapshots() == [4]
    assert json.loads(report.read_text())["results"][0]["busy_since"] == ""


def test_collecting_what_a_crash_left(host: Host) -> None:
    os.mkdir(os.path.join(host.site.base, ".dsg", f"{host.site.name}.stage.dead-1"))
    before = read(host.site.live)
    done = host.run("collect")
    assert done.returncode == 0, done.stderr
    assert "dead-1" in done.stdout
    assert host.site.staged() == [] and read(host.site.live) == before
    assert "nothing to report" in host.run("collect").stdout


def test_what_is_not_published_yet_is_left_without_a_trace(host: Host) -> None:
    """Provisioning may come long before the first publication: a timer makes no lock file for it."""
    container = os.path.join(host.site.base, ".dsg")
    before = sorted(os.listdir(container))
    host.configure(name="later", keep={"last": 1})
    assert [host.run(verb).returncode for verb in ("verify", "prune", "collect")] == [2, 2, 0]
    assert sorted(os.listdir(container)) == before


def test_a_transaction_that_waits_for_too_long(host: Host) -> None:
    """Nobody but its working copy can decide it, so somebody has to be told."""
    src = host.site.copy("wc")
    put(src, "a", "held")
    request = host.site.request(src, phase="prepare", fleet="f1", host="h", coordinator=os.getpid())
    prepare(request)
    assert host.run("collect").returncode == 0
    (mark,) = Path(host.site.base, ".dsg").glob("*.held.*")
    text = mark.read_text()
    year = text[text.index('"since"') :].split('"')[3][:4]
    mark.write_text(text.replace(f'"{year}-', '"2020-', 1))
    done = host.run("collect")
    assert done.returncode == 1, (done.stdout, text)
    assert "held since 2020" in done.stderr
