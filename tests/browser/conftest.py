# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the checkout importable as ``ansible_collections.dsg.storage``, wherever it lies."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for _name, _path in (
    ("ansible_collections", []),
    ("ansible_collections.dsg", []),
    ("ansible_collections.dsg.storage", [str(ROOT)]),
):
    _package = types.ModuleType(_name)
    _package.__path__ = _path
    sys.modules.setdefault(_name, _package)
