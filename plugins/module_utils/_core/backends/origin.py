# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a transaction says of where it comes from: its id, when, and by whom."""

from __future__ import annotations

import os
import pwd
import secrets
import time

from ..errors import DsgError


def new_txn_id() -> str:
    """Return an id that sorts by time and is unique."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(6)


def utc_now() -> str:
    """Return the time as manifests write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def running_user() -> str:
    """Return the name of the user that runs this process."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a numeric user in a container
        return str(os.geteuid())


def brief(cause: BaseException) -> str:
    """Return what went wrong without what it says of the state: that is another one here."""
    return cause.brief() if isinstance(cause, DsgError) else str(cause)
