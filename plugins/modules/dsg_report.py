#!/usr/bin/python
# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``dsg.storage.dsg_report``: documentation, options and result; pure functions do the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsg_report
short_description: Show what many hosts told of their repositories
version_added: 1.0.0
author:
  - dsg.storage contributors (@dsg-storage)
description:
  - Puts together what M(dsg.storage.dsg_info) returned on many hosts, and shows it as a table on the
    terminal; on request as data, as one HTML page, and as metrics for Prometheus.
  - Hosts that failed or did not answer are in all of them. What a host told that cannot be shown, as it has
    not the form that M(dsg.storage.dsg_info) gives it, is told as a failure of that host.
  - It works on the control node, unless the task is delegated. Nothing is asked of any host.
extends_documentation_fragment:
  - dsg.storage.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Every form tells when the status was taken, so a file is written anew each time.
options:
  results:
    description:
      - Name of a host to what a task of M(dsg.storage.dsg_info) registered there, be it in a loop or
        not.
      - A host with an empty dictionary is one that nothing was heard of.
    type: dict
    required: true
  show:
    description:
      - Whether to print the table, and below it every problem with the next safe step.
      - Where the task is delegated, and with callbacks that print JSON, it is in the result only.
    type: bool
    default: true
  json:
    description: File that gets everything as data.
    type: path
  html:
    description:
      - File that gets everything as one HTML page.
      - It needs no other file, no script and no network, and is readable on a telephone.
    type: path
  metrics:
    description:
      - File that gets metrics in Prometheus' text format, such as
        C(/var/lib/prometheus/node-exporter/dsg.prom).
      - Like the others it is replaced in one step, so that no reader sees half of it.
    type: path
  title:
    description: Title of the HTML page.
    type: str
    default: Storage status
seealso:
  - module: dsg.storage.dsg_info
"""

EXAMPLES = r"""
---
- name: Look at a repository on every host
  dsg.storage.dsg_info:
    repository: handbook
    backend:
      base: /srv/dsg
    drift: true
  register: handbook

- name: Show all hosts, and write a report
  dsg.storage.dsg_report:
    results: >-
      {{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars)
      | map(attribute='handbook', default={}))) }}
    html: /srv/www/status.html
    metrics: /var/lib/prometheus/node-exporter/dsg.prom
  run_once: true
"""

RETURN = r"""
table:
  description: The table, line by line.
  returned: success
  type: list
  elements: str
problems:
  description: >-
    The problems of all hosts as M(dsg.storage.dsg_info) returns them, the worst first, with
    RV(ignore:host), RV(ignore:repository) and the RV(ignore:lines) that are printed of it.
  returned: success
  type: list
  elements: dict
sentence:
  description: All in one sentence.
  returned: success
  type: str
  sample: "2026-11-20 22:41:07 UTC: 3 hosts, 3 repositories: 2 in sync, 1 unreachable; 1 error."
totals:
  description: How many hosts and repositories there are, how they stand, and how many problems they have.
  returned: success
  type: dict
  sample:
    hosts: 3
    repositories: 3
    in_sync: 2
    differs: 0
    published: 0
    absent: 0
    failed: 0
    unreachable: 1
    errors: 1
    warnings: 0
    notes: 0
taken:
  description: When the status was put together, in UTC.
  returned: success
  type: str
written:
  description: Files that were written.
  returned: success
  type: list
  elements: str
error:
  description: What went wrong, as in the result of M(dsg.storage.dsg_sync).
  returned: failure
  type: dict
"""

import json
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.dsg.storage.plugins.module_utils import _shell
from ansible_collections.dsg.storage.plugins.module_utils._core.errors import from_oserror
from ansible_collections.dsg.storage.plugins.module_utils._core.posix import durable
from ansible_collections.dsg.storage.plugins.module_utils._status import html, metrics, text
from ansible_collections.dsg.storage.plugins.module_utils._status.fleet import Fleet, fleet
from ansible_collections.dsg.storage.plugins.module_utils._status.presentable import shown


def argument_spec() -> dict[str, Any]:
    """Return the options of the module."""
    return {
        "results": {"type": "dict", "required": True},
        "show": {"type": "bool", "default": True},
        "json": {"type": "path"},
        "html": {"type": "path"},
        "metrics": {"type": "path"},
        "title": {"type": "str", "default": "Storage status"},
    }


class Shown(NamedTuple):
    """What all hosts told, with what each file is to hold."""

    fleet: Fleet
    files: dict[str, str]
    table: list[str]
    problems: list[dict[str, Any]]


def report(module: _shell.Invocation) -> _shell.Result:
    """Put it together, write the files that are asked for, and shape the result."""
    params = module.params
    taken = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = shown(params["results"], lambda results: show(fleet(results, taken), params))
    for path, said in made.files.items():
        if not module.check_mode:
            write(path, said)
    return {
        "changed": bool(made.files),
        "table": made.table,
        "problems": made.problems,
        "sentence": text.sentence(made.fleet),
        "totals": made.fleet.totals(),
        "taken": taken,
        "written": list(made.files),
    }


def show(found: Fleet, params: Mapping[str, Any]) -> Shown:
    """Show all of it in every form that is asked for; nothing is written yet."""
    asked = [form for form in ("json", "html", "metrics") if params[form]]
    return Shown(
        found,
        {params[form]: content(form, found, params["title"]) for form in asked},
        text.table_lines(found),
        [{**one, "lines": text.problem_lines(one)} for one in found.problems],
    )


def content(form: str, found: Fleet, title: str) -> str:
    """Return what a file is to hold."""
    if form == "html":
        return html.page(found, title)
    if form == "metrics":
        return metrics.metrics(found)
    return json.dumps(found.data(), indent=1, sort_keys=True) + "\n"


def write(path: str, said: str) -> None:
    """Replace a file in one step; its neighbour on the way there has a name that no collector reads."""
    try:
        durable.replace(os.path.abspath(path), [said.encode("utf-8", "replace")])
    except OSError as exc:
        raise from_oserror(exc, "writing the report") from exc


COMMAND = _shell.Command(argument_spec(), {}, report)


def main() -> None:
    """Run the module."""
    _shell.run_command(COMMAND)


if __name__ == "__main__":
    main()
