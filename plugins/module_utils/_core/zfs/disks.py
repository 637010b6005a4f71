# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks: which device a path leads to, whether it is in use, and what it carries."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import from_oserror
from ..posix import mounted
from . import labels
from .command import Runner, ZfsError
from .steps import DiskError

_MIB = 1 << 20
_SAMPLES, _SAMPLE = 1024, 64 << 10
"""How many places between its ends a device is looked at, and how many bytes there: some ten seconds on
a rotating disk."""
_BLANK = (b"", b"\0", b"\xff")
_SYS = "/sys/class/block"
_FIRST_PARTITION = re.compile(
    r"(?P<disk>/dev/disk/.+)-part1|(?P<named>/dev/(?:sd|vd|xvd|hd)[a-z]+)1"
    r"|(?P<numbered>/dev/(?:nvme|mmcblk|loop)[0-9a-z]*[0-9])p1"
)


def device(path: str) -> str:
    """Return the device that a path leads to, the whole disk where OpenZFS partitioned it whole.

    A path that leads nowhere (a disk that is gone) is returned as it is, likewise shortened.
    """
    real = os.path.realpath(path)
    if not os.path.exists(real):
        match = _FIRST_PARTITION.fullmatch(path)
        return next(filter(None, match.groups())) if match else path
    number = _read(f"{_SYS}/{os.path.basename(real)}/partition")
    if number == "1":
        (disk,) = above(real)
        if _numbers(_name(disk)) == {"1", "9"}:  # 9 is what OpenZFS reserves where it partitions
            return disk
    return real


def whole(path: str) -> str:
    """Return ``path``, or the disk where it leads to a partition that goes with a new label."""
    found = device(path)
    return path if os.path.realpath(path) == found else found


def require_device(path: str) -> None:
    """Refuse what is no block device, and one that cannot be written to."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DiskError(
            f"there is no such device: {error.strerror}",
            object=path,
            next_step="Correct the path; `lsblk` and /dev/disk/by-id tell what there is.",
        ) from None
    if not stat.S_ISBLK(mode):
        raise DiskError(
            "this is not a block device; files are no disks for a pool that is to last",
            object=path,
            next_step="Name a disk or a partition.",
        )
    if _read(f"{_SYS}/{_name(os.path.realpath(path))}/ro") == "1":
        raise DiskError("this device is read-only", object=path)


def uses(whole: str) -> list[str]:
    """Return what uses a device or its partitions now, one line each; [] for a free one."""
    found = []
    for node in nodes(whole):
        found += [f"{node} is mounted at {point}" for point in _mountpoints(node)]
        found += [f"{node} is swap" for _swap in filter(node.__eq__, _swaps())]
        found += [f"{node} is held by {holder}" for holder in _entries(node, "holders")]
    if not found and (busy := [node for node in nodes(whole) if _is_claimed(node)]):
        found.append(f"{busy[0]} is in use (the kernel refuses exclusive access)")
    return found


def contents(runner: Runner, whole: str) -> list[str]:
    """Return what a device and its partitions carry, one line each; [] for a blank one.

    Blank is one whose first and last MiB are, where every label, table and superblock lies, and likewise
    a thousand places evenly spread between them: data may have outlived its label.
    """
    with _looking():
        return [line for node in nodes(whole) for line in _contents(runner, node, whole)]


def labelled(whole: str) -> list[str]:
    """Return a device and its partitions without those that hold no label: their ends are blank."""
    with _looking():
        return [node for node in nodes(whole) if not _hold_nothing(node, _ends)]


def is_blank(node: str) -> bool:
    """Tell whether a device holds nothing, as far as its ends and samples between them tell."""
    return _hold_nothing(node, _ends) and _hold_nothing(node, _between)


def _hold_nothing(node: str, places: Callable[[int], list[tuple[int, int]]]) -> bool:
    fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        return all(_is_blank(os.pread(fd, length, at)) for at, length in places(size))
    finally:
        os.close(fd)


def _is_blank(content: bytes) -> bool:
    first = content[:1]
    return first in _BLANK and content == first * len(content)


def _ends(size: int) -> list[tuple[int, int]]:
    return [(0, _MIB), (max(0, size - _MIB), _MIB)]


def _between(size: int) -> list[tuple[int, int]]:
    return [(size * number // _SAMPLES, _SAMPLE) for number in range(1, _SAMPLES)]


def above(node: str) -> list[str]:
    """Return the disk that a partition is on; [] for what is no partition."""
    if not _read(f"{_SYS}/{_name(node)}/partition"):
        return []
    folder = os.path.realpath(f"{_SYS}/{_name(node)}")
    return [f"/dev/{os.path.basename(os.path.dirname(folder))}"]


def nodes(whole: str) -> list[str]:
    """Return a device and its partitions."""
    return [whole, *(f"/dev/{name}" for name in _partitions(_name(whole)))]


def _contents(runner: Runner, node: str, whole: str) -> Iterator[str]:
    if is_blank(node):
        if node != whole:
            yield f"{node} is an empty partition"
        return
    kinds = _signatures(runner, node)
    label = labels.read(runner, node) if not kinds or "zfs_member" in kinds else None
    if label is not None:
        yield f"{node} carries a label of {label}"
        kinds = [kind for kind in kinds if kind != "zfs_member"]
    elif not kinds:
        yield f"{node} carries data of an unknown kind"
    if kinds:
        yield f"{node} carries {', '.join(kinds)}"


def _signatures(runner: Runner, node: str) -> list[str]:
    """Return the kinds of tables, file systems and members, as wipefs names them."""
    printed = runner.run("wipefs", "--no-act", "--json", node)
    try:
        found = json.loads(printed or "{}").get("signatures", [])
        return list(dict.fromkeys(str(signature["type"]) for signature in found))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZfsError(f"unexpected output of wipefs: {printed!r}", object=node) from error


def _is_claimed(node: str) -> bool:
    with _looking():
        try:
            os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return True
            raise
    return False


@contextmanager
def _looking() -> Iterator[None]:
    """Tell whose disk cannot be read, and by whom it can."""
    try:
        yield
    except OSError as error:
        raise from_oserror(error, "looking at the disk (this needs root)") from None


def _mountpoints(node: str) -> list[str]:
    """Return where a device is mounted, by number or (btrfs) by its source."""
    number = os.stat(node).st_rdev
    shown = f"{os.major(number)}:{os.minor(number)}"
    return [
        one.point
        for one in mounted.mounts()
        if one.device == shown
        or (one.source.startswith("/") and os.path.realpath(one.source) == node)
    ]


def _swaps() -> list[str]:
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as stream:
        return [os.path.realpath(line.split()[0]) for line in stream.readlines()[1:]]


def _partitions(name: str) -> list[str]:
    return [
        entry for entry in _entries(f"/dev/{name}") if os.path.exists(f"{_SYS}/{entry}/partition")
    ]


def _numbers(disk: str) -> set[str]:
    return {_read(f"{_SYS}/{name}/partition") for name in _partitions(disk)}


def _entries(node: str, folder: str = "") -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(_SYS, _name(node), folder)))
    except OSError:  # not a device of the kernel's list (a file), or without such a folder
        return []


def _name(node: str) -> str:
    return os.path.basename(node)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
