# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of a storage host as one file: the core's own sources, as they run in this module.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import io
import zipfile

from ._core.program import main
from ._core.transport.boot import NAME
from ._core.transport.package import sources

_START = f"""\
import sys

from {NAME}.program.main import main

sys.exit(main(sys.argv[1:]))
"""
_ALWAYS = (1980, 1, 1, 0, 0, 0)

ENTRY = main.main
"""What the program runs; being named here, it and all that it imports is sent to the host."""


def build(interpreter: str) -> bytes:
    """Return the program: a first line that names the interpreter, and an archive of sources.

    Equal sources give equal bytes. The interpreter ignores environment and user packages.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, source in sorted({"__main__.py": _START, **sources()}.items()):
            packed.writestr(_entry(name), source)
    return f"#!{interpreter} -I\n".encode() + archive.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ALWAYS)
    entry.external_attr = 0o644 << 16
    return entry
