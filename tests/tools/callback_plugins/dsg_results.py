# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what every task returned to the file that DSG_RESULTS names, beside the usual output."""

from __future__ import annotations

import json
import os

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: dsg_results
type: notification
short_description: Writes task results to a file
description:
  - For the tests of the collection.
"""


class CallbackModule(CallbackBase):
    """Collects results while the play runs and writes them once, at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "dsg_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.play = ""
        self.tasks = []

    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name()

    def v2_runner_on_ok(self, result):
        self._add("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._add("failed", result)

    def v2_runner_on_skipped(self, result):
        self._add("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._add("unreachable", result)

    def v2_playbook_on_stats(self, stats):
        collected = {
            "tasks": self.tasks,
            "stats": {host: stats.summarize(host) for host in stats.processed},
        }
        with open(os.environ["DSG_RESULTS"], "w", encoding="utf-8") as handle:
            json.dump(collected, handle, cls=AnsibleJSONEncoder)

    def _add(self, status, result):
        self.tasks.append(
            {
                "play": self.play,
                "task": result._task.get_name(),
                "action": result._task.action,
                "host": result._host.get_name(),
                "status": status,
                "result": result._result,
            }
        )
