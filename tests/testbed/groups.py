# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tests with virtual hosts run side by side."""

from __future__ import annotations

import os

_WORKERS = 3
_PROCESSORS = 2
"""Of a host, where there are as many for all workers."""


def group(name: str) -> str:
    """Return the group of pytest-xdist for the tests that share the hosts ``name``.

    On a machine with too few processors it is one for all: there hosts side by side take several times
    as long as one behind the other.
    """
    return name if (os.cpu_count() or 1) >= _WORKERS * _PROCESSORS else "hosts"
