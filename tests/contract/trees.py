# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two trees with every kind of difference between them."""

from __future__ import annotations

import shutil

from tests.integration.support import EMPTY, Link, Script, Tree, make

ONE: Tree = {"same": "s", "f": "one", "d/g": "1", "gone": "g", "l": Link("f"), "e": EMPTY}
TWO: Tree = {"same": "s", "f": "two", "d/g": "1", "new/n": "n", "l": Link("d"), "x": Script("x")}


def remake(root: str, tree: Tree) -> str:
    """Put that tree, and nothing else, at ``root``."""
    shutil.rmtree(root, ignore_errors=True)
    return make(root, tree)
