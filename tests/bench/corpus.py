# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees to measure on: the same bytes in every run, built once and kept."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

MIB = 1024 * 1024


def small(base: Path, files: int = 20_000) -> Path:
    """Return a tree of ``files`` files of 1 to 16 KiB, fifty to a folder."""
    return _built(base / f"small-{files}", lambda tree: _fill_small(tree, files))


def medium(base: Path, files: int = 200, size: int = 5 * MIB) -> Path:
    """Return a tree of ``files`` files of ``size`` bytes, twenty to a folder."""
    return _built(base / f"medium-{files}x{size}", lambda tree: _fill(tree, files, size))


def large(base: Path, size: int = 2048 * MIB) -> Path:
    """Return a tree of one file of ``size`` bytes."""
    return _built(base / f"large-{size}", lambda tree: _fill(tree, 1, size))


def copy_of(tree: Path) -> Path:
    """Return a faithful copy of a tree (times and modes as well), made once."""
    return _built(
        tree.with_name(f"{tree.name}.copy"),
        lambda copy: shutil.copytree(tree, copy, symlinks=True, dirs_exist_ok=True),
    )


def _built(tree: Path, fill) -> Path:
    """Build under another name first: an interrupted run must not leave half a corpus."""
    if not tree.exists():
        unfinished = tree.with_name(f"{tree.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        fill(unfinished)
        unfinished.rename(tree)
        os.sync()  # writing back would disturb what is measured next
    return tree


def _fill_small(tree: Path, files: int) -> None:
    source = random.Random(files)
    for number in range(files):
        folder = tree / f"d{number // 1000:03d}" / f"f{number // 50:05d}"
        if number % 50 == 0:
            folder.mkdir(parents=True)
        size = source.randint(1024, 16 * 1024)
        (folder / f"file-{number % 50:04d}.dat").write_bytes(source.randbytes(size))


def _fill(tree: Path, files: int, size: int) -> None:
    source = random.Random(size)
    for number in range(files):
        folder = tree / f"f{number // 20:05d}"
        folder.mkdir(exist_ok=True)
        with (folder / f"file-{number:04d}.bin").open("wb") as file:
            for start in range(0, size, MIB):
                file.write(source.randbytes(min(MIB, size - start)))
