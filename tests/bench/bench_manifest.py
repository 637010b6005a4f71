# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: of a tree seen for the first time, and of one where nothing changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import corpus
from .measure import Command, Options, compare

_CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

_COLD = """
import sys
core, tree, out = sys.argv[1:]
sys.path.insert(0, core)
from _core.manifest import codec, scan
found = scan.scan_tree(tree)
manifest = codec.build(
    found.entries, repository_id="0" * 32, repository="bench", snapshot=1, parent="", txn="t",
    created_at="2026-11-20T22:41:00Z", created_by="bench@localhost", message="",
)
with open(out, "wb") as file:
    file.writelines(codec.write(manifest))
"""
_HOT = """
import sys
core, tree, at = sys.argv[1:]
sys.path.insert(0, core)
from _core.manifest import index, scan
found = scan.scan_tree(tree, index=index.load(at + "/index"), clock_directory=at)
print(found.digest)
"""
_SAVE = (
    _HOT
    + """
found.save(at + "/index")
"""
)


def main(options: Options) -> None:
    """Print the tables."""
    sizes = (200, 2_000) if options.quick else (2_000, 20_000, 200_000)
    for files in sizes:
        _cold(f"cold manifest, {files} small files", corpus.small(options.base, files), options)
    mib = corpus.MIB
    count, size = (20, 128 * mib) if options.quick else (200, 2048 * mib)
    _cold(f"cold manifest, {count} x 5 MiB", corpus.medium(options.base, count), options)
    _cold(f"cold manifest, 1 x {size // mib} MiB", corpus.large(options.base, size), options)
    for files in sizes:
        _hot(f"nothing changed, {files} small files", corpus.small(options.base, files), options)


def _ours(code: str, tree: Path, other: Path) -> Command:
    return Command([sys.executable, "-I", "-S", "-c", code, str(_CORE), str(tree), str(other)])


def _cold(title: str, tree: Path, options: Options) -> None:
    compare(
        title,
        {
            "manifest written": _ours(_COLD, tree, options.base / "manifest"),
            "rclone hashsum sha256": Command(["rclone", "hashsum", "sha256", str(tree)]),
            "hashdeep -c sha256 -r": Command(["hashdeep", "-c", "sha256", "-r", str(tree)]),
            "bsdtar mtree sha256": Command(
                ["bsdtar", "-cf", "-", "--format=mtree", "--options=mtree:sha256", str(tree)]
            ),
        },
        options.rounds,
    )


def _hot(title: str, tree: Path, options: Options) -> None:
    copy = corpus.copy_of(tree)
    _track_with_git(copy)
    at = options.base / f"{tree.name}.index"
    at.mkdir(exist_ok=True)
    subprocess.run(_ours(_SAVE, tree, at).argv, check=True, stdout=subprocess.DEVNULL)
    compare(
        title,
        {
            "digest by the index": _ours(_HOT, tree, at),
            "rsync -an": Command(["rsync", "-an", f"{tree}/", f"{copy}/"]),
            "git status": Command(["git", "status", "--short"], cwd=copy),
        },
        options.rounds,
    )


def _track_with_git(tree: Path) -> None:
    if (tree / ".git").exists():
        return
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
        subprocess.run(["git", *who, *arguments], cwd=tree, check=True)
