# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real SMTP server on loopback, and a real sendmail that hands its mails to that server: msmtp.

msmtp is a program and nothing else: no daemon, no queue, and Debian's package of it does not become
what sends the mails of the machine. It ends when the server has answered, so its status is the answer.
"""

from __future__ import annotations

import shlex
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.tools.sshd import free_port

ROOT_SENDS_AS = "root@nas.example.org"
ROOT_READS_AT = "admin@example.org"
ALIASES = f"root: {ROOT_READS_AT}\n"

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_GRANTED = "250 OK"


class Mail(NamedTuple):
    """What arrived: from whom and for whom by the envelope, and what is in it."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Return it as a mail program reads it."""
        found = message_from_bytes(self.content, policy=default)
        assert isinstance(found, EmailMessage)
        return found


class Server:
    """Keeps what arrives. ``answers`` says what is refused, by its command or recipient, and how."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, str] = {}
        self.refused = 0
        self._arrived: list[Mail] = []

    def mails(self) -> list[Mail]:
        """Return what arrived, and forget it."""
        found, self._arrived = self._arrived, []
        return found

    def _answer(self, what: str) -> str:
        self.refused += what in self.answers
        return self.answers.get(what, _GRANTED)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer("MAIL")
        if answer == _GRANTED:
            envelope.mail_from = address
        return answer

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer(address)
        if answer == _GRANTED:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._answer("DATA")
        if answer == _GRANTED:
            assert envelope.mail_from is not None and envelope.original_content is not None
            mail = Mail(envelope.mail_from, envelope.rcpt_tos, envelope.original_content)
            self._arrived.append(mail)
        return answer


@contextmanager
def smtp_server(port: int = 0) -> Iterator[Server]:
    """Run a server for the block. It takes what every server has to, and no more.

    That is ASCII in lines of no more than 998 bytes: of SMTP's extensions it offers none to that.
    """
    server = Server(port or free_port())
    running = Controller(
        server,
        hostname=_LOOPBACK,
        port=server.port,
        ready_timeout=_START_SECONDS,
        decode_data=True,
        enable_SMTPUTF8=False,
    )
    try:
        running.start()
        yield server
    finally:
        running.stop(no_assert=True)


@contextmanager
def no_server() -> Iterator[int]:
    """Give a port of loopback that nobody can listen at in the block."""
    with socket.socket() as held:
        held.bind((_LOOPBACK, 0))
        yield int(held.getsockname()[1])


def sendmail(folder: Path, port: int) -> str:
    """Make a sendmail that hands mails to the server at a port; return its path."""
    folder.mkdir(exist_ok=True)
    aliases, program = folder / "aliases", folder / "sendmail"
    aliases.write_text(ALIASES, encoding="ascii")
    msmtp = shutil.which("msmtp") or "/usr/bin/msmtp"
    program.write_text(sendmail_script(msmtp, port, str(aliases)), encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def sendmail_script(msmtp: str, port: int, aliases: str) -> str:
    """Return the program that hands mails to the server at a port of loopback by msmtp.

    As it is told its server, msmtp reads no configuration, be it the machine's or a user's. As with any
    sendmail, root is somebody: by the file ``aliases``, which is to have :data:`ALIASES` in it.
    """
    words = [
        msmtp,
        f"--host={_LOOPBACK}",
        f"--port={port}",
        f"--from={ROOT_SENDS_AS}",
        f"--aliases={aliases}",
        "--domain=nas.example.org",
        "--tls=off",
        "--auth=off",
        "--syslog=off",
    ]
    return f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
