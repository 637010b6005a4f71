# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which strategy a play has: no variable tells it.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from ansible.executor.process import worker
from ansible.plugins.loader import strategy_loader


def strategy_that_goes_ahead() -> str:
    """Return the name of the play's strategy where its hosts do not wait for each other, else ''.

    Neither ``run_once`` nor what a host sees of the others holds then. Hosts wait with ``linear`` and
    with what is made from it. It is known while a task runs, and taken for ``linear`` otherwise; so it is
    where an ansible-core to come tells it in another way: this collection's playbooks say ``linear``.
    """
    task = getattr(getattr(worker, "current_worker", None), "_task", None)
    if task is None:
        return ""
    name = str(task.get_play().strategy)
    linear = strategy_loader.get("linear", class_only=True)
    found = strategy_loader.get(name, class_only=True)
    return "" if isinstance(found, type) and issubclass(found, linear) else name
