# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: every file read and hashed anew, beside others that hash with SHA-256.

A peer that only hashes (bsdtar) compares nothing; ours also checks manifest and history. Processor
time tells more than wall time where the machine has other things to do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from . import corpus
from .bench_sync import run_argv
from .measure import Command, Options, compare

_CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

_VERIFY = """
import sys
core, base, *snapshots = sys.argv[1:]
sys.path.insert(0, core)
from _core.backends.registry import open_repository
from _core.upkeep.verify import verify
found = verify(open_repository({"type": "directory", "base": base}, "bench"), snapshots=snapshots)
sys.exit(not found["sound"])
"""


def main(options: Options) -> None:
    """Print the tables."""
    mib = corpus.MIB
    files, size = (2_000, 128 * mib) if options.quick else (20_000, 2048 * mib)
    small, large = corpus.small(options.base, files), corpus.large(options.base, size)
    _measure(f"verify, {files} small files", small, options)
    _measure(f"verify, 1 x {size // mib} MiB", large, options)
    _snapshots(small, files, options)


def _measure(title: str, tree: Path, options: Options) -> None:
    base = _published(tree, options.base)
    live = base / "bench"
    sums = options.base / "verify.sums"
    _write_sums(live, sums)
    compare(
        title,
        {
            "dsg verify": _ours(base),
            "sha256sum -c --quiet": Command(["sha256sum", "-c", "--quiet", str(sums)], cwd=live),
            "bsdtar mtree sha256 (hashes only)": Command(
                ["bsdtar", "-cf", "-", "--format=mtree", "--options=mtree:sha256", "."], cwd=live
            ),
            "rclone check --checkfile sha256": Command(
                ["rclone", "check", "-C", "sha256", "--exclude", "/.dsg/**", str(sums), str(live)]
            ),
            "hashdeep -a": Command(_hashdeep(live, options.base), cwd=live),
        },
        options.rounds,
    )
    shutil.rmtree(base)


def _snapshots(tree: Path, files: int, options: Options) -> None:
    """Show what ten snapshots cost that share nearly all of their files."""
    base = _published(tree, options.base)
    source = options.base / "verify-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(tree, source, symlinks=True)
    shutil.rmtree(source / ".dsg", ignore_errors=True)
    subprocess.run(run_argv(source, base), check=True)
    for number in range(9):
        (source / "d000" / "changed").write_text(str(number))
        subprocess.run(run_argv(source, base), check=True)
    compare(
        f"verify of ten snapshots, {files} small files in each",
        {"all ten": _ours(base, "all"), "the newest": _ours(base)},
        options.rounds,
    )
    shutil.rmtree(base)
    shutil.rmtree(source)


def _ours(base: Path, *snapshots: str) -> Command:
    code = [sys.executable, "-I", "-S", "-c", _VERIFY]
    return Command([*code, str(_CORE), str(base), *snapshots])


def _published(tree: Path, place: Path) -> Path:
    base = place / "verify-base"
    shutil.rmtree(base, ignore_errors=True)
    (base / ".dsg").mkdir(parents=True, mode=0o700)
    (base / ".dsg" / "format.json").write_text('{"format": 1, "type": "directory"}\n')
    subprocess.run(run_argv(tree, base), check=True)
    shutil.rmtree(tree / ".dsg")
    subprocess.run(["sync"], check=True)
    return base


def _files(tree: Path) -> list[str]:
    found = [path.relative_to(tree) for path in sorted(tree.rglob("*")) if path.is_file()]
    return [str(path) for path in found if path.parts[0] != ".dsg"]


def _write_sums(tree: Path, sums: Path) -> None:
    listed = "\0".join(_files(tree)).encode()
    argv = ["xargs", "-0", "sha256sum"]
    done = subprocess.run(argv, input=listed, cwd=tree, stdout=subprocess.PIPE, check=True)
    sums.write_bytes(done.stdout)


def _hashdeep(tree: Path, place: Path) -> list[str]:
    if shutil.which("hashdeep") is None:
        return ["hashdeep"]
    known = place / "verify.hashdeep"
    argv = ["hashdeep", "-c", "sha256", "-r", "-l", "."]
    known.write_bytes(subprocess.run(argv, cwd=tree, stdout=subprocess.PIPE, check=True).stdout)
    return [*argv[:-1], "-a", "-k", str(known), "."]
