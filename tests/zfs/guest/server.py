# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs inside a host: one warm process that forks a child for every case it is told to run.

Commands and answers are lines of JSON on stdin and stdout; what a case prints goes into its answer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback

from guest import lab

HERE = os.path.dirname(os.path.abspath(__file__))


def _work(command: dict[str, object], answer: int) -> None:
    """Run one case; the child's whole life."""
    said: dict[str, object] = {}
    began = time.monotonic()
    try:
        module, _dot, function = str(command["case"]).rpartition(".")
        lab.acting[:] = [command["user"]] if command["user"] else []
        case = getattr(importlib.import_module(f"guest.{module}"), function)
        said["result"] = case(**command["arguments"])  # type: ignore[arg-type]
    except BaseException:
        said["error"] = traceback.format_exc()
    said["seconds"] = round(time.monotonic() - began, 2)
    with os.fdopen(answer, "w") as stream:
        json.dump(said, stream)
        stream.write("\n")


def serve() -> None:
    """Answer commands until stdin ends."""
    for name in sorted(os.listdir(HERE)):  # once, here: an emulated host is slow
        if name.endswith(".py") and name not in ("__init__.py", "server.py"):
            importlib.import_module(f"guest.{name[:-3]}")
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.dup2(2, 1)  # only answers go to the other side
            _work(json.loads(line), writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            said = stream.readline()  # not to the end: a case may leave processes that it stopped
        os.waitpid(pid, 0)
        print(said.strip() or json.dumps({"error": "the case's process died"}), flush=True)


if __name__ == "__main__":
    serve()
