# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user asks for, with the real engine on real OpenZFS. The cases are in ``guest/``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.zfs.link import Guest

HERE = Path(__file__).parent / "guest"


def cases(module: str) -> list[str]:
    """Return the public functions of a module inside the host: each is a case."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [f"{module}.{name}" for name in names if not name.startswith("_")]


CASES = [
    case
    for module in ("basics", "refusals", "snapshots", "upkeep", "parents", "outlived")
    for case in cases(module)
]


# Recovery at boot is root's alone; the other cases are a service user's as well.
@pytest.mark.parametrize("case", [*CASES, *cases("boot")])
def test_case(guest: Guest, case: str) -> None:
    guest.do(case)
