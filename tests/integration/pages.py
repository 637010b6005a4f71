# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages of documentation as tests run them: what a page shows, with a test's own paths and names."""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from tests.tools.collection import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    """Return every page that is written by hand."""
    found = [*(ROOT / "docs").glob("*.md"), *(ROOT / "roles").glob("*/README.md")]
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in found)]


class Page:
    """A page of documentation, with paths of this test in place of those it shows.

    ``replaced`` says what else stands in place of what; ``root`` counts only where it is None.
    """

    def __init__(self, name: str, root: Path, replaced: Mapping[str, str] | None = None) -> None:
        self.root = root
        text = (ROOT / name).read_text(encoding="utf-8")
        if replaced is None:
            replaced = {shown: f"{root}{shown}" for shown in ("/home/", "/srv/")}
            replaced["owner: alice"] = f"owner: {getpass.getuser()}"
        for shown, ours in replaced.items():
            text = text.replace(shown, ours)
        self.blocks = [(found[1], found[2]) for found in BLOCK.finditer(text)]

    def yaml(self, start: str) -> str:
        """Return the YAML block that starts so."""
        (block,) = [text for kind, text in self.blocks if kind == "yaml" and text.startswith(start)]
        return block

    def lines(self) -> list[str]:
        """Return every line of the blocks of commands."""
        return [line for kind, text in self.blocks if kind == "sh" for line in text.splitlines()]

    def commands(self, program: str) -> list[list[str]]:
        """Return the words of every command line that calls ``program``."""
        lines = [shlex.split(line, comments=True) for line in self.lines()]
        return [words for words in lines if words and words[0] == program]
