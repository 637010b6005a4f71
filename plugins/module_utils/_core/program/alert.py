# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell people of what a task found: by mail through sendmail, by a command, or both.

The command gets the report as JSON on its standard input. What it and sendmail print is dropped, and
their arguments are in no message: they may hold what is nobody else's business.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from email import policy
from email.message import EmailMessage
from hashlib import sha256
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..posix import durable
from ..zfs.command import ENVIRONMENT
from .configuration import Alerts, Configuration
from .report import FAILED, SOUND, Result, begin, is_unreadable, kept, sound_runs

TEST = "test"
MAIL, COMMAND = "mail", "command"

_UNIT = re.compile(r"dsg-[a-z]+(-[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_SECONDS = 60.0
_TOLD = "told.json"
_ASCII = policy.default.clone(cte_type="7bit")  # no server has to take anything else
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST = 64  # characters in the name of a host


def alert(configuration: Configuration, unit: str) -> list[str]:
    """Tell of the last run of a unit; return what went wrong with that, one line for each way.

    The same findings are not told again for a while, unless the unit found all well in between. In a way
    that failed nothing was told: it is tried again behind the unit's next run. ``unit`` is the name of a
    service without its ending, or :data:`TEST` for a message that only shows that it arrives.
    """
    if unit != TEST and not _UNIT.fullmatch(unit):
        raise ArgumentError("this is none of our units", object=unit)
    wanted = {MAIL: configuration.alerts.mail_to, COMMAND: configuration.alerts.command}
    ways = [way for way in wanted if wanted[way]]
    if unit == TEST:
        return [line for way in ways for line in send(configuration.alerts, _test_message(), way)]
    message = message_of(configuration, unit)
    found = _Found(_digest(message), sound_runs(kept(os.path.join(configuration.state, unit))))
    told = _Told(os.path.join(configuration.state, "alerts"), configuration.alerts.repeat_hours)
    failures = []
    for way in ways:
        if not told.is_known(unit, way, found):
            failed = send(configuration.alerts, message, way)
            failures += failed
            if not failed:
                told.remember(unit, way, found)
    return failures


def _test_message() -> dict[str, Any]:
    report = begin(TEST).plain()
    return {**report, "unit": TEST, "ended": "success"}


def message_of(configuration: Configuration, unit: str) -> dict[str, Any]:
    """Return the report of a unit's last run, without what was sound; or that it left none."""
    directory = os.path.join(configuration.state, unit)
    report = kept(directory)
    invocation = os.environ.get("MONITOR_INVOCATION_ID", "")
    ended = os.environ.get("MONITOR_SERVICE_RESULT", "")
    if report is None or (invocation and report.get("invocation") != invocation):
        report = _without_report(directory, unit)
    results = [one for one in report["results"] if one.get("status")]
    return {**report, "unit": unit, "ended": ended, "results": results}


def _without_report(directory: str, unit: str) -> dict[str, Any]:
    """Return a report in the place of one that is missing, is of another run, or cannot be read."""
    report = begin(unit.split("-")[1])
    if is_unreadable(directory):
        found = (
            f"the report in {directory} is unreadable, so what was found is not known: "
            f"see `journalctl -u {unit}`; its next run replaces it"
        )
        report.results.append(Result("the report", FAILED, findings=[found]))
    return {**report.plain(), "status": FAILED}


def send(alerts: Alerts, message: dict[str, Any], way: str) -> list[str]:
    """Send a message in one way; return what failed."""
    if way == MAIL:
        mail = mail_of(alerts, message).as_bytes()
        sender = ["-f", alerts.mail_from] if alerts.mail_from else []
        return _start([alerts.sendmail, "-i", *sender, "--", *alerts.mail_to], mail, "sendmail")
    text = json.dumps(message, sort_keys=True).encode() + b"\n"
    return _start(alerts.command, text, "the command")


def _start(argv: Sequence[str], content: bytes, what: str) -> list[str]:
    try:
        done = subprocess.run(
            list(argv),
            input=content,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"{what} did not end within {_SECONDS:.0f} s"]
    except OSError as exc:
        return [f"{what} could not be started: {exc.strerror}"]
    return [f"{what} failed with status {done.returncode}"] if done.returncode else []


def mail_of(alerts: Alerts, message: dict[str, Any]) -> EmailMessage:
    """Return a message as a mail."""
    mail = EmailMessage(_ASCII)
    mail["Subject"] = f"dsg.storage on {_name(message['host'])}: {_summary(message)}"
    mail["To"] = ", ".join(alerts.mail_to)
    if alerts.mail_from:  # otherwise sendmail says who root is outside of this host
        mail["From"] = alerts.mail_from
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(_body(message)) + "\n")
    return mail


def _summary(message: dict[str, Any]) -> str:
    if message["unit"] == TEST:
        return "a test"
    count = len(message["results"])
    return f"{_name(message['task'])}: " + (f"{count} with findings" if count else "did not end")


def _body(message: dict[str, Any]) -> list[str]:
    if message["unit"] == TEST:
        return ["This message shows that alerts arrive."]
    lines = [f"Unit {message['unit']}, {_line(message['time'])}, on {_line(message['host'])}."]
    if not message["results"]:
        return [*lines, f"It left no report. systemd says: {message['ended'] or 'nothing'}."]
    for one in message["results"]:
        lines += ["", _line(one.get("subject"))]
        found = [one.get("findings"), one.get("done")]
        lines += [f"  {_line(line)}" for some in found if isinstance(some, list) for line in some]
        if isinstance(one.get("error"), dict):
            error = one["error"]
            details = error.get("details")
            lines += [f"  [{_line(error.get('code'))}] {_line(error.get('message'))}"]
            lines += [f"  {_line(line)}" for line in details] if isinstance(details, list) else []
            lines += [f"  {_line(error.get('next_step'))}"]
    return lines


def _line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _name(value: object) -> str:
    """Return a name for a header, with a question mark for what is in no name.

    A report may say anything: of what Python's email decodes, encodes or folds in a header some of its
    versions make further headers, and others never come to an end.
    """
    return _NO_NAME.sub("?", str(value)[:_LONGEST])


class _Found(NamedTuple):
    """What is told, and behind how many runs of the unit that found nothing."""

    digest: str
    sound_runs: int


class _Told:
    """What was told when, by unit and way; the directory is root's."""

    def __init__(self, directory: str, hours: float) -> None:
        self._directory = directory
        self._seconds = hours * 3600

    def is_known(self, unit: str, way: str, found: _Found) -> bool:
        told, when = self._read().get(unit, {}).get(way, (None, 0.0))
        return told == found and 0 <= time.time() - when < self._seconds

    def remember(self, unit: str, way: str, found: _Found) -> None:
        told = self._read()
        told.setdefault(unit, {})[way] = (found, time.time())
        os.makedirs(self._directory, 0o700, exist_ok=True)
        text = json.dumps(told) + "\n"
        durable.replace(os.path.join(self._directory, _TOLD), [text.encode()], mode=0o600)

    def _read(self) -> dict[str, dict[str, tuple[_Found, float]]]:
        """Return what was told last; what cannot be read costs one message too many."""
        try:
            with open(os.path.join(self._directory, _TOLD), "rb") as stream:
                content = json.loads(stream.read())
            return {
                str(unit): {
                    str(way): (_Found(str(digest), int(runs)), float(when))
                    for way, ((digest, runs), when) in ways.items()
                }
                for unit, ways in content.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _digest(message: dict[str, Any]) -> str:
    """Return what tells one set of findings from another, whenever they were found."""
    said = [
        (one.get("subject"), one.get("findings"), one.get("error")) for one in message["results"]
    ]
    return sha256(json.dumps([message["ended"], said], sort_keys=True).encode()).hexdigest()


def outcome(failures: Sequence[str]) -> int:
    """Return the exit status of an alert."""
    return FAILED if failures else SOUND
