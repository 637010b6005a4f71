# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a repository of the directory backend stands: work areas and who is in them, space, rights."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...posix import mounted, processes
from ...posix.quota import user_limit
from ..mounts import mount_holder
from ..standing import LOCK, PROCESS, Cleanup, Holder, Missing, SnapshotUser, Space
from . import rights
from .layout import Layout, who_may


def running(layout: Layout) -> list[Holder]:
    """Return who works on the repository now."""
    return [
        Holder(LOCK, user.pid, user.command, user.user, layout.lock)
        for user in processes.lock_holders(layout.lock)
    ]


def cleanups(layout: Layout, fates: dict[str, str]) -> list[Cleanup]:
    """Return the work areas that recovery clears away; ``fates`` is transaction id → sentence."""
    doomed = layout.doomed_numbers()
    if not fates and not doomed:
        return []
    busy, seen = running(layout), mounted.everywhere()
    found = [
        Cleanup(path, txn_id, what, busy + _inside(path, busy) + mounts_of(path, seen), waits=False)
        for txn_id, what in fates.items()
        for path in (layout.stage(txn_id),)
    ]
    for number in doomed:
        path = layout.doomed(number)
        users = _inside(path, busy) + mounts_of(path, seen)
        what = f"snapshot s{number} was pruned; the rest of it is to be removed"
        found.append(Cleanup(path, "", what, users, waits=False))
    return found


def _inside(path: str, but: list[Holder]) -> list[Holder]:
    known = {holder.pid for holder in but}
    return [
        Holder(PROCESS, user.pid, user.command, user.user, user.path)
        for user in processes.inside(path)
        if user.pid not in known
    ]


def mounts_of(path: str, among: Sequence[mounted.Seen]) -> list[Holder]:
    """Return those of all mounts that show something of a tree elsewhere, or lie in it.

    Of one place, what this namespace has there is told.
    """
    real = os.path.realpath(path)
    found = [seen for seen in mounted.showing(real, among) if not _came_along(seen, real, among)]
    found += [seen for seen in among if seen.pid is None and _is_in(seen, real)]
    by_point: dict[str, mounted.Seen] = {}
    for seen in found:
        by_point.setdefault(seen.mount.point, seen)
    return [mount_holder(seen) for seen in by_point.values()]


def _is_in(seen: mounted.Seen, real: str) -> bool:
    return f"{seen.mount.point}/".startswith(f"{real}/")


def _came_along(seen: mounted.Seen, real: str, among: Sequence[mounted.Seen]) -> bool:
    """Tell whether a mount of another namespace was made upon the tree itself when that was published.

    Service managers mount directories upon themselves to restrict a service. Such a mount went with the
    tree when that became a snapshot: the service sees what is published now, and does not see this one.
    """
    if seen.pid is None or not _is_in(seen, real):
        return False
    below = [
        one.mount for one in among if one.pid == seen.pid and one.mount.id == seen.mount.parent
    ]
    return any(mount.device == seen.mount.device for mount in below)


def snapshot_users(layout: Layout, kept: list[int]) -> list[SnapshotUser]:
    """Return the mounts that show older snapshots."""
    seen = mounted.everywhere() if kept else []
    return [
        SnapshotUser(number, holder)
        for number in kept
        for holder in mounts_of(layout.snapshot(number), seen)
    ]


def space(layout: Layout, kept: list[int], *, history: bool) -> Space:
    """Return what is free and how large it all is; with ``history`` every snapshot is walked."""
    found = os.statvfs(layout.base)
    top = os.statvfs(_mount_point(layout.base))
    size = found.f_blocks * found.f_frsize
    free = found.f_bavail * found.f_frsize
    quota, quota_of = None, ""
    if (
        size < top.f_blocks * top.f_frsize
    ):  # what a project may take, the system shows as all there is
        quota, quota_of = size, layout.base
    limit = user_limit(layout.base)
    if limit is not None and limit.left < free:
        free, quota, quota_of = limit.left, limit.most, f"user {processes.name_of(os.geteuid())}"
    return Space(
        free=free,
        size=size,
        history=_only_in(layout, kept) if history else None,
        quota=quota,
        quota_of=quota_of,
    )


def _mount_point(path: str) -> str:
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _only_in(layout: Layout, kept: list[int]) -> int:
    """Return the bytes on disk of what older snapshots have and the published tree has not."""
    if not kept:
        return 0
    shared = {inode for inode, _size, links in _inodes(layout.live) if links > 1}
    total = 0
    for number in kept:
        for inode, size, links in _inodes(layout.snapshot(number)):
            if links == 1:
                total += size
            elif inode not in shared:
                shared.add(inode)
                total += size
    return total


def _inodes(root: str) -> list[tuple[int, int, int]]:
    """Return inode number, bytes on disk and names of everything in a tree; a directory has one name."""
    found = []
    folders = [root]
    while folders:
        folder = folders.pop()
        seen = os.lstat(folder)
        found.append((seen.st_ino, seen.st_blocks * 512, 1))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    one = entry.stat(follow_symlinks=False)
                    found.append((one.st_ino, one.st_blocks * 512, one.st_nlink))
    return found


def missing_rights(layout: Layout) -> list[Missing]:
    """Return what keeps this user from publishing."""
    if _is_read_only(layout.base):
        return [
            Missing(
                "the file system is mounted read-only",
                layout.base,
                "Look at the kernel's log for the reason, then mount it writable.",
            )
        ]
    if os.geteuid() == 0:
        led_out = rights.lacking(layout)
        return [] if led_out is None else [led_out]
    me = processes.name_of(os.geteuid())
    found = [
        Missing(f"user {me} may not write there", path, who_may(path))
        for path in (layout.base, layout.container)
        if not os.access(path, os.W_OK | os.X_OK, effective_ids=True)
    ]
    return found + _not_own(layout, me)


def _not_own(layout: Layout, me: str) -> list[Missing]:
    """Whoever does not own the published files may not link them into the next tree."""
    try:
        owner = os.lstat(layout.live).st_uid
    except FileNotFoundError:
        return []
    if owner == os.geteuid():
        return []
    name = processes.name_of(owner)
    said = f"the published tree belongs to {name}, not to {me}"
    return [Missing(said, layout.live, f"Run as {name}.")]


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
