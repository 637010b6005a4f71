# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of a storage host as one file: the core's own sources, as they run in this module.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Mapping

from ._core.errors import ArgumentError
from ._core.program import main
from ._core.transport.boot import NAME
from ._core.transport.package import sources

_START = f"""\
import sys

from {NAME}.program.main import main

sys.exit(main(sys.argv[1:]))
"""
_ALWAYS = (1980, 1, 1, 0, 0, 0)

# Runs by itself: sources come in, by name; compiled code goes out. What is imported from it is not
# compared with the sources, which are in the same file; another Python passes over it to them.
_COMPILE = """\
import importlib.util, json, marshal, sys
head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
compiled = {}
for name, source in sorted(json.load(sys.stdin).items()):
    text = source.encode()
    code = marshal.dumps(compile(text, name, "exec", dont_inherit=True))
    compiled[name + "c"] = (head + importlib.util.source_hash(text) + code).hex()
json.dump(compiled, sys.stdout)
"""

ENTRY = main.main
"""What the program runs; being named here, it and all that it imports is sent to the host."""


def build(interpreter: str) -> bytes:
    """Return the program: a first line that names the interpreter, and an archive of modules.

    Equal sources and interpreters give equal bytes. The interpreter ignores environment and user
    packages. Raises :class:`ArgumentError` where it does not run.
    """
    modules = {"__main__.py": _START, **sources()}
    compiled = _compiled(interpreter, modules)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, content in sorted({**modules, **compiled}.items()):
            packed.writestr(_entry(name), content)
    return f"#!{interpreter} -I\n".encode() + archive.getvalue()


def _compiled(interpreter: str, modules: Mapping[str, str]) -> dict[str, bytes]:
    """Return the modules compiled by the interpreter that will run them: it starts faster then.

    It is a process of its own with a fixed seed, so that nothing but the sources decides the bytes.
    """
    try:
        done = subprocess.run(
            [interpreter, "-s", "-S", "-c", _COMPILE],
            input=json.dumps(modules),
            capture_output=True,
            check=True,
            encoding="utf-8",
            cwd="/",
            env={"PYTHONHASHSEED": "0"},
        )
    except (OSError, subprocess.CalledProcessError) as exc:
        said = (getattr(exc, "stderr", "") or str(exc)).strip().splitlines()
        raise ArgumentError(
            "this interpreter does not run on the host", object=interpreter, details=said[-3:]
        ) from exc
    return {name: bytes.fromhex(code) for name, code in json.loads(done.stdout).items()}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ALWAYS)
    entry.external_attr = 0o644 << 16
    return entry
