# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of a storage host as one file: the core's own sources, as they run in this module.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import importlib.util
import io
import pkgutil
import zipfile
from collections.abc import Iterator
from typing import Any

from . import _core
from ._core.program import main

NAME = "dsg_storage_core"
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
        for name, source in sorted(_sources().items()):
            packed.writestr(_entry(name), source)
    return f"#!{interpreter} -I\n".encode() + archive.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ALWAYS)
    entry.external_attr = 0o644 << 16
    return entry


def _sources() -> dict[str, str]:
    found = {"__main__.py": _START}
    for name in _modules():
        inside, is_package, source = _read(name)
        path = inside.replace(".", "/")
        found[f"{path}/__init__.py" if is_package else f"{path}.py"] = source
    return found


def _modules() -> Iterator[str]:
    yield _core.__name__
    for info in pkgutil.walk_packages(_core.__path__, f"{_core.__name__}."):
        yield info.name


def _read(name: str) -> tuple[str, bool, str]:
    """Return a module's name in the program, whether it is a package, and its source."""
    spec = importlib.util.find_spec(name)
    loader: Any = None if spec is None else spec.loader
    if spec is None or loader is None:
        raise ImportError(f"{name} has no source here")
    inside = NAME + name[len(_core.__name__) :]
    return inside, spec.submodule_search_locations is not None, loader.get_source(name) or ""
