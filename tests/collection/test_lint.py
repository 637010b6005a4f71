# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sources pass every linter."""

from __future__ import annotations

import os
from pathlib import Path

from tests.tools.collection import BIN, ROOT, environment, files, run


def test_ruff_finds_nothing() -> None:
    run([BIN / "ruff", "check", "."], cwd=ROOT).must_succeed()


def test_sources_are_formatted() -> None:
    run([BIN / "ruff", "format", "--check", "."], cwd=ROOT).must_succeed()


def test_core_is_strictly_typed() -> None:
    run([BIN / "mypy"], cwd=ROOT).must_succeed()


def test_ansible_lint_passes_at_its_strictest_profile(clean_copy: Path, tmp_path: Path) -> None:
    # The copy lies on a collections path, so its own modules and roles are found there.
    env = environment(clean_copy.parents[2], tmp_path)
    argv = [BIN / "ansible-lint", "--profile", "production", "--offline", "--strict", "--nocolor"]
    run(argv, cwd=clean_copy, env=env).must_succeed()


def test_every_source_names_its_licence() -> None:
    named = (".py", ".sh", ".yml", ".yaml", ".toml", ".txt", ".j2", ".cfg", "Makefile")
    unnamed = [
        name
        for name in files()
        if name.endswith(named)
        and not name.startswith(("LICENSES/", "tests/unit/core/recorded/"))  # what zfs said
        and "SPDX-License-Identifier: GPL-3.0-or-later" not in _head(ROOT / name)
        and os.path.getsize(ROOT / name) > 0
    ]
    assert unnamed == []


def _head(path: Path) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read(1000)
