# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much a user may still write to a file system that counts by user."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

from . import mounted

_GET_USER = (0x800007 << 8) | 0
_BLOCK = 1024
_LIMITS_VALID = 1


class Limit(NamedTuple):
    """Bytes: how much there may be at most, and what is left of that."""

    most: int
    left: int


class _Quota(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("hard", "soft", "space", "ihard", "isoft", "inodes", "btime", "itime")
    ] + [("valid", ctypes.c_uint32)]


def user_limit(path: str) -> Limit | None:
    """Return the limit of this user, None where none is set or the file system keeps none."""
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    source = next((m.source for m in mounted.mounts() if m.device == name), "")
    if not source.startswith("/"):
        return None
    found = _Quota()
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.quotactl(_GET_USER, os.fsencode(source), os.geteuid(), ctypes.byref(found))
    limits = [limit for limit in (found.hard, found.soft) if limit]
    if result != 0 or not found.valid & _LIMITS_VALID or not limits:
        return None
    most = min(limits) * _BLOCK
    return Limit(most, max(0, most - found.space))
