# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What processes do with datasets and snapshots: mounts in any namespace, readers, sends.

All of it is as /proc tells this user; of other users' processes only root is told everything.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from ...posix import mounted, processes
from ...zfs import holders
from ..mounts import mount_holder
from ..standing import PROCESS, SEND, Holder
from .layout import RUN, Layout

_AUTOMATIC = "/.zfs/snapshot/"  # the kernel mounts there for who looks into a snapshot
_FROM = ("-i", "-I", "--redact")  # options of `zfs send` that may name another snapshot


def mounts_of(dataset: str) -> list[Holder]:
    """Return where a dataset or a snapshot of it is mounted, in this namespace or another's.

    The private mounts of dead transactions go with them, and those that the kernel makes for who looks
    into a snapshot by themselves.
    """
    found: dict[str, mounted.Seen] = {}
    for seen in mounted.everywhere():
        source, point = seen.mount.source, seen.mount.point
        mine = _is_zfs(seen) and (source == dataset or source.startswith(f"{dataset}@"))
        if mine and _AUTOMATIC not in point and not point.startswith(f"{RUN}/mnt/"):
            found.setdefault(point, seen)
    return [mount_holder(seen) for seen in found.values()]


def of_snapshots(dataset: str) -> dict[str, list[Holder]]:
    """Return what keeps each snapshot of a dataset from being destroyed, but for holds and clones.

    An automatic mount does where somebody is in it, or where no unmounting reaches it.
    """
    found: dict[tuple[str, str], Holder] = {}
    automatic: dict[int, str] = {}
    for seen in mounted.everywhere():
        device, source, point = seen.mount.device, seen.mount.source, seen.mount.point
        if not _is_zfs(seen) or not source.startswith(f"{dataset}@"):
            continue
        is_automatic = _AUTOMATIC in point
        if is_automatic:
            major, minor = device.split(":")
            automatic[os.makedev(int(major), int(minor))] = source
        if not is_automatic or not (seen.pid is None or seen.mount.propagates):
            found.setdefault((source, point), mount_holder(seen))
    users = defaultdict(list)
    for (source, _point), holder in found.items():
        users[source].append(holder)
    for number, who in holders.inside(automatic) if automatic else ():
        users[automatic[number]].append(Holder(PROCESS, who.pid, who.command, who.user, who.path))
    for send in _sends():
        if send.place.startswith(f"{dataset}@"):
            users[send.place].append(send)
    return dict(users)


def _is_zfs(seen: mounted.Seen) -> bool:
    return seen.mount.kind == "zfs"


def sends(layout: Layout) -> list[Holder]:
    """Return the processes that send a snapshot of the repository.

    What was published when a send began is called otherwise by now.
    """
    found = []
    for send in _sends():
        dataset = send.place.partition("@")[0]
        if dataset == layout.live or layout.parse_work(dataset):
            found.append(send)
    return found


def _sends() -> Iterator[Holder]:
    """Yield every process that sends a snapshot, with what it sends."""
    for pid in processes.pids():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                words = os.fsdecode(stream.read()).split("\0")
        except OSError:  # it ended
            continue
        if os.path.basename(words[0]) != "zfs" or "send" not in words[1:2]:
            continue
        sent = [
            word
            for before, word in zip(words[1:], words[2:])
            if "@" in word and before not in _FROM and not word.startswith("-")
        ]
        if sent:
            who = processes.describe(pid)
            yield Holder(SEND, pid, who.command, who.user, sent[-1])
