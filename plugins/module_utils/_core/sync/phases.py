# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a request to the phase that it asks for."""

from __future__ import annotations

from . import engine
from .fleet.finish import finish
from .fleet.prepare import prepare
from .request import FULL, PREPARE, SyncRequest, SyncResult


def run(request: SyncRequest) -> SyncResult:
    """Run a whole sync, or one phase of a fleet transaction, on one host."""
    if request.phase == FULL:
        return engine.run(request)
    return prepare(request) if request.phase == PREPARE else finish(request)
