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
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.tools.sshd import Sshd, sshd

from . import corpus
from .bench_sync import _CORE, _remove, _start_over
from .measure import Command, Options, Run, compare

_ONE_CIPHER = "Ciphers aes128-gcm@openssh.com"
"""Of the server: not every client can be told."""
_RECORD = 128 * 1024
"""Bytes that are changed together: what a file's digests by parts, and ZFS, go by."""

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

_THEN_SYNC = """
import ctypes, os, subprocess, sys
subprocess.run(sys.argv[2:], check=True)
fd = os.open(sys.argv[1], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).syncfs(fd):
    raise OSError(ctypes.get_errno(), "syncfs")
"""

_NEXT_GENERATION = """
import ctypes, os, subprocess, sys
base, target, *rsync = sys.argv[1:]
newest = max(map(int, os.listdir(base)), default=0)
links = [f"--link-dest=../{newest}"] if newest else []
subprocess.run([*rsync[:-1], *links, rsync[-1], f"{target}/{newest + 1}/"], check=True)
fd = os.open(base, os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).syncfs(fd):
    raise OSError(ctypes.get_errno(), "syncfs")
"""


def main(options: Options) -> None:
    """Print the tables."""
    sizes = (2_000,) if options.quick else (20_000, 200_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        sshd(Path(folder) / "ssh", [_ONE_CIPHER]) as server,
    ):
        for files in sizes:
            _nothing_to_do(server, corpus.small(options.base, files), options)
        tree = corpus.small(options.base, sizes[0])
        _one_percent(server, tree, options)
        # Of small files rclone sends about ten a second: the peer would take half an hour.
        _first(server, f"{sizes[0]} small files", tree, options, without=(_SFTP,))
        mib = corpus.MIB
        count, size = (20, 128 * mib) if options.quick else (200, 2048 * mib)
        _first(server, f"{count} x 5 MiB", corpus.medium(options.base, count), options)
        tree = corpus.large(options.base, size)
        _first(server, f"1 x {size // mib} MiB", tree, options)
        _in_place(server, f"1% of 1 x {size // mib} MiB in place", tree, options)


def _ours(server: Sshd, src: Path, base: Path, *further: str) -> list[str]:
    reached = {
        "host": server.host,
        "label": "bench",
        "port": server.port,
        "user": server.user,
        "key_file": str(server.key),
        "options": [*server.options, *further],
        # A login's python3 may be a version manager's script: that is not what is measured.
        "interpreter": sys.executable,
    }
    code = [sys.executable, "-I", "-S", "-c", _RUN, str(_CORE)]
    return [*code, str(src), str(base), json.dumps(reached)]


def _rsync(server: Sshd, source: Path, target: Path, *further: str, ssh=()) -> list[str]:
    """Return what rsync has to do for the same end: an exact copy on the host."""
    words = server.command()
    shell = " ".join([words[0], *ssh, *words[1:-1]])  # without the host
    where = f"{server.host}:{target}/"
    exact = ["-a", "--delete", "--exclude=/.dsg", *further]
    return ["rsync", *exact, "-e", shell, f"{source}/", where]


def _floor(server: Sshd) -> Command:
    return Command(server.command("true"))


_PEER, _FLOOR, _SFTP = "rsync -a over ssh", "ssh host true", "rclone sync over sftp"
_DURABLE = "rsync -a over ssh, then syncfs"
"""What is on disk when it ends, as ours is when it commits; the host's disk is this one's."""
_KEEPING = "rsync -a --link-dest over ssh, then syncfs"
"""What also keeps the tree as it was, whole and in hard links, as ours does."""


def _compare(
    title: str, floor: Command, ours: Command, peers: dict[str, Command], rounds: int
) -> None:
    found = compare(title, {"dsg": ours, **peers, _FLOOR: floor}, rounds)
    least = found[_FLOOR]
    for peer in peers.keys() & found.keys():
        above = _above(found["dsg"], least) / max(_above(found[peer], least), 1e-9)
        print(f"  above the floor: ours/({peer}) {above:.2f}", flush=True)
    print(f"  load of the machine {os.getloadavg()[0]:.1f}", flush=True)


def _peers(
    server: Sshd,
    source: Path,
    target: Path,
    *further: str,
    before: Callable[[], object] | None = None,
) -> dict[str, Command]:
    """Return what others do for the same end; ``before`` is done ahead of each."""
    rsync = _rsync(server, source, target, *further)
    return {
        _PEER: Command(rsync, before=before),
        _DURABLE: Command(_then_synced(rsync, target), before=before),
        _SFTP: Command(_rclone(server, source, target), before=before),
    }


def _rclone(server: Sshd, source: Path, target: Path) -> list[str]:
    reached = {
        "host": server.host,
        "port": str(server.port),
        "user": server.user,
        "key-file": str(server.key),
        "known-hosts-file": str(server.known_hosts),
    }
    options = [f"--sftp-{name}={value}" for name, value in reached.items()]
    own = ["--config=", "--exclude=/.dsg/**", "--links"]
    return ["rclone", "sync", *own, *options, str(source), f":sftp:{target}"]


def _then_synced(argv: list[str], target: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _THEN_SYNC, str(target), *argv]


def _next_generation(server: Sshd, source: Path, base: Path) -> list[str]:
    *rsync, target = _rsync(server, source, base)
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _NEXT_GENERATION,
        str(base),
        target.rstrip("/"),
        *rsync,
    ]


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
        _peers(server, tree, copy),
        options.rounds,
    )
    _remove(tree / ".dsg")
    _remove(base)


def _one_percent(server: Sshd, tree: Path, options: Options) -> None:
    mine, theirs = options.base / "ssh-percent", options.base / "ssh-percent.rsync"
    generations = options.base / "ssh-percent.generations"
    for copy in (mine, theirs, generations):
        shutil.rmtree(copy, ignore_errors=True)
    generations.mkdir()
    shutil.copytree(tree, mine, ignore=shutil.ignore_patterns(".dsg"))
    base = options.base / "ssh-percent.base"
    _published(server, mine, base)
    subprocess.run(_rsync(server, mine, theirs), check=True)
    keeping = _next_generation(server, mine, generations)
    subprocess.run(keeping, check=True)
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
        {**_peers(server, mine, theirs, before=edit), _KEEPING: Command(keeping, before=edit)},
        options.rounds,
    )
    for leftover in (mine, theirs, base, generations):
        _remove(leftover)


def _first(
    server: Sshd, title: str, tree: Path, options: Options, without: Sequence[str] = ()
) -> None:
    base, copy = options.base / "ssh-first", options.base / "ssh-first.rsync"

    def clear() -> None:
        _remove(copy)
        copy.mkdir()

    peers = _peers(server, tree, copy, before=clear)
    _compare(
        f"first publication, {title}",
        _floor(server),
        Command(_ours(server, tree, base), before=lambda: _start_over(tree, base)),
        {name: peer for name, peer in peers.items() if name not in without},
        options.rounds,
    )
    for leftover in (copy, base, tree / ".dsg"):
        _remove(leftover)


def _in_place(server: Sshd, title: str, tree: Path, options: Options) -> None:
    """Rewrite whole records all over a file; the peer also knows that it changed in place."""
    mine, theirs = options.base / "ssh-large", options.base / "ssh-large.rsync"
    for copy in (mine, theirs):
        _remove(copy)
    shutil.copytree(tree, mine, ignore=shutil.ignore_patterns(".dsg"))
    base = options.base / "ssh-large.base"
    _published(server, mine, base)
    subprocess.run(_rsync(server, mine, theirs), check=True)
    (file,) = mine.rglob("*.bin")
    records = file.stat().st_size // _RECORD
    # The same ones each time: whoever runs next finds the edits of those before it as well.
    chosen = random.sample(range(records), records // 100)

    def edit() -> None:
        with file.open("r+b") as stream:
            for record in chosen:
                stream.seek(record * _RECORD)
                stream.write(random.randbytes(_RECORD))
        os.sync()

    part = ("--inplace", "--no-whole-file")
    _compare(
        title,
        _floor(server),
        Command(_ours(server, mine, base), before=edit),
        _peers(server, mine, theirs, *part, before=edit),
        options.rounds,
    )
    log = options.base / "ssh-large.log"
    counting = ("-E", str(log), "-o", "LogLevel=VERBOSE")
    edit()
    for name, command in (
        ("dsg", _ours(server, mine, base, *counting)),
        ("rsync", _rsync(server, mine, theirs, *part, ssh=counting)),
    ):
        subprocess.run(command, check=True)
        sent = sum(map(int, re.findall(r"Transferred: sent (\d+)", log.read_text())))
        log.unlink()
        ratio = sent / (len(chosen) * _RECORD)
        print(f"  {name} sent {sent} bytes: {ratio:.2f} of the changed records", flush=True)
    for leftover in (mine, theirs, base):
        _remove(leftover)
