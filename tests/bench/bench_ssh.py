# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs to a host by ssh, beside rsync over the same ssh with the same cipher.

A server of its own on loopback; ``ssh host true`` is the floor of any connection, measured in the
same rounds. Processor time is the client's side alone: the server's half is not its child.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tools.sshd import Sshd, sshd

from . import corpus
from .bench_sync import _CORE, _remove, _start_over
from .measure import Command, Options, Run, compare

_CIPHER = ["-o", "Ciphers=aes128-gcm@openssh.com"]

_RUN = """
import json, sys
core, src, base, server = sys.argv[1:]
sys.path.insert(0, core)
from _core.sync.engine import run
from _core.sync.request import SyncRequest
from _core.transport.destination import Destination
backend = {"type": "directory", "base": base}
destination = Destination(**json.loads(server))
run(SyncRequest(src=src, repository="bench", backend=backend, destination=destination))
"""


def main(options: Options) -> None:
    """Print the tables."""
    sizes = (2_000,) if options.quick else (20_000, 200_000)
    with tempfile.TemporaryDirectory() as folder, sshd(Path(folder) / "ssh") as server:
        for files in sizes:
            _nothing_to_do(server, corpus.small(options.base, files), options)
        tree = corpus.small(options.base, sizes[0])
        _one_percent(server, tree, options)
        _first(server, f"{sizes[0]} small files", tree, options)
        mib = corpus.MIB
        count, size = (20, 128 * mib) if options.quick else (200, 2048 * mib)
        _first(server, f"{count} x 5 MiB", corpus.medium(options.base, count), options)
        _first(server, f"1 x {size // mib} MiB", corpus.large(options.base, size), options)


def _ours(server: Sshd, src: Path, base: Path) -> list[str]:
    reached = {
        "host": server.host,
        "label": "bench",
        "port": server.port,
        "user": server.user,
        "key_file": str(server.key),
        "options": [*server.options, *_CIPHER],
    }
    code = [sys.executable, "-I", "-S", "-c", _RUN, str(_CORE)]
    return [*code, str(src), str(base), json.dumps(reached)]


def _rsync(server: Sshd, source: Path, target: Path) -> list[str]:
    """Return what rsync has to do for the same end: an exact copy on the host."""
    words = server.command()
    shell = " ".join([words[0], *_CIPHER, *words[1:-1]])  # without the host
    where = f"{server.host}:{target}/"
    return ["rsync", "-a", "--delete", "--exclude=/.dsg", "-e", shell, f"{source}/", where]


def _floor(server: Sshd) -> Command:
    words = server.command("true")
    return Command([words[0], *_CIPHER, *words[1:]])


def _compare(title: str, floor: Command, ours: Command, theirs: Command, rounds: int) -> None:
    found = compare(
        title, {"dsg": ours, "rsync -a over ssh": theirs, "ssh host true": floor}, rounds
    )
    mine, rsync, least = found["dsg"], found["rsync -a over ssh"], found["ssh host true"]
    above = _above(mine, least) / max(_above(rsync, least), 1e-9)
    load = os.getloadavg()[0]
    print(f"  above the floor: ours/rsync {above:.2f}; load of the machine {load:.1f}", flush=True)


def _above(found: Run, floor: Run) -> float:
    return found.seconds - floor.seconds


def _published(server: Sshd, tree: Path, base: Path) -> None:
    _start_over(tree, base)
    for _unused in range(2):
        subprocess.run(_ours(server, tree, base), check=True)


def _nothing_to_do(server: Sshd, tree: Path, options: Options) -> None:
    base = options.base / f"{tree.name}.ssh"
    _published(server, tree, base)
    copy = corpus.copy_of(tree)
    _compare(
        f"nothing changed, {tree.name}",
        _floor(server),
        Command(_ours(server, tree, base)),
        Command(_rsync(server, tree, copy)),
        options.rounds,
    )
    _remove(tree / ".dsg")
    _remove(base)


def _one_percent(server: Sshd, tree: Path, options: Options) -> None:
    mine, theirs = options.base / "ssh-percent", options.base / "ssh-percent.rsync"
    for copy in (mine, theirs):
        shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tree, mine, ignore=shutil.ignore_patterns(".dsg"))
    base = options.base / "ssh-percent.base"
    _published(server, mine, base)
    subprocess.run(_rsync(server, mine, theirs), check=True)
    chosen = sorted(mine.rglob("*.dat"))[::100]

    def edit() -> None:
        for path in chosen:
            with path.open("ab") as file:
                file.write(b"x")
        os.sync()

    _compare(
        f"1% of {tree.name} changed",
        _floor(server),
        Command(_ours(server, mine, base), before=edit),
        Command(_rsync(server, mine, theirs), before=edit),
        options.rounds,
    )
    for leftover in (mine, theirs, base):
        _remove(leftover)


def _first(server: Sshd, title: str, tree: Path, options: Options) -> None:
    base, copy = options.base / "ssh-first", options.base / "ssh-first.rsync"

    def clear() -> None:
        _remove(copy)
        copy.mkdir()

    _compare(
        f"first publication, {title}",
        _floor(server),
        Command(_ours(server, tree, base), before=lambda: _start_over(tree, base)),
        Command(_rsync(server, tree, copy), before=clear),
        options.rounds,
    )
    for leftover in (copy, base, tree / ".dsg"):
        _remove(leftover)
