# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts by mail through a real sendmail (msmtp), as a real SMTP server on loopback gets them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import put, site
from tests.integration.test_program import Host, flip, host
from tests.tools.smtp import (
    ROOT_READS_AT,
    ROOT_SENDS_AS,
    Mail,
    Server,
    no_server,
    sendmail,
    smtp_server,
)

__all__ = ["host", "site"]

TEAM, ON_CALL = "storage-team@example.org", "on+call@example.com"
TIME = "2026-01-01T00:00:00Z"
HEADERS = {
    *("Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From"),
    *("MIME-Version", "Message-ID", "Subject", "To"),
}


@pytest.fixture
def server() -> Iterator[Server]:
    with smtp_server() as running:
        yield running


def route(host: Host, port: int, **alerts: Any) -> None:
    """Have the program's mails handed to the server at a port."""
    alerts.setdefault("mail_to", [TEAM])
    host.configure(alerts={"sendmail": sendmail(host.root / "msmtp", port), **alerts})


def report(state: Path, *results: dict[str, Any], **said: str) -> None:
    """Leave a report as a service user could: his unit's directory is his own."""
    content = {"task": "verify", "host": "nas", "time": TIME, **said, "results": results}
    directory = state / "dsg-verify"
    directory.mkdir(parents=True)
    (directory / "report.json").write_text(json.dumps(content))


def tell(host: Host) -> None:
    told = host.run("alert", "dsg-verify")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def lines_of(mail: Mail) -> list[str]:
    """Return what a person reads of a mail that is whole, and ours alone."""
    found = mail.message.keys()
    assert len(found) == len(set(found)) and set(found) <= HEADERS, found
    text: str = mail.message.get_content()
    return text.splitlines()


def subject_of(mail: Mail) -> str:
    """Return a subject; of one that begins in the next line some Pythons keep the blank before it."""
    return str(mail.message["Subject"]).lstrip()


def addresses(mail: Mail, header: str) -> list[str]:
    return [address.addr_spec for address in mail.message[header].addresses]


def test_everybody_gets_the_findings_as_they_are(host: Host, server: Server) -> None:
    """Also of a path that is longer than SMTP's longest line, and not of ASCII."""
    path = "/".join(["ü" * 120] * 5)
    src = host.site.copy("wc")
    put(src, path, "deep")
    host.site.sync(src)
    flip(os.path.join(host.site.live, path))
    route(host, server.port, mail_to=[TEAM, ON_CALL, "root"])
    assert host.run("verify").returncode == 1
    tell(host)
    (mail,) = server.mails()
    assert mail.sender == ROOT_SENDS_AS
    assert mail.recipients == [TEAM, ON_CALL, ROOT_READS_AT]
    assert any(path in line for line in lines_of(mail))
    name = os.uname().nodename
    assert subject_of(mail) == f"dsg.storage on {name}: verify: 1 with findings"
    assert addresses(mail, "To") == [TEAM, ON_CALL, "root"]
    assert addresses(mail, "From") == [ROOT_SENDS_AS]
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Date"].datetime.tzinfo is not None


def test_the_sender_is_the_configured_one(host: Host, server: Server) -> None:
    """Also the one that the server is told, and answers to: many take none but those they know."""
    route(host, server.port, mail_from="storage@example.org")
    assert host.run("alert", "test").returncode == 0
    (mail,) = server.mails()
    assert mail.sender == "storage@example.org"
    assert addresses(mail, "From") == ["storage@example.org"]
    assert lines_of(mail) == ["This message shows that alerts arrive."]


@pytest.mark.parametrize(
    "subjects",
    [
        [".", "..", ". .", "From root", "QUIT", "# %s \\ `id` $(id) ${HOME}"],
        [".", "ü", "..", "=C3=BC"],
        [".", "x" * 5000, "..", "y " * 5000 + "."],
        [".", "ü", "..", "=C3=BC", "ü" * 5000],
        [".", "\N{SNOWMAN}" * 5000, ".."],
    ],
    ids=["short", "short, not ASCII", "long", "long, not ASCII", "hardly any ASCII"],
)
def test_every_line_arrives_as_it_is(host: Host, server: Server, subjects: list[str]) -> None:
    report(host.state, *({"subject": subject, "status": 1} for subject in subjects))
    route(host, server.port)
    tell(host)
    (mail,) = server.mails()
    head = f"Unit dsg-verify, {TIME}, on nas."
    assert lines_of(mail) == [head, *(line for subject in subjects for line in ("", subject))]


@pytest.mark.parametrize(
    "said",
    [
        "nas\nX-Told: yes",
        "nas\r\n\r\nAll is well.",
        "nas\r\n.\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<evil@example.org>\r\nDATA\r\n",
        "=?utf-8?q?nas=0aX-Told:_yes?=",
        "=?utf-8?q?nas=0d=0aX-Told:_yes=0d=0a=0d=0aAll_is_well.?=",
        "=?utf-8?b?bmFzClgtVG9sZDogeWVz?=",
        "nas, evil@example.org; <evil@example.org>",
        "nas\u2028X-Told: yes\x85\x0b\x0c\x00\udc0a",
        "ü " * 30_000,
        "nas" + " " * 40 + "ü",
        "x" * 30_000,
    ],
    ids=["a header", "a body", "a mail", "encoded", "an encoded body", "in base64", "addresses",
         "other ends of lines", "long", "blank", "one word"],
)  # fmt: skip
def test_nothing_that_was_found_becomes_a_header_or_a_mail(
    host: Host, server: Server, said: str
) -> None:
    error = {"code": said, "message": said, "details": [said], "next_step": said}
    result = {"subject": said, "status": 1, "findings": [said], "done": [said], "error": error}
    report(host.state, result, host=said, task=said, time=said)
    route(host, server.port)
    tell(host)
    (mail,) = server.mails()
    assert (mail.sender, mail.recipients) == (ROOT_SENDS_AS, [TEAM])
    assert addresses(mail, "To") == [TEAM]
    assert addresses(mail, "From") == [ROOT_SENDS_AS]
    lines = lines_of(mail)
    assert lines[0].startswith("Unit dsg-verify, ") and lines[1] == ""
    assert len(lines) == 2 + len(("subject", "findings", "done", "message", "details", "next_step"))
    # Nothing that has to be encoded: Python 3.13 never ends over some of that.
    name = r"[A-Za-z0-9_.?-]{1,64}"
    subject = rf"dsg\.storage on {name}: {name}: 1 with findings"
    assert re.fullmatch(subject, subject_of(mail))


def check_told_later(host: Host, server: Server) -> None:
    """Assert that who was not reached is told behind the next run, once."""
    for count in (1, 0):
        host.run("verify")
        tell(host)
        assert len(server.mails()) == count
        assert host.messages() == [], "the command was told before"


def check_not_told(host: Host) -> None:
    """Assert that each run says that the mail did not get out, while the command is told once."""
    for first in (True, False):
        host.run("verify")
        done = host.run("alert", "dsg-verify")
        assert done.returncode == 2
        assert re.fullmatch(r"sendmail failed with status \d+\n", done.stderr)
        assert len(host.messages()) == first


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("MAIL", "550 5.7.1 not from you"),
        (TEAM, "550 5.1.1 no such user"),
        (ON_CALL, "550 5.1.1 no such user"),
        (ON_CALL, "452 4.2.2 mailbox full"),
        ("DATA", "554 5.7.1 looks like spam"),
        ("DATA", "451 4.3.0 try again later"),
    ],
)
def test_a_mail_that_is_refused_is_tried_again(
    host: Host, server: Server, what: str, answer: str
) -> None:
    """If only one of the addresses is refused, msmtp sends nothing: nobody is told twice later."""
    server.answers[what] = answer
    flip(os.path.join(host.site.live, "d/b"))
    route(host, server.port, mail_to=[TEAM, ON_CALL])
    check_not_told(host)
    assert (server.refused, server.mails()) == (2, [])
    server.answers.clear()
    check_told_later(host, server)


def test_a_server_that_is_not_there_gets_it_when_it_is_back(host: Host) -> None:
    flip(os.path.join(host.site.live, "d/b"))
    with no_server() as port:
        route(host, port)
        assert host.run("alert", "test").returncode == 2
        host.messages()
        check_not_told(host)
    with smtp_server(port) as server:
        check_told_later(host, server)
