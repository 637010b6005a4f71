# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs, as a user starts them: nothing to do, one in a hundred changed, first publication.

What Ansible adds to a run is told apart (``bench_ansible``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import corpus
from .measure import Command, Options, compare

_CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

_RUN = """
import sys
core, src, base, check = sys.argv[1:]
sys.path.insert(0, core)
from _core.sync.engine import run
from _core.sync.request import SyncRequest
backend = {"type": "directory", "base": base}
run(SyncRequest(src=src, repository="bench", backend=backend, check=check == "check"))
"""
_HASH = """
import hashlib, os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
"""


def main(options: Options) -> None:
    """Print the tables."""
    sizes = (200, 2_000) if options.quick else (2_000, 20_000, 200_000)
    for files in sizes:
        _nothing_to_do(corpus.small(options.base, files), options)
    _one_percent(corpus.small(options.base, sizes[1]), sizes[1], options)
    for files in sizes:
        _first(
            f"first publication, {files} small files", corpus.small(options.base, files), options
        )
    mib = corpus.MIB
    count, size = (20, 128 * mib) if options.quick else (200, 2048 * mib)
    medium = corpus.medium(options.base, count)
    _first(f"first publication, {count} x 5 MiB", medium, options)
    _first_large(f"first publication, 1 x {size // mib} MiB", options, size)


def run_argv(src: Path, base: Path, mode: str = "run") -> list[str]:
    """Return a command line that syncs ``src`` with the repository ``bench`` below ``base``."""
    code = [sys.executable, "-I", "-S", "-c", _RUN, str(_CORE)]
    return [*code, str(src), str(base), mode]


def _provision(base: Path) -> None:
    """Make an empty, provisioned base directory."""
    shutil.rmtree(base, ignore_errors=True)
    (base / ".dsg").mkdir(parents=True, mode=0o700)
    (base / ".dsg" / "format.json").write_text('{"format": 1, "type": "directory"}\n')
    os.sync()  # what was removed must not be written back on somebody's account


def _start_over(tree: Path, base: Path) -> None:
    shutil.rmtree(tree / ".dsg", ignore_errors=True)
    _provision(base)


def _remove(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    os.sync()


def published(tree: Path, options: Options) -> Path:
    """Publish the tree, and let a second run write the index."""
    base = options.base / f"{tree.name}.base"
    _start_over(tree, base)
    for _unused in range(2):
        subprocess.run(run_argv(tree, base), check=True)
    return base


def _nothing_to_do(tree: Path, options: Options) -> None:
    base = published(tree, options)
    copy = corpus.copy_of(tree)
    compare(
        f"sync with nothing to do, {tree.name}",
        {
            "sync": Command(run_argv(tree, base)),
            "sync in check mode": Command(run_argv(tree, base, "check")),
            "rsync -an": Command(["rsync", "-an", "--exclude=/.dsg", f"{tree}/", f"{copy}/"]),
            "git status": Command(["git", "status", "--short"], cwd=_tracked(copy)),
        },
        options.rounds,
    )
    _remove(tree / ".dsg")
    _remove(base)


def _tracked(tree: Path) -> Path:
    if not (tree / ".git").exists():
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
            subprocess.run(["git", *who, *arguments], cwd=tree, check=True)
    return tree


def _one_percent(tree: Path, files: int, options: Options) -> None:
    """Change 1% of the files, then publish; rsync is neither atomic nor keeps the old state."""
    ours = options.base / "one-percent"
    theirs = options.base / "one-percent.rsync"
    for copy in (ours, theirs):
        shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tree, ours, ignore=shutil.ignore_patterns(".dsg"))
    shutil.copytree(ours, theirs)
    base = published(ours, options)
    chosen = sorted(ours.rglob("*.dat"))[::100]

    def edit() -> None:
        for path in chosen:
            with path.open("ab") as file:
                file.write(b"x")
        os.sync()

    argv = ["rsync", "-a", "--delete", "--exclude=/.dsg", f"{ours}/", f"{theirs}/"]
    compare(
        f"1% of {files} small files changed",
        {
            "sync": Command(run_argv(ours, base), before=edit),
            "rsync -a": Command(argv, before=edit),
        },
        options.rounds,
    )
    for leftover in (ours, theirs, base):
        _remove(leftover)


def _first(title: str, tree: Path, options: Options) -> None:
    base, copy = options.base / "first.base", options.base / "first.rsync"
    source = ["rsync", "-a", "--exclude=/.dsg", f"{tree}/", f"{copy}/"]
    compare(
        title,
        {
            "init": Command(run_argv(tree, base), before=lambda: _start_over(tree, base)),
            "rsync -a": Command(source, before=lambda: _remove(copy)),
            "rsync -a --fsync": Command(
                [*source[:2], "--fsync", *source[2:]], before=lambda: _remove(copy)
            ),
            "hashing it once (Python)": Command([sys.executable, "-c", _HASH, str(tree)]),
        },
        options.rounds,
    )
    _remove(copy)
    _start_over(tree, base)
    _remove(base)
    _remove(tree / ".dsg")


def _first_large(title: str, options: Options, size: int) -> None:
    tree = corpus.large(options.base, size)
    base, copy = options.base / "first.base", options.base / "first.cp"
    (file,) = tree.rglob("*.bin")
    compare(
        title,
        {
            "init": Command(run_argv(tree, base), before=lambda: _start_over(tree, base)),
            "cp --reflink=never": Command(
                ["cp", "--reflink=never", str(file), str(copy)],
                before=lambda: copy.unlink(missing_ok=True),
            ),
            "hashing it once (Python)": Command([sys.executable, "-c", _HASH, str(tree)]),
        },
        options.rounds,
    )
    copy.unlink()
    _remove(base)
    _remove(tree / ".dsg")
