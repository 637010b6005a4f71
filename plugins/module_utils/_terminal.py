# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that others wrote, as a terminal may get it.

Private to the collection: it may change at any time.
"""

from __future__ import annotations


def harmless(said: str) -> str:
    """Return a text without anything that a terminal would take for a command."""
    if said.isprintable():
        return said
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in said
    )
