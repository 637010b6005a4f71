# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction on another host: staged by sending, decided by calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..backends.base import Land, Upload
from ..errors import DsgError
from ..manifest.codec import Manifest
from ..manifest.entry import Entry
from . import frames, wire
from .errors import ConnectionLost
from .patches import Old, Ours, read_old
from .sending import Item, Sender
from .session import Session


class RemotePrepared:
    """A transaction that only has to be decided."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def commit(self) -> None:
        """Check that the repository is still the base, then publish in one atomic step."""
        self._session.call("commit")

    def finish(self) -> list[str]:
        """Tidy up behind the commit point; return what has to wait, one sentence each."""
        try:
            waiting: list[str] = self._session.told([str], "finish")
            return waiting
        except ConnectionLost as exc:
            return [f"tidying up on {exc.object}: the connection was lost"]

    def rollback(self) -> None:
        """Remove the work area."""
        self._session.call("rollback")


class RemoteTransaction(RemotePrepared):
    """One change of a repository on another host."""

    def __init__(self, session: Session, base: Manifest | None) -> None:
        super().__init__(session)
        self._base = base
        self._may_be_held = False

    def stage(
        self,
        source: str,
        uploads: Sequence[Upload],
        deletes: set[str],
        land: Land | None = None,
    ) -> list[Entry]:
        """Send the change; return the uploads as they landed, hashed over there."""
        session = self._session
        known = (wire.strings_out(sorted(deletes)), wire.uploads_out(uploads))
        session.announce("stage", len(known) + 1, known, {})
        asked = [item for item in uploads if item.patch]
        ours = Ours(source, asked)
        old = self._old(asked, ours) if asked else {}
        if self._send(source, uploads, old, ours):
            with session.on_line():
                session.channel.write(frames.pack(frames.END, b""))
            landed = session.text()
            session.answer()
            return wire.landed_in(uploads, [landed])
        session.answer()  # raises what the agent gave up for
        raise frames.ProtocolError("the agent spoke while it should listen")

    def _old(self, asked: Sequence[Upload], ours: Ours) -> dict[str, Old]:
        """Learn what the agent has of large files, while we look at our own."""
        ours.start()
        try:
            with self._session.on_line():
                return read_old(asked, frames.raw_stream(self._session.channel))
        except DsgError:
            if not self._session.lost:
                self._abort()
            raise

    def _send(
        self, source: str, uploads: Sequence[Upload], old: Mapping[str, Old], ours: Ours
    ) -> bool:
        """Send the contents; tell whether the agent took them all so far."""
        session = self._session
        sender = Sender(session.channel, source, self._listen)
        try:
            with session.on_line():
                sender.send(
                    [
                        Item(item.source, item.identity, old.get(item.entry.path))
                        for item in uploads
                    ],
                    ours,
                )
            return True
        except frames.Stopped:
            self._abort()
            return False
        except BaseException:
            if not session.lost:
                self._abort()
                self._drop_answer()
            raise

    def _listen(self) -> None:
        if self._session.channel.has_input():
            raise frames.Stopped

    def _abort(self) -> None:
        with self._session.on_line():
            self._session.channel.write(frames.pack(frames.ABORT, b""))

    def _drop_answer(self) -> None:
        """Read the agent's word that it was told to stop; the reason is known here."""
        try:
            self._session.answer()
        except DsgError:
            return
        except Exception:  # whatever the agent says of it, our own error is the cause
            return

    def prepare(self, manifest: Manifest) -> None:
        """Send the manifest, as its difference to the base."""
        self._session.call("prepare", wire.manifest_out(manifest, self._base))

    def hold(self, note: str) -> None:
        """Keep what is prepared, behind the connection."""
        self._may_be_held = True
        self._session.call("hold", note=note)

    def rollback(self) -> None:
        """Remove the work area; an agent without a channel has done so, or recovery does.

        Unless it may be held: then it is an error that nobody knows of its end.
        """
        if self._may_be_held or not self._session.lost:
            super().rollback()
