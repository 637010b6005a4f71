# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether something is there, where "cannot tell" must not pass for "no".

``os.path.exists`` and its like answer False for every error: a disk that fails to read would make a
record look absent.
"""

from __future__ import annotations

import os
import stat


def is_present(path: str) -> bool:
    """Tell whether the path exists, be it a link to nowhere; raise ``OSError`` if that is unknown."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_directory(path: str) -> bool:
    """Tell whether the path is a directory or a link to one; raise ``OSError`` if that is unknown."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
