# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes ``ansible-test`` run with nothing but the package registry in reach."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tools import environments

HOME = environments.ROOT / ".cache" / "ansible-test"
BIN = Path(sys.executable).parent

# ansible-test downloads get-pip.py from a host of its own, unless it has it in its cache. Every
# Python that can make a virtual environment also carries a pip.
STAND_IN = """\
import ensurepip

ensurepip.bootstrap()
"""


def command(*arguments: str) -> tuple[list[str | Path], dict[str, str]]:
    """Return argv and environment of an ``ansible-test`` run; its environments stay in .cache."""
    HOME.mkdir(parents=True, exist_ok=True)
    _provide_get_pip()
    _provide_pip_configuration()
    real = {os.path.dirname(item.path) for item in environments.interpreters().values()}
    path = [str(BIN), *sorted(real), environments.path_without_shims()]
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "PIP_"))
    }
    env.update(HOME=str(HOME), PATH=os.pathsep.join(path), LC_ALL="C.UTF-8")
    return [BIN / "ansible-test", *arguments], env


def _provide_get_pip() -> None:
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{_pip_version().replace('.', '_')}.py").write_text(STAND_IN)


def _pip_version() -> str:
    """Return the version of pip that this ansible-test bootstraps."""
    package = importlib.util.find_spec("ansible_test")
    (folder,) = package.submodule_search_locations
    source = (Path(folder) / "_internal" / "python_requirements.py").read_text()
    found = re.search(r"default_packages = dict\(\s*pip='([0-9.]+)'", source)
    if found is None:
        raise RuntimeError("This ansible-core bootstraps pip in a way that is not known here.")
    return found.group(1)


def _provide_pip_configuration() -> None:
    """Write the user's own pip settings where ansible-test, which drops PIP_*, still finds them."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    settings = re.findall(r"^(?:global|:env:)\.([a-z-]+)=(.*)$", listed, flags=re.MULTILINE)
    lines = [f"{name} = {ast.literal_eval(value)}" for name, value in settings]
    path = HOME / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["[global]", "quiet = 2", *dict.fromkeys(lines), ""]))
