# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads the published tree while it is replaced, and what a transaction costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from _core.backends.zfs.transaction import ZfsTransaction
from _core.zfs.command import Runner
from guest.lab import PARENT, Lab, sh

FILES = ("a", "deep/b", "deep/er/c", "d")


def poll(path: str, stop: str, files: Sequence[str] = FILES, pause: float = 0.0) -> dict[str, int]:
    """Read files that belong together until ``stop`` exists; count what nobody must ever see.

    ``pause`` are seconds between two rounds.
    """
    seen = dict.fromkeys(("reads", "rounds", "errors", "mixtures", "back"), 0)
    last = 0
    generations = set()
    while not os.path.exists(stop):
        try:
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            seen["errors"] += 1
            continue
        try:
            for _unused in range(20):
                found = {_number(name, root) for name in files}
                seen["reads"] += len(files)
                seen["mixtures"] += len(found) != 1
            by_path = [_number(f"{path}/{name}", None) for name in files]
            seen["reads"] += len(files)
            seen["back"] += by_path != sorted(by_path) or by_path[0] < last
            last = by_path[-1]
            generations.update(by_path)
        except (OSError, ValueError):
            seen["errors"] += 1
        finally:
            os.close(root)
        seen["rounds"] += 1
        time.sleep(pause)
    return {**seen, "last": last, "generations": len(generations)}


def _number(path: str, root: int | None) -> int:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return int(os.read(fd, 100))
    finally:
        os.close(fd)


def _generation(lab: Lab, number: int) -> None:
    for name in FILES:
        lab.put(name, str(number) * 3)


_READERS = {
    "of the host": ((), 0.0),
    "of a namespace": (("unshare", "--mount", "--propagation", "slave"), 0.02),
}
"""How readers are started, the second as services with ``PrivateTmp`` are; seconds between rounds."""


def oracle(commits: int) -> dict[str, dict[str, int]]:
    """Have readers poll through that many commits; return the figures of each."""
    lab = Lab("polled")
    _generation(lab, 1)
    lab.sync()
    stop = f"{lab.home}/stop"
    with ExitStack() as stack:
        readers = []
        for how, pause in _READERS.values():
            code = f"poll({lab.path!r}, {stop!r}, pause={pause})"
            code = f"from guest.readers import poll; import json; print(json.dumps({code}))"
            argv = [*how, sys.executable, "-c", code]
            # Its environment is ours, which knows where our sources are.
            reader = subprocess.Popen(argv, stdout=subprocess.PIPE, env=dict(os.environ), text=True)
            readers.append(stack.enter_context(reader))
        try:
            for number in range(2, commits + 2):
                _generation(lab, number)
                waiting = lab.sync().pending_cleanup
                # A reader may be in the old tree at that very moment.
                assert all("busy" in line for line in waiting), waiting
        finally:  # whoever reads on is waited for
            with open(stop, "w", encoding="utf-8"):
                pass
        said = [reader.communicate()[0] for reader in readers]
    lab.recover()
    lab.clean()
    lab.destroy()
    return {reader: {"commits": commits, **json.loads(one)} for reader, one in zip(_READERS, said)}


def cost(rounds: int) -> dict[str, object]:
    """Time empty-handed transactions against the bare commands, and count the processes.

    Seconds are medians; ``transaction`` is from begin to commit, ``whole run`` with all around it.
    """
    lab = Lab("cost")
    lab.put("a", "1")
    lab.sync()
    told: dict[str, list[float]] = {"transaction": [], "whole run": [], "bare": []}
    started = 0
    for number in range(rounds):
        sync = _measured(lab, "2" * (number + 2))
        started = len(sync.commands)
        told["whole run"].append(sync.seconds["all"])
        told["transaction"].append(sum(sync.seconds[part] for part in _PARTS))
        told["bare"].append(_bare(number))
    lab.clean()
    lab.destroy()
    figures: dict[str, object] = {key: round(median(found), 2) for key, found in told.items()}
    figures["ratio"] = round(median(told["transaction"]) / median(told["bare"]), 2)
    figures["processes"] = started
    return figures


def commit_of(files: int, rounds: int) -> dict[str, object]:
    """Time the parts of syncs that change one file among many; medians in seconds.

    ``commits`` has of each sync the commands of OpenZFS from the fence to the switched tree.
    """
    lab = Lab(f"many{files}")
    for number in range(files):
        lab.put(f"d{number // 500}/f{number}", str(number))
    lab.sync()
    syncs = [_measured(lab, "2" * (number + 2)) for number in range(rounds)]
    lab.destroy()
    seconds = {part: round(median(sync.seconds[part] for sync in syncs), 2) for part in _PARTS}
    commits = [sync.commands[sync.fence : sync.switched] for sync in syncs]
    return {"files": files, **seconds, "processes": len(syncs[-1].commands), "commits": commits}


_PARTS = ("stage", "prepare", "commit", "apply")


class Measured(NamedTuple):
    """Seconds of a sync's parts and of all; the commands it started, and which of them commit."""

    seconds: dict[str, float]
    commands: list[str]
    fence: int
    switched: int


def _measured(lab: Lab, content: str) -> Measured:
    """Sync one changed file."""
    commands: list[str] = []
    bounds: list[int] = []
    run, commit = Runner.run, ZfsTransaction.commit

    def counting(runner: Runner, name: str, *arguments: str) -> str:
        commands.append(f"{name} {arguments[0]}")
        return run(runner, name, *arguments)

    def watched(transaction: ZfsTransaction) -> None:
        bounds.append(len(commands))
        commit(transaction)
        bounds.append(len(commands))

    lab.put("a", content)
    Runner.run, ZfsTransaction.commit = counting, watched  # type: ignore[method-assign]
    began = time.monotonic()
    spent = lab.sync().seconds
    whole = time.monotonic() - began
    Runner.run, ZfsTransaction.commit = run, commit  # type: ignore[method-assign]
    return Measured({**spent, "all": whole}, commands, *bounds)


def _bare(number: int) -> float:
    """Return the seconds of the six commands that no transaction can do without."""
    base = f"{PARENT}/.dsg/bare"
    sh("zfs", "create", "-u", f"{base}{number}")
    script = f"""set -e
zfs snapshot {base}{number}@s1
zfs clone {base}{number}@s1 {base}-stage
zfs promote {base}-stage
zfs rename -u {base}{number} {base}-old
zfs rename -u {base}-stage {base}{number}
zfs destroy {base}-old"""
    began = time.monotonic()
    subprocess.run(["sh", "-c", script], check=True)
    spent = time.monotonic() - began
    sh("zfs", "destroy", "-r", f"{base}{number}")
    return spent
