# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository stands on its host: what waits there, who is in the way, what it takes."""

from __future__ import annotations

from typing import NamedTuple

PROCESS, LOCK, SEND = "process", "lock", "send"
MOUNT, HOLD, CLONE, SNAPSHOT = "mount", "hold", "clone", "snapshot"

RECOVER = "run `dsg.storage.recover` (any next sync does it as well)"


class Holder(NamedTuple):
    """Who is in the way.

    ``kind`` is process, lock (a run under way), send, mount, hold, clone or snapshot. The first three
    have ``pid``, ``command`` (its short name) and ``user``. ``place`` is what is used: the path that a
    process is in ('' if unknown), the mount point, the snapshot that is sent or held, the clone, or the
    snapshot that is in the way; ``tag`` is a hold's.
    """

    kind: str
    pid: int = 0
    command: str = ""
    user: str = ""
    place: str = ""
    tag: str = ""

    def __str__(self) -> str:
        if self.kind == MOUNT:
            where = f" (seen by pid {self.pid}, {self.command})" if self.pid else ""
            return f"mounted at {self.place}{where}"
        if self.kind == HOLD:
            return f"hold {self.tag} on {self.place}"
        if self.kind in (CLONE, SNAPSHOT):
            return f"{self.kind} {self.place}"
        who = f"pid {self.pid} ({self.command}) of {self.user}"
        return {
            PROCESS: f"{who}{' in ' if self.place else ''}{self.place}",
            LOCK: f"{who}, which works on the repository",
            SEND: f"{who}, which sends {self.place}",
        }[self.kind]

    def way_out(self) -> str:
        """Return what makes it go away without harm, as the beginning of a sentence."""
        return {
            PROCESS: f"let pid {self.pid} ({self.command}) leave it, or end that process",
            LOCK: f"wait until pid {self.pid} ({self.command}) has ended",
            SEND: f"wait until pid {self.pid} ({self.command}) has sent {self.place}",
            MOUNT: f"unmount {self.place}{f' where pid {self.pid} sees it' if self.pid else ''}",
            HOLD: f"once whoever set it agrees, `zfs release {self.tag} {self.place}`",
            CLONE: f"`zfs promote {self.place}` to keep that clone, or destroy it",
            SNAPSHOT: f"if nobody needs it, `zfs destroy {self.place}`",
        }[self.kind]


class Cleanup(NamedTuple):
    """Something that recovery is to clear away: a work area, or a tree that was replaced.

    ``object`` is its path or dataset, ``txn_id`` the transaction's, ``what`` one sentence. Unless it
    ``waits`` for processes, they only keep the files that they have open, until they leave.
    """

    object: str
    txn_id: str
    what: str
    holders: list[Holder]
    waits: bool = True

    def next_step(self) -> str:
        """Return the next safe thing to do."""
        ways = [h.way_out() for h in self.holders if self.waits or not self._minds_nothing(h)]
        text = ", then ".join([*dict.fromkeys(ways), RECOVER])
        return f"{text[:1].upper()}{text[1:]}."

    @staticmethod
    def _minds_nothing(holder: Holder) -> bool:
        """Tell whether files may be removed below it: a process keeps what it has open."""
        return holder.kind == PROCESS or (holder.kind == MOUNT and bool(holder.pid))


class SnapshotUser(NamedTuple):
    """What keeps snapshot ``number`` from being removed, nothing being wrong with that."""

    number: int
    holder: Holder


class Missing(NamedTuple):
    """A right that a transaction needs and this user does not have."""

    message: str
    object: str
    next_step: str


class Space(NamedTuple):
    """Bytes. ``free`` is what may still be written by the limits that the backend looks at, ``size`` that
    and all that is written.

    ``used`` is what the published tree refers to; ``history`` what would be freed if all older
    snapshots were gone (None where it was not asked for); ``quota`` the limit that is set ('quota_of'
    names what it is set on), None without one; ``pool`` and ``health`` are '' without a pool.
    """

    free: int
    size: int
    used: int | None = None
    history: int | None = None
    quota: int | None = None
    quota_of: str = ""
    pool: str = ""
    health: str = ""
